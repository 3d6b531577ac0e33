/* userfaultfd(2); what is done with the descriptor is in sentry/kernel/userfaultfd.c. */
#include "sentry/syscalls/mm/userfaultfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>

#include "sentry/kernel/userfaultfd.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

long userfaultfd_install(struct task *task, int flags)
{
    struct file *file;
    int err;

    if (flags & ~(O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY))
        return -EINVAL;
    err = userfaultfd_create(task, flags, &file);
    return err < 0 ? err : task_install(task, file, 0, flags & O_CLOEXEC);
}

SYSCALL_DEFINE1(userfaultfd, int, flags)
{
    /* vm.unprivileged_userfaultfd is 0. */
    if (!(flags & UFFD_USER_MODE_ONLY) && !task_has_cap(task, CAP_SYS_PTRACE))
        return -EPERM;
    return userfaultfd_install(task, flags);
}
