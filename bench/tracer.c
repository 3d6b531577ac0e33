/*
 * bench_tracer PROG [ARG...]: the physical limit for whole programs under ptrace. PROG runs on the
 * host itself, but each of its system calls stops it once, for a tracer that reads its registers,
 * writes one back, and lets it go on: what a sandbox that is told of calls in this way cannot do
 * without. All of them run on one processor, which costs least: another one has to be woken each
 * time. Its exit status is the program's.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS                                                                                    \
    (PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |      \
     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)

static void use_one_cpu(void)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
}

static void become_traced(char **argv)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE)};
    struct sock_fprog filter = {1, all};

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 && raise(SIGSTOP) == 0 &&
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0)
        execvp(argv[0], argv);
    _exit(127);
}

/* The signal that a stop is to go on with. */
static int look_at(pid_t tid, int status)
{
    struct user_regs_struct regs;
    int event = status >> 16;

    if (event == PTRACE_EVENT_SECCOMP) {
        ptrace(PTRACE_GETREGS, tid, NULL, &regs);
        ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax), regs.rax);
    }
    return event || WSTOPSIG(status) == SIGSTOP || WSTOPSIG(status) == SIGTRAP ? 0
                                                                               : WSTOPSIG(status);
}

static int trace(pid_t program)
{
    int status, result = 1;
    pid_t tid;

    while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (tid > 0 && WIFSTOPPED(status))
            ptrace(PTRACE_CONT, tid, NULL, (void *)(long)look_at(tid, status));
        else if (tid == program)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return result;
}

int main(int argc, char **argv)
{
    pid_t program;
    int status;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_tracer PROG [ARG...]\n");
        return 2;
    }
    use_one_cpu();
    program = fork();
    if (program == 0)
        become_traced(argv + 1);
    if (program < 0 || waitpid(program, &status, 0) != program || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, program, NULL, (void *)(long)OPTIONS) < 0 ||
        ptrace(PTRACE_CONT, program, NULL, NULL) < 0) {
        perror("bench_tracer");
        return 2;
    }
    return trace(program);
}
