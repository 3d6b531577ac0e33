/* Queues of signals: order, limits, what is dropped. */
#include <errno.h>
#include <signal.h>

#include "tests/unit/kernel_make.h"

static struct task *task;

static void setup(void)
{
    task = task_make(kernel_make());
    task_join(task);
}

static int take(siginfo_t *ret_info)
{
    int signo;

    lock_acquire(&task->process->lock);
    signo = signal_dequeue_locked(task, ~0UL, ret_info);
    lock_release(&task->process->lock);
    return signo;
}

static siginfo_t queued(int value)
{
    siginfo_t info = {.si_code = SI_QUEUE};

    info.si_value.sival_int = value;
    return info;
}

Test(signal, order, .init = setup)
{
    static const int sent[] = {40, SIGTERM, SIGSEGV, 34, SIGHUP};
    static const int taken[] = {SIGSEGV, SIGHUP, SIGTERM, 34, 40};
    siginfo_t info;

    for (size_t i = 0; i < ARRAY_COUNT(sent); i++)
        cr_assert_eq(signal_send_task(task, sent[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(taken); i++)
        cr_assert_eq(take(&info), taken[i]);
    cr_assert_eq(take(&info), 0);
    cr_assert_eq(user_signals(&task->kernel->users, 0), 0);
}

Test(signal, own_before_the_process, .init = setup)
{
    siginfo_t info, thread = queued(1), process = queued(2);

    cr_assert_eq(signal_send_process(task->process, 35, &process), 0);
    cr_assert_eq(signal_send_task(task, 35, &thread), 0);
    cr_assert_eq(take(&info), 35);
    cr_assert_eq(info.si_value.sival_int, 1);
    cr_assert_eq(take(&info), 35);
    cr_assert_eq(info.si_value.sival_int, 2);
}

Test(signal, standard_ones_do_not_queue, .init = setup)
{
    siginfo_t info, first = queued(1), second = queued(2);

    cr_assert_eq(signal_send_task(task, SIGUSR1, &first), 0);
    cr_assert_eq(signal_send_task(task, SIGUSR1, &second), 0);
    cr_assert_eq(take(&info), SIGUSR1);
    cr_assert_eq(info.si_value.sival_int, 1);
    cr_assert_eq(take(&info), 0);
}

Test(signal, real_time_ones_queue_in_order_up_to_the_limit, .init = setup)
{
    siginfo_t info;

    task->process->limits[RLIMIT_SIGPENDING].rlim_cur = 3;
    for (int i = 0; i < 3; i++) {
        info = queued(i);
        cr_assert_eq(signal_send_task(task, 36, &info), 0);
    }
    info = queued(3);
    cr_assert_eq(signal_send_task(task, 36, &info), -EAGAIN);
    /* kill(2) gets through, though with nothing to tell; a standard one of the kernel always. */
    info = (siginfo_t){.si_code = SI_USER};
    cr_assert_eq(signal_send_task(task, 37, &info), 0);
    cr_assert_eq(signal_send_task(task, SIGALRM, NULL), 0);
    cr_assert_eq(take(&info), SIGALRM);
    cr_assert_eq(info.si_code, SI_KERNEL);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(take(&info), 36);
        cr_assert_eq(info.si_value.sival_int, i);
    }
    cr_assert_eq(take(&info), 37);
}

Test(signal, ignored_ones_are_dropped_unless_blocked, .init = setup)
{
    struct linux_sigaction ign = {.handler = (uaddr_t)SIG_IGN}, old;
    siginfo_t info;

    cr_assert_eq(signal_send_task(task, SIGCHLD, NULL), 0);
    cr_assert_eq(take(&info), 0);
    signal_set_blocked(task, SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGUSR1));
    cr_assert_eq(signal_send_task(task, SIGCHLD, NULL), 0);
    cr_assert_eq(signal_send_process(task->process, SIGUSR1, NULL), 0);
    signal_set_action(task, SIGUSR1, &ign, &old);
    cr_assert_eq(take(&info), SIGCHLD);
    cr_assert_eq(take(&info), 0, "ignoring forgets what is pending");
}

Test(signal, stop_and_continue_cancel_each_other, .init = setup)
{
    siginfo_t info;

    cr_assert_eq(signal_send_task(task, SIGTSTP, NULL), 0);
    cr_assert_eq(signal_send_process(task->process, SIGCONT, NULL), 0);
    cr_assert_eq(take(&info), 0);
}

Test(signal, forced_ones_get_through, .init = setup)
{
    struct linux_sigaction ign = {.handler = (uaddr_t)SIG_IGN}, old;
    siginfo_t info;

    signal_set_action(task, SIGFPE, &ign, &old);
    signal_set_blocked(task, SIGNAL_BIT(SIGFPE));
    signal_fault(task, SIGFPE, FPE_INTDIV, 0x1234);
    cr_assert_eq(task->blocked, 0);
    signal_set_action(task, SIGFPE, NULL, &old);
    cr_assert_eq(old.handler, (uaddr_t)SIG_DFL);
    cr_assert_eq(take(&info), SIGFPE);
    cr_assert_eq(info.si_code, FPE_INTDIV);
    cr_assert_eq((uintptr_t)info.si_addr, 0x1234);
}

Test(signal, kick_reaches_a_thread_that_takes_it, .init = setup)
{
    signal_set_blocked(task, SIGNAL_BIT(SIGUSR1));
    cr_assert_eq(signal_send_process(task->process, SIGUSR1, NULL), 0);
    cr_assert_not(task_interrupted(task));
    signal_set_blocked(task, 0);
    cr_assert(task_interrupted(task));
    cr_assert_eq(task_block(task, UINT64_MAX), -ERESTARTSYS);
}
