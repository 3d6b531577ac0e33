/*
 * ptrace(2): who may trace whom, and corners of stopping: a thread that is not the leader execs, a
 * handler is entered in single steps, waitid(2) looks without taking.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "tracee.h"

/* Runs in a child, for identities that cannot be taken back. */
static int status_of(int (*body)(pid_t), pid_t pid)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(body(pid));
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

static int seize_errno(pid_t pid)
{
    return ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 ? 0 : errno;
}

static int open_errno(const char *name, pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY);
    int error = fd < 0 ? errno : 0;
    close(fd);
    return error;
}

static int as_stranger(pid_t pid)
{
    if (setuid(1234) != 0)
        return 99;
    if (seize_errno(pid) != EPERM || open_errno("mem", pid) != EACCES)
        return 1;
    return open_errno("status", pid);
}

static int as_equal(pid_t pid)
{
    if (setgid(1234) != 0 || setuid(1234) != 0)
        return 99;
    return seize_errno(pid);
}

static pid_t start_sleeper(int uid, int dumpable)
{
    int ready[2];
    char byte;
    pid_t pid;

    CHECK_EQ(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        if (uid && (setgid((gid_t)uid) != 0 || setuid((uid_t)uid) != 0))
            _exit(1);
        prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end_sleeper(pid_t pid)
{
    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void test_access(void)
{
    pid_t pid = start_sleeper(0, 1);

    CHECK_EQ(status_of(as_stranger, pid), 0);
    CHECK_EQ(status_of(as_equal, pid), EPERM << 8);
    end_sleeper(pid);
    pid = start_sleeper(1234, 1);
    CHECK_EQ(status_of(as_equal, pid), 0);
    CHECK_EQ(status_of(seize_errno, pid), 0); /* root may, too */
    end_sleeper(pid);
    pid = start_sleeper(1234, 0);
    CHECK_EQ(status_of(as_equal, pid), EPERM << 8);
    end_sleeper(pid);
}

static void *exec_thread(void *arg)
{
    execl("/proc/self/exe", "ptrace_rules", "child", NULL);
    return NULL;
}

static int exec_in_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, exec_thread, NULL);
    return pause();
}

/* The thread takes the leader's number, and the event tells its old one. */
static void test_exec_in_thread(void)
{
    pid_t pid = start_tracee(exec_in_thread, PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC);
    int status;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, PTRACE_EVENT_CLONE));
    pid_t thread = (pid_t)message_of(pid);
    CHECK_EQ(waitpid(thread, &status, __WALL), thread);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    CHECK_EQ(ptrace(PTRACE_CONT, thread, 0, 0), 0);
    CHECK_EQ(waitpid(-1, &status, __WALL), pid);
    CHECK_EQ(status, STOPPED(SIGTRAP, PTRACE_EVENT_EXEC));
    CHECK_EQ((pid_t)message_of(pid), thread);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 33 << 8);
    CHECK_ERRNO(waitpid(-1, &status, __WALL), ECHILD);
}

static void handler(int signo)
{
}

static int raise_handled(void)
{
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    return 8;
}

static void test_step_into_handler(void)
{
    pid_t pid = start_tracee(raise_handled, 0);
    siginfo_t info;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    CHECK_EQ(go(pid, PTRACE_SINGLESTEP, SIGUSR1), STOPPED(SIGTRAP, 0));
    CHECK_EQ(regs_of(pid).rip, (unsigned long)handler);
    CHECK_EQ(regs_of(pid).rdi, SIGUSR1);
    CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
    CHECK_EQ(info.si_code, SIGTRAP);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 8 << 8);
}

static int raise_usr1(void)
{
    raise(SIGUSR1);
    return 5;
}

static void test_waitid(void)
{
    pid_t pid = start_tracee(raise_usr1, 0);
    siginfo_t info = {0};

    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    for (int i = 0; i < 2; i++) { /* the second takes it */
        CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | (i ? 0 : WNOWAIT)), 0);
        CHECK(info.si_code == CLD_TRAPPED && info.si_status == SIGUSR1 && info.si_pid == pid);
    }
    info.si_pid = 7;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG), 0);
    CHECK_EQ(info.si_pid, 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 5 << 8);
}

/* The first register past the call's own return: -512 to -516 are numbers like any other there. */
static long bare_call(long nr, long arg)
{
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(arg) : "rcx", "r11", "memory");
    return result;
}

static int report_call(void)
{
    return (int)-bare_call(SYS_getpgid, 0) - 500;
}

