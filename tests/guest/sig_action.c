/*
 * sigaction(2) and its flags, alternate stacks, masks, nested handlers and jumps out of handlers.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "check.h"

static volatile int calls, depth, deepest, seen_code, seen_signo;
static volatile pid_t seen_pid;
static volatile bool seen_blocked;
static char *volatile seen_stack;
static sigjmp_buf jump;

static void count(int signo)
{
    seen_signo = signo;
    calls++;
}

static void set_action(int signo, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    CHECK_EQ(sigaction(signo, &action, NULL), 0);
}

static void on_info(int signo, siginfo_t *info, void *context)
{
    sigset_t now;
    char here;

    (void)context;
    seen_signo = signo;
    seen_code = info->si_code;
    seen_pid = info->si_pid;
    seen_stack = (char *)(uintptr_t)&here;
    sigprocmask(SIG_BLOCK, NULL, &now);
    seen_blocked = sigismember(&now, signo) && sigismember(&now, SIGUSR2);
    calls++;
}

static void test_siginfo(void)
{
    struct sigaction action = {.sa_sigaction = on_info, .sa_flags = SA_SIGINFO}, old;
    sigset_t now;

    sigaddset(&action.sa_mask, SIGUSR2);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    calls = 0;
    CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    CHECK_EQ(calls, 1);
    CHECK_EQ(seen_signo, SIGUSR1);
    CHECK_EQ(seen_code, SI_USER);
    CHECK_EQ(seen_pid, getpid());
    CHECK(seen_blocked);
    CHECK_EQ(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1), 0);
    CHECK_EQ(calls, 2);
    CHECK_EQ(seen_code, SI_TKILL);
    sigprocmask(SIG_BLOCK, NULL, &now);
    CHECK(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2));

    CHECK_EQ(sigaction(SIGUSR1, NULL, &old), 0);
    CHECK(old.sa_sigaction == on_info);
    CHECK(old.sa_flags & SA_SIGINFO);
    CHECK(sigismember(&old.sa_mask, SIGUSR2) && !sigismember(&old.sa_mask, SIGUSR1));
}

static void test_resethand(void)
{
    struct sigaction old;

    set_action(SIGUSR1, count, (int)SA_RESETHAND);
    calls = 0;
    raise(SIGUSR1);
    CHECK_EQ(calls, 1);
    CHECK_EQ(sigaction(SIGUSR1, NULL, &old), 0);
    CHECK(old.sa_handler == SIG_DFL);

    set_action(SIGUSR1, SIG_IGN, 0);
    raise(SIGUSR1);
    CHECK_EQ(calls, 1);
    set_action(SIGCHLD, SIG_DFL, 0);
    raise(SIGCHLD); /* the default is to ignore it */
    raise(SIGURG);
    raise(SIGWINCH);
    raise(SIGCONT);
}

static void nest(int signo)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (++calls < 4)
        raise(signo);
    depth--;
}

