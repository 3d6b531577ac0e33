/*
 * Changing identity: setuid(2), setreuid(2), setresuid(2), setfsuid(2), the same for groups,
 * setgroups(2). Rules as in Linux kernel/sys.c; capabilities follow as in security/commoncap.c.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define KEEP       0xffffffffu /* "do not change", and no id */
#define GROUPS_MAX 65536u      /* NGROUPS_MAX */

/* Capabilities about files, which go with the file-system uid. */
#define CAPS_FS                                                                                    \
    (1UL << CAP_CHOWN | 1UL << CAP_DAC_OVERRIDE | 1UL << CAP_DAC_READ_SEARCH | 1UL << CAP_FOWNER | \
     1UL << CAP_FSETID | 1UL << CAP_LINUX_IMMUTABLE | 1UL << CAP_MKNOD | 1UL << CAP_MAC_OVERRIDE)

static struct cred *begin(struct task *task)
{
    return cred_copy(task->cred, task->cred->group_count);
}

/* A program's id becomes the kernel's; KEEP stays. False: it means nobody. */
static bool to_kernel_uid(const struct cred *cred, uint32_t *uid)
{
    if (*uid == KEEP)
        return true;
    *uid = cred_kernel_uid(cred, *uid);
    return *uid != KEEP;
}

static bool to_kernel_gid(const struct cred *cred, uint32_t *gid)
{
    if (*gid == KEEP)
        return true;
    *gid = cred_kernel_gid(cred, *gid);
    return *gid != KEEP;
}

static bool any_root(const struct cred *cred, uint32_t root)
{
    return cred->uid == root || cred->euid == root || cred->suid == root;
}

/* Leaving or becoming root moves capabilities, unless securebits say no. */
static void fix_caps(struct cred *cred, const struct cred *old)
{
    uint32_t root = cred_kernel_uid(old, 0);

    if (cred->securebits & SECBIT_NO_SETUID_FIXUP)
        return;
    if (any_root(old, root) && !any_root(cred, root)) {
        if (!(cred->securebits & SECBIT_KEEP_CAPS))
            cred->cap_permitted = cred->cap_effective = 0;
        cred->cap_ambient = 0;
    }
    if (old->euid == root && cred->euid != root)
        cred->cap_effective = 0;
    if (old->euid != root && cred->euid == root)
        cred->cap_effective = cred->cap_permitted;
}

static long commit(struct task *task, struct cred *cred)
{
    const struct cred *old = task->cred;

    if (cred->euid != old->euid || cred->egid != old->egid || cred->fsuid != old->fsuid ||
        cred->fsgid != old->fsgid || (cred->cap_permitted & ~old->cap_permitted)) {
        task->process->dumpable = 0;
        task->parent_death_signal = 0;
    }
    task_set_cred(task, cred);
    return 0;
}

static long refuse(struct cred *cred)
{
    cred_unref(cred);
    return -EPERM;
}

SYSCALL_DEFINE1(setuid, uint32_t, uid)
{
    const struct cred *old = task->cred;
    struct cred *cred;

    uid = cred_kernel_uid(old, uid);
    if (uid == KEEP)
        return -EINVAL;
    cred = begin(task);
    if (!cred)
        return -ENOMEM;
    if (cred_has_own_cap(old, CAP_SETUID))
        cred->uid = cred->suid = uid;
    else if (uid != old->uid && uid != old->suid)
        return refuse(cred);
    cred->euid = cred->fsuid = uid;
    fix_caps(cred, old);
    return commit(task, cred);
}

SYSCALL_DEFINE2(setreuid, uint32_t, ruid, uint32_t, euid)
{
    const struct cred *old = task->cred;
    bool may = cred_has_own_cap(old, CAP_SETUID);
    struct cred *cred;

    if (!to_kernel_uid(old, &ruid) || !to_kernel_uid(old, &euid))
        return -EINVAL;
    cred = begin(task);
    if (!cred)
        return -ENOMEM;
    if (ruid != KEEP) {
        cred->uid = ruid;
        if (!may && ruid != old->uid && ruid != old->euid)
            return refuse(cred);
    }
    if (euid != KEEP) {
        cred->euid = euid;
        if (!may && euid != old->uid && euid != old->euid && euid != old->suid)
            return refuse(cred);
    }
    if (ruid != KEEP || (euid != KEEP && euid != old->uid))
        cred->suid = cred->euid;
    cred->fsuid = cred->euid;
    fix_caps(cred, old);
    return commit(task, cred);
}

static bool is_own_uid(const struct cred *cred, uint32_t uid)
{
    return uid == KEEP || uid == cred->uid || uid == cred->euid || uid == cred->suid;
}

SYSCALL_DEFINE3(setresuid, uint32_t, ruid, uint32_t, euid, uint32_t, suid)
{
    const struct cred *old = task->cred;
    struct cred *cred;

    if (!to_kernel_uid(old, &ruid) || !to_kernel_uid(old, &euid) || !to_kernel_uid(old, &suid))
        return -EINVAL;
    if (!cred_has_own_cap(old, CAP_SETUID) &&
        !(is_own_uid(old, ruid) && is_own_uid(old, euid) && is_own_uid(old, suid)))
        return -EPERM;
    cred = begin(task);
    if (!cred)
        return -ENOMEM;
    if (ruid != KEEP)
        cred->uid = ruid;
    if (euid != KEEP)
        cred->euid = euid;
    if (suid != KEEP)
        cred->suid = suid;
    cred->fsuid = cred->euid;
    fix_caps(cred, old);
    return commit(task, cred);
}

