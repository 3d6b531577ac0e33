#include "sentry/kernel/signal/siginfo.h"

#include <string.h>

#define CODE_KERNEL    0x80 /* SI_KERNEL: codes of one signal's own are below */
#define CODE_DETHREAD  (-7) /* the lowest of the row that starts at SI_QUEUE */
#define CODE_ASYNCNL   (-60)
#define CODE_POLL_LAST 6

/* Signals with codes of their own, up to which one (Linux kernel/signal.c sig_sicodes). */
static const struct {
    int last;
    enum siginfo_layout layout;
} specific[] = {
    [SIGILL] = {11, SIGINFO_FAULT},  [SIGFPE] = {15, SIGINFO_FAULT},
    [SIGSEGV] = {10, SIGINFO_FAULT}, [SIGBUS] = {5, SIGINFO_FAULT},
    [SIGTRAP] = {6, SIGINFO_FAULT},  [SIGCHLD] = {6, SIGINFO_CHILD},
    [SIGPOLL] = {6, SIGINFO_POLL},   [SIGSYS] = {2, SIGINFO_SYSTEM_CALL},
};

static int last_specific(int signo)
{
    return signo > 0 && signo < (int)ARRAY_COUNT(specific) ? specific[signo].last : 0;
}

enum siginfo_layout siginfo_layout(const siginfo_t *info)
{
    int signo = info->si_signo, code = info->si_code;

    if (code > SI_USER && code < CODE_KERNEL) {
        if (signo == SIGBUS && (code == BUS_MCEERR_AR || code == BUS_MCEERR_AO))
            return SIGINFO_MEMORY_ERROR;
        if (code <= last_specific(signo))
            return specific[signo].layout;
        return code <= CODE_POLL_LAST ? SIGINFO_POLL : SIGINFO_KILL;
    }
    if (code == SI_TIMER)
        return SIGINFO_TIMER;
    if (code == SI_SIGIO)
        return SIGINFO_POLL;
    return code < 0 ? SIGINFO_QUEUE : SIGINFO_KILL;
}

static bool is_known(int signo, int code)
{
    if (code == CODE_KERNEL)
        return true;
    if (code > SI_USER)
        return code <= (last_specific(signo) ? last_specific(signo) : CODE_POLL_LAST);
    return code >= CODE_DETHREAD || code == CODE_ASYNCNL;
}

bool siginfo_accept(siginfo_t *info)
{
    uint8_t *bytes = (uint8_t *)info;

    for (size_t i = SIGINFO_USED; i < sizeof(*info); i++) {
        if (bytes[i] && !is_known(info->si_signo, info->si_code))
            return false;
        bytes[i] = 0;
    }
    return true;
}
