/*
 * One thread takes every asynchronous signal by sigwaitinfo(2) and hands it to the first program.
 *
 * Left alone: what the Sentry's own faults raise, SIGKILL and SIGSTOP, the job-control stops (the
 * host stops the whole sandbox, which is what the shell that started it expects), SIGCHLD (ours),
 * and the real-time signals (libc's and the Sentry's kicks).
 */
#include "runtime/forward.h"

#include <signal.h>

#include "base/log.h"
#include "host/process.h"
#include "host/thread.h"
#include "sentry/kernel/kernel.h"

static const int forwarded[] = {
    SIGHUP,   SIGINT, SIGQUIT, SIGUSR1, SIGUSR2,   SIGPIPE, SIGALRM, SIGTERM, SIGCONT,
    SIGWINCH, SIGIO,  SIGURG,  SIGPWR,  SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ,
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

static void forward_loop(void *arg)
{
    struct kernel *kernel = arg;
    sigset_t set;

    forwarded_set(&set);
    for (;;) {
        int signo = host_signal_wait(&set);

        if (signo > 0)
            kernel_signal_init(kernel, signo);
    }
}

int forward_start(struct kernel *kernel)
{
    return host_thread_start("forward", forward_loop, kernel);
}