/* Never fails in so many words: the old id is the answer, changed or not. */
SYSCALL_DEFINE1(setfsuid, uint32_t, uid)
{
    const struct cred *old = task->cred;
    uint32_t was = old->fsuid, root = cred_kernel_uid(old, 0);
    long shown = cred_shown_uid(old, was);
    struct cred *cred;

    uid = cred_kernel_uid(old, uid);
    if (uid == KEEP || uid == was ||
        (!is_own_uid(old, uid) && uid != old->fsuid && !cred_has_own_cap(old, CAP_SETUID)))
        return shown;
    cred = begin(task);
    if (!cred)
        return shown;
    cred->fsuid = uid;
    if (!(cred->securebits & SECBIT_NO_SETUID_FIXUP)) {
        if (was == root)
            cred->cap_effective &= ~CAPS_FS;
        else if (uid == root)
            cred->cap_effective |= cred->cap_permitted & CAPS_FS;
    }
    commit(task, cred);
    return shown;
}

SYSCALL_DEFINE1(setgid, uint32_t, gid)
{
    const struct cred *old = task->cred;
    struct cred *cred;

    gid = cred_kernel_gid(old, gid);
    if (gid == KEEP)
        return -EINVAL;
    cred = begin(task);
    if (!cred)
        return -ENOMEM;
    if (cred_has_own_cap(old, CAP_SETGID))
        cred->gid = cred->sgid = gid;
    else if (gid != old->gid && gid != old->sgid)
        return refuse(cred);
    cred->egid = cred->fsgid = gid;
    return commit(task, cred);
}

SYSCALL_DEFINE2(setregid, uint32_t, rgid, uint32_t, egid)
{
    const struct cred *old = task->cred;
    bool may = cred_has_own_cap(old, CAP_SETGID);
    struct cred *cred;

    if (!to_kernel_gid(old, &rgid) || !to_kernel_gid(old, &egid))
        return -EINVAL;
    cred = begin(task);
    if (!cred)
        return -ENOMEM;
    if (rgid != KEEP) {
        cred->gid = rgid;
        if (!may && rgid != old->gid && rgid != old->egid)
            return refuse(cred);
    }
    if (egid != KEEP) {
        cred->egid = egid;
        if (!may && egid != old->gid && egid != old->egid && egid != old->sgid)
            return refuse(cred);
    }
    if (rgid != KEEP || (egid != KEEP && egid != old->gid))
        cred->sgid = cred->egid;
    cred->fsgid = cred->egid;
    return commit(task, cred);
}

static bool is_own_gid(const struct cred *cred, uint32_t gid)
{
    return gid == KEEP || gid == cred->gid || gid == cred->egid || gid == cred->sgid;
}

SYSCALL_DEFINE3(setresgid, uint32_t, rgid, uint32_t, egid, uint32_t, sgid)
{
    const struct cred *old = task->cred;
    struct cred *cred;

    if (!to_kernel_gid(old, &rgid) || !to_kernel_gid(old, &egid) || !to_kernel_gid(old, &sgid))
        return -EINVAL;
    if (!cred_has_own_cap(old, CAP_SETGID) &&
        !(is_own_gid(old, rgid) && is_own_gid(old, egid) && is_own_gid(old, sgid)))
        return -EPERM;
    cred = begin(task);
    if (!cred)
        return -ENOMEM;
    if (rgid != KEEP)
        cred->gid = rgid;
    if (egid != KEEP)
        cred->egid = egid;
    if (sgid != KEEP)
        cred->sgid = sgid;
    cred->fsgid = cred->egid;
    return commit(task, cred);
}

SYSCALL_DEFINE1(setfsgid, uint32_t, gid)
{
    const struct cred *old = task->cred;
    uint32_t was = old->fsgid;
    long shown = cred_shown_gid(old, was);
    struct cred *cred;

    gid = cred_kernel_gid(old, gid);
    if (gid == KEEP || gid == was ||
        (!is_own_gid(old, gid) && gid != old->fsgid && !cred_has_own_cap(old, CAP_SETGID)))
        return shown;
    cred = begin(task);
    if (!cred)
        return shown;
    cred->fsgid = gid;
    commit(task, cred);
    return shown;
}

SYSCALL_DEFINE2(setgroups, int, count, uaddr_t, list)
{
    struct cred *cred;

    if (!task_has_own_cap(task, CAP_SETGID) || !user_ns_may_setgroups(task->cred->user_ns))
        return -EPERM;
    if ((uint32_t)count > GROUPS_MAX)
        return -EINVAL;
    cred = cred_copy(task->cred, (uint32_t)count);
    if (!cred)
        return -ENOMEM;
    if (copy_from_user(task->mm, cred->groups, list, (size_t)count * sizeof(uint32_t)) < 0) {
        cred_unref(cred);
        return -EFAULT;
    }
    for (int i = 0; i < count; i++) {
        if (to_kernel_gid(cred, &cred->groups[i]) && cred->groups[i] != KEEP)
            continue;
        cred_unref(cred);
        return -EINVAL;
    }
    cred_sort_groups(cred);
    task_set_cred(task, cred);
    return 0;
}
