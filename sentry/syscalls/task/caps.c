/* capget(2) and capset(2), in the three versions of their header. */
#include <errno.h>
#include <linux/capability.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

/* How many 32-bit halves this version passes; an unknown one is answered with ours. */
static int header_words(struct task *task, uaddr_t header_ptr,
                        struct __user_cap_header_struct *ret_header)
{
    const uint32_t ours = _LINUX_CAPABILITY_VERSION_3;

    if (copy_struct_from_user(task->mm, ret_header, header_ptr) < 0)
        return -EFAULT;
    switch (ret_header->version) {
    case _LINUX_CAPABILITY_VERSION_1:
        return _LINUX_CAPABILITY_U32S_1;
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
        return _LINUX_CAPABILITY_U32S_3;
    default:
        return copy_to_user(task->mm, header_ptr, &ours, sizeof(ours)) < 0 ? -EFAULT : -EINVAL;
    }
}

static void put_sets(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3],
                     uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i] = (struct __user_cap_data_struct){
            .effective = (uint32_t)(effective >> (32 * i)),
            .permitted = (uint32_t)(permitted >> (32 * i)),
            .inheritable = (uint32_t)(inheritable >> (32 * i)),
        };
    }
}

SYSCALL_DEFINE2(capget, uaddr_t, header_ptr, uaddr_t, data_ptr)
{
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    int words = header_words(task, header_ptr, &header);
    struct task *target;

    if (!data_ptr && (words > 0 || words == -EINVAL))
        return 0; /* asked for the version alone */
    if (words < 0)
        return words;
    if (header.pid < 0)
        return -EINVAL;
    target = header.pid == 0 ? task_ref(task) : task_lookup(task, header.pid);
    if (target) {
        lock_acquire(&target->process->lock);
        put_sets(data, target->cred->cap_effective, target->cred->cap_permitted,
                 target->cred->cap_inheritable);
        lock_release(&target->process->lock);
        task_unref(target);
    } else if (header.pid == KERNEL_PID_SENTRY && task->process->pid_ns->level == 0) {
        put_sets(data, CRED_CAPS_ALL, CRED_CAPS_ALL, 0); /* our own "init" is no task, but root */
    } else {
        return -ESRCH;
    }
    return copy_to_user(task->mm, data_ptr, data, (size_t)words * sizeof(data[0]));
}

/* Linux cap_capset(). */
static bool may_set(const struct cred *old, uint64_t effective, uint64_t permitted,
                    uint64_t inheritable)
{
    if (!cred_has_own_cap(old, CAP_SETPCAP) &&
        (inheritable & ~(old->cap_inheritable | old->cap_permitted)))
        return false;
    if (inheritable & ~(old->cap_inheritable | old->cap_bounding))
        return false;
    return !(permitted & ~old->cap_permitted) && !(effective & ~permitted);
}

SYSCALL_DEFINE2(capset, uaddr_t, header_ptr, uaddr_t, data_ptr)
{
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    int words = header_words(task, header_ptr, &header);
    uint64_t effective, permitted, inheritable;
    struct cred *cred;

    if (words < 0)
        return words;
    if (header.pid != 0 && header.pid != task->vtid)
        return -EPERM;
    if (copy_from_user(task->mm, data, data_ptr, (size_t)words * sizeof(data[0])) < 0)
        return -EFAULT;
    effective = (data[0].effective | (uint64_t)data[1].effective << 32) & CRED_CAPS_ALL;
    permitted = (data[0].permitted | (uint64_t)data[1].permitted << 32) & CRED_CAPS_ALL;
    inheritable = (data[0].inheritable | (uint64_t)data[1].inheritable << 32) & CRED_CAPS_ALL;
    if (!may_set(task->cred, effective, permitted, inheritable))
        return -EPERM;
    cred = cred_copy(task->cred, task->cred->group_count);
    if (!cred)
        return -ENOMEM;
    cred->cap_effective = effective;
    cred->cap_permitted = permitted;
    cred->cap_inheritable = inheritable;
    cred->cap_ambient &= permitted & inheritable;
    task_set_cred(task, cred);
    return 0;
}
