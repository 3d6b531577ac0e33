/* Who may look into whom (ptrace(2), "Ptrace access mode checking"). There is no Yama. */
#include <errno.h>
#include <linux/capability.h>

#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/landlock/landlock.h"

static bool same_identity(const struct cred *caller, const struct cred *target, bool fs)
{
    uint32_t uid = fs ? caller->fsuid : caller->uid, gid = fs ? caller->fsgid : caller->gid;

    return uid == target->euid && uid == target->suid && uid == target->uid &&
           gid == target->egid && gid == target->sgid && gid == target->gid;
}

int ptrace_may_access(struct task *caller, struct task *target, enum ptrace_mode mode)
{
    bool fs = mode == PTRACE_ATTACH_FSCREDS || mode == PTRACE_READ_FSCREDS, granted = false;
    const struct cred *cred = caller->cred, *other;
    uint64_t caps = fs ? cred->cap_effective : cred->cap_permitted;

    if (caller->process == target->process)
        return 0;
    other = task_get_cred(target);
    if (!landlock_contains(cred->landlock, other->landlock)) {
        cred_unref(other);
        return -EPERM;
    }
    if (cred_has_ns_cap(cred, other->user_ns, CAP_SYS_PTRACE))
        granted = true;
    else if (same_identity(cred, other, fs) && cred->user_ns == other->user_ns &&
             __atomic_load_n(&target->process->dumpable, __ATOMIC_RELAXED) == 1)
        granted = (other->cap_permitted & ~caps) == 0;
    cred_unref(other);
    return granted ? 0 : -EPERM;
}
