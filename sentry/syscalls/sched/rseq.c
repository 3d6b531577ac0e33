/* rseq(2). */
#include <errno.h>

#include "sentry/kernel/rseq.h"
#include "sentry/syscalls/define.h"

#define FLAG_UNREGISTER 1 /* RSEQ_FLAG_UNREGISTER */

SYSCALL_DEFINE4(rseq, uaddr_t, addr, uint32_t, size, int, flags, uint32_t, signature)
{
    if (flags & ~FLAG_UNREGISTER)
        return -EINVAL;
    if (flags & FLAG_UNREGISTER)
        return rseq_unregister(task, addr, size, signature);
    return rseq_register(task, addr, size, signature);
}
