/*
 * One thread takes every asynchronous signal by sigwaitinfo(2) and hands it on: what the caller's
 * terminal made, to the guest's foreground group; what somebody sent, to the first program. A ^Z
 * stops what the guest's own job control says; the sandbox stops itself when that is the first
 * program and its group (sentry/kernel/jobs.h).
 *
 * Left alone: what the Sentry's own faults raise, SIGKILL and SIGSTOP, SIGCHLD (ours), and the
 * real-time signals (libc's and the Sentry's kicks).
 */
#include "runtime/forward.h"

#include <signal.h>

#include "base/log.h"
#include "host/process.h"
#include "host/thread.h"
#include "sentry/kernel/kernel.h"

static const int forwarded[] = {
    SIGHUP,  SIGINT,  SIGQUIT,  SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM,   SIGTERM, SIGCONT, SIGTSTP,
    SIGTTIN, SIGTTOU, SIGWINCH, SIGIO,   SIGURG,  SIGPWR,  SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ,
};

static void forwarded_set(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    for (size_t i = 0; i < ARRAY_COUNT(forwarded); i++)
        sigaddset(ret_set, forwarded[i]);
}

uint64_t forward_block(void)
{
    uint64_t ignored = 0;
    sigset_t set;

    for (size_t i = 0; i < ARRAY_COUNT(forwarded); i++) {
        if (host_signal_ignored(forwarded[i]))
            ignored |= 1UL << (forwarded[i] - 1);
    }
    forwarded_set(&set);
    host_signal_block(&set);
    return ignored;
}

static bool by_terminal(int signo)
{
    return signo == SIGINT || signo == SIGQUIT || signo == SIGTSTP || signo == SIGWINCH;
}

static void forward_loop(void *arg)
{
    struct kernel *kernel = arg;
    sigset_t set;

    forwarded_set(&set);
    for (;;) {
        bool from_kernel;
        int signo = host_signal_wait(&set, &from_kernel);

        if (signo > 0 && from_kernel && by_terminal(signo))
            kernel_signal_terminal(kernel, signo);
        else if (signo > 0)
            kernel_signal_init(kernel, signo);
    }
}

int forward_start(struct kernel *kernel)
{
    return host_thread_start("forward", forward_loop, kernel);
}