static void test_nodefer(void)
{
    calls = depth = deepest = 0;
    set_action(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    CHECK_EQ(calls, 4);
    CHECK_EQ(deepest, 4);

    /* Without the flag the second one waits until the handler has returned. */
    calls = depth = deepest = 0;
    set_action(SIGUSR1, nest, 0);
    raise(SIGUSR1);
    CHECK_EQ(calls, 4);
    CHECK_EQ(deepest, 1);
}

static void nest_other(int signo)
{
    calls = calls * 10 + (signo == SIGUSR1 ? 1 : 2);
    if (signo == SIGUSR1)
        raise(SIGUSR2);
    calls = calls * 10 + (signo == SIGUSR1 ? 3 : 4);
}

static void test_nested(void)
{
    calls = 0;
    set_action(SIGUSR1, nest_other, 0);
    set_action(SIGUSR2, nest_other, 0);
    raise(SIGUSR1);
    CHECK_EQ(calls, 1243);
}

static void jump_out(int signo)
{
    siglongjmp(jump, signo);
}

static void test_longjmp(void)
{
    sigset_t now;

    set_action(SIGUSR1, jump_out, 0);
    for (int i = 0; i < 100; i++) {
        int got = sigsetjmp(jump, 1);
        if (got == 0) {
            raise(SIGUSR1);
            CHECK(false);
        }
        CHECK_EQ(got, SIGUSR1);
        sigprocmask(SIG_BLOCK, NULL, &now);
        CHECK(!sigismember(&now, SIGUSR1));
    }
}

static void inside_altstack(int signo, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    stack_t now;
    char here;

    (void)signo;
    (void)info;
    seen_stack = (char *)(uintptr_t)&here;
    CHECK_EQ(sigaltstack(NULL, &now), 0);
    CHECK_EQ(now.ss_flags, SS_ONSTACK);
    CHECK(uc->uc_stack.ss_sp == now.ss_sp);
    CHECK_EQ(uc->uc_stack.ss_size, now.ss_size);
    CHECK_ERRNO(sigaltstack(&now, NULL), EPERM);
    calls++;
}

static void test_altstack(void)
{
    const size_t size = 65536;
    char *memory = malloc(size);
    stack_t stack = {.ss_sp = memory, .ss_size = size}, old;
    struct sigaction action = {.sa_sigaction = inside_altstack,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    const stack_t small = {.ss_sp = memory, .ss_size = 1024}, odd = {.ss_flags = 64};

    CHECK_EQ(sigaltstack(NULL, &old), 0);
    CHECK_EQ(old.ss_flags, SS_DISABLE);
    CHECK_ERRNO(sigaltstack(&small, NULL), ENOMEM);
    CHECK_ERRNO(sigaltstack(&odd, NULL), EINVAL);
    CHECK_EQ(RAW(SYS_sigaltstack, 8, 0), -EFAULT);
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
    CHECK_EQ(sigaltstack(NULL, &old), 0);
    CHECK(old.ss_sp == memory && old.ss_size == size && old.ss_flags == 0);

    calls = 0;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    raise(SIGUSR1);
    CHECK_EQ(calls, 1);
    CHECK(seen_stack > memory && seen_stack < memory + size);

    action.sa_sigaction = on_info; /* a handler without SA_ONSTACK stays on the ordinary stack */
    action.sa_flags = SA_SIGINFO;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    raise(SIGUSR1);
    CHECK(seen_stack < memory || seen_stack > memory + size);

    stack.ss_flags = SS_DISABLE;
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
    free(memory);
}

static void test_errors(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } raw = {SIG_DFL, 0, NULL, 0};
    uint64_t mask = 0, back = 0;

    CHECK_EQ(RAW(SYS_rt_sigaction, SIGKILL, &raw, NULL, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGSTOP, &raw, NULL, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGKILL, NULL, &raw, 8), 0);
    CHECK_EQ(RAW(SYS_rt_sigaction, 0, NULL, NULL, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, 65, NULL, NULL, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR1, NULL, 8, 8), -EFAULT);

    CHECK_EQ(RAW(SYS_rt_sigprocmask, SIG_BLOCK, &mask, NULL, 16), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigprocmask, 7, &mask, NULL, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigprocmask, 7, NULL, &back, 8), 0); /* `how` counts only with a set */
    CHECK_EQ(RAW(SYS_rt_sigprocmask, SIG_BLOCK, 8, NULL, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_rt_sigprocmask, SIG_BLOCK, NULL, 8, 8), -EFAULT);

    mask = ~0UL; /* SIGKILL and SIGSTOP cannot be blocked */
    CHECK_EQ(RAW(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &back, 8), 0);
    CHECK_EQ(RAW(SYS_rt_sigprocmask, SIG_SETMASK, &back, &mask, 8), 0);
    CHECK_EQ(mask, ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1)));

    CHECK_EQ(kill(getpid(), 0), 0);
    CHECK_ERRNO(kill(getpid(), 65), EINVAL);
    CHECK_ERRNO(kill(getpid(), -1), EINVAL);
    CHECK_EQ(RAW(SYS_tgkill, getpid(), 0, SIGUSR1), -EINVAL);
    CHECK_EQ(RAW(SYS_tgkill, -1, 1, SIGUSR1), -EINVAL);
    CHECK_EQ(RAW(SYS_tgkill, getpid(), 0x7ffffff0, SIGUSR1), -ESRCH);
    CHECK_EQ(RAW(SYS_tkill, -5, SIGUSR1), -EINVAL);
}

/* Masks belong to threads, and are inherited by the new one. */
static void *thread_mask(void *argument)
{
    sigset_t now, *mine = argument;

    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR2));
    pthread_sigmask(SIG_BLOCK, mine, NULL);
    calls = 0;
    pthread_kill(pthread_self(), SIGUSR1);
    CHECK_EQ(calls, 0);
    pthread_sigmask(SIG_UNBLOCK, mine, NULL);
    CHECK_EQ(calls, 1);
    return NULL;
}

static void test_masks(void)
{
    sigset_t one, two, now;
    pthread_t thread;

    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigemptyset(&two);
    sigaddset(&two, SIGUSR2);
    set_action(SIGUSR1, count, 0);
    set_action(SIGUSR2, count, 0);
    pthread_sigmask(SIG_BLOCK, &two, NULL);
    CHECK_EQ(pthread_create(&thread, NULL, thread_mask, &one), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(!sigismember(&now, SIGUSR1));

    /* A signal for the process finds the thread that does not block it. */
    calls = 0;
    kill(getpid(), SIGUSR2);
    CHECK_EQ(calls, 0);
    sigpending(&now);
    CHECK(sigismember(&now, SIGUSR2));
    pthread_sigmask(SIG_UNBLOCK, &two, NULL);
    CHECK_EQ(calls, 1);
}

int main(void)
{
    test_siginfo();
    test_resethand();
    test_nodefer();
    test_nested();
    test_longjmp();
    test_altstack();
    test_errors();
    test_masks();
    return check_done();
}