/* The tracer answers a call with what the kernel itself would restart; no signal waits: it stays.
 */
static void test_restart_written(void)
{
    for (int error = 512; error <= 516; error++) {
        pid_t pid = start_tracee(report_call, PTRACE_O_TRACESYSGOOD);
        struct user_regs_struct regs;

        do {
            CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
            regs = regs_of(pid);
        } while (regs.orig_rax != SYS_getpgid);
        CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
        regs = regs_of(pid);
        regs.rax = (unsigned long)-error;
        CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
        CHECK_EQ(go(pid, PTRACE_CONT, 0), (error - 500) << 8);
    }
}

/* A tracee that stands behind its call of getpgid(2), with a signal on its way. */
static pid_t start_signalled(struct user_regs_struct *ret_regs)
{
    pid_t pid = start_tracee(report_call, PTRACE_O_TRACESYSGOOD);

    do {
        CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
        *ret_regs = regs_of(pid);
    } while (ret_regs->orig_rax != SYS_getpgid);
    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    *ret_regs = regs_of(pid);
    CHECK_EQ(kill(pid, SIGUSR1), 0);
    return pid;
}

/* With a signal that comes to nothing the call is made again, as the number says that is told. */
static void test_restart_by_signal(void)
{
    static const struct {
        int error;
        unsigned long again;
    } cases[] = {
        {512, SYS_getpgid}, {513, SYS_getpgid}, {514, SYS_getpgid}, {516, SYS_restart_syscall}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct user_regs_struct regs, again;
        pid_t pid = start_signalled(&regs);

        regs.rax = (unsigned long)-cases[i].error;
        CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
        CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
        CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
        again = regs_of(pid);
        CHECK_EQ(again.orig_rax, cases[i].again);
        CHECK_EQ(again.rip, regs.rip);
        end_tracee(pid);
    }
}

/* ...unless the tracer says that there was no call; 515 is no error that restarts. */
static void test_restart_refused(void)
{
    for (int error = 512; error <= 516; error++) {
        struct user_regs_struct regs;
        pid_t pid = start_signalled(&regs);

        regs.rax = (unsigned long)-error;
        if (error != 515)
            regs.orig_rax = -1UL;
        CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
        CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
        CHECK_EQ(go(pid, PTRACE_CONT, 0), (error - 500) << 8);
    }
}

static int trap_then_report(void)
{
    __asm__ volatile("int3; nop; nop; nop");
    return report_call();
}

/* A call that never was is restarted as well, where the tracer writes its number. */
static void test_restart_made_up(void)
{
    pid_t pid = start_tracee(trap_then_report, PTRACE_O_TRACESYSGOOD);
    struct user_regs_struct regs;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, 0));
    regs = regs_of(pid);
    CHECK_EQ(regs.orig_rax, -1UL);
    regs.orig_rax = SYS_getpgid;
    regs.rax = (unsigned long)-512;
    regs.rip += 2;
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
    CHECK_EQ(go(pid, PTRACE_SINGLESTEP, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(regs_of(pid).rip, regs.rip - 2 + 1); /* the nop that was gone back to */
    end_tracee(pid);
}

static void test_requests(void)
{
    pid_t pid = start_tracee(raise_usr1, 0);

    CHECK_ERRNO(ptrace(PTRACE_CONT, pid, 0, 65), EIO);
    CHECK_ERRNO(ptrace(PTRACE_DETACH, pid, 0, -1), EIO);
    CHECK_ERRNO(ptrace(PTRACE_SETOPTIONS, pid, 0, 0x1000), EINVAL);
    CHECK_ERRNO(ptrace(9999, pid, 0, 0), EIO);
    CHECK_ERRNO(ptrace(PTRACE_GETREGS, pid, 0, 8), EFAULT);
    CHECK_ERRNO(ptrace(PTRACE_SETREGS, pid, 0, 8), EFAULT);
    CHECK_ERRNO(ptrace(PTRACE_GETEVENTMSG, pid, 0, 8), EFAULT);
    CHECK_ERRNO(ptrace(PTRACE_ATTACH, pid, 0, 0), EPERM);
    CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
    CHECK_ERRNO(ptrace(PTRACE_GETREGS, pid, 0, 8), ESRCH);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGUSR1);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return 33;
    if (geteuid() != 0)
        check_skip("takes other identities");
    test_access();
    test_exec_in_thread();
    test_step_into_handler();
    test_waitid();
    test_restart_written();
    test_restart_by_signal();
    test_restart_refused();
    test_restart_made_up();
    test_requests();
    return check_done();
}
