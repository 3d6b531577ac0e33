#include "host/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int host_futex_wait(uint32_t *word, uint32_t expect, uint64_t deadline_ns)
{
    struct timespec ts = {
        .tv_sec = (time_t)(deadline_ns / 1000000000),
        .tv_nsec = (long)(deadline_ns % 1000000000),
    };

    /* The bitset form takes an absolute deadline: repeated sleeps do not add up. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expect,
                deadline_ns == HOST_NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY) < 0)
        return -errno;
    return 0;
}

void host_futex_wake(uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}
