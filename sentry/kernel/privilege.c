#include "sentry/kernel/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/attr/filecaps.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/attr/permission.h"

/* What must not bend a program that is stronger than its caller: PER_CLEAR_ON_SETID. */
#define PERSONA_UNSAFE                                                                             \
    ((uint32_t)(READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO))

/* Why an execve gives no more than the caller had: LSM_UNSAFE_*. */
struct distrust {
    bool no_new_privs;
    bool shared; /* others could change its root and working directory */
    bool traced; /* by who could not do it himself */
};

/* How many threads of the process have this fs; others may have it as well. */
static bool fs_shared_with_others(struct task *task)
{
    struct process *process = task->process;
    struct task *thread;
    uint32_t own = 0;

    lock_acquire(&process->lock);
    list_for_each (thread, &process->threads, process_node)
        own += thread->fs == task->fs;
    lock_release(&process->lock);
    return fs_context_users(task->fs) > own;
}

static bool traced_by_weaker(struct task *task, const struct user_ns *ns)
{
    struct task *tracer;
    const struct cred *cred;
    bool weaker = false;

    lock_acquire(&task->process->lock);
    tracer = task->trace.tracer ? task_ref(task->trace.tracer) : NULL;
    lock_release(&task->process->lock);
    if (tracer) {
        cred = task_get_cred(tracer);
        weaker = !cred_has_ns_cap(cred, ns, CAP_SYS_PTRACE);
        cred_unref(cred);
    }
    task_unref(tracer);
    return weaker;
}

static bool is_mapped(const struct cred *cred, uint32_t uid, uint32_t gid)
{
    return id_map_from_kernel(user_ns_map(cred->user_ns, ID_USER), uid) != ID_NONE &&
           id_map_from_kernel(user_ns_map(cred->user_ns, ID_GROUP), gid) != ID_NONE;
}

/* Was the file system made in the namespace that `cred` is in, or in one above? */
static bool trusts_super(const struct cred *cred, const struct super_block *sb)
{
    const struct user_ns *ns = cred->user_ns;

    while (ns && ns->ns.id != sb->owner_id)
        ns = user_ns_parent(ns);
    return sb->owner_id == 0 || ns;
}

/* fs/exec.c:mnt_may_suid(): not what somebody else has mounted, for himself or with ids of his. */
static bool file_may_give_privileges(const struct task *task, const struct file *exe)
{
    const struct mount *m = exe->at.mount;

    return m && !(mount_get_flags(m) & MOUNT_NOSUID) &&
           __atomic_load_n(&m->ns, __ATOMIC_RELAXED) == task_mount_ns(task) &&
           trusts_super(task->cred, m->sb);
}

/* fs/exec.c:bprm_fill_uid() */
static void take_ids(struct cred *cred, const struct linux_stat *st, struct exec_identity *ret)
{
    const uint32_t group = S_ISGID | S_IXGRP;

    if (!(st->st_mode & (S_ISUID | S_ISGID)) || !is_mapped(cred, st->st_uid, st->st_gid))
        return;
    if (st->st_mode & S_ISUID) {
        ret->persona_clear |= PERSONA_UNSAFE;
        cred->euid = st->st_uid;
    }
    if ((st->st_mode & group) == group) {
        ret->persona_clear |= PERSONA_UNSAFE;
        cred->egid = st->st_gid;
    }
}

/* Does this kernel id lead the task's user namespace or one above? */
static bool leads_namespace(const struct cred *cred, uint32_t root)
{
    for (const struct user_ns *ns = cred->user_ns; ns; ns = user_ns_parent(ns)) {
        if (id_map_from_kernel(user_ns_map(ns, ID_USER), root) == 0)
            return true;
    }
    return false;
}

/* security/commoncap.c:get_file_caps(): P'(permitted) = (B & F(p)) | (P(i) & F(i)). */
static int take_file_caps(struct cred *cred, struct file *exe, bool *ret_effective, bool *ret_found)
{
    struct file_caps caps;
    int err = exe->at.dentry ? file_caps_read(&exe->at, &caps) : -ENODATA;

    if (err == -ENODATA || (err == 0 && !leads_namespace(cred, caps.root)))
        return 0;
    if (err < 0)
        return err;
    *ret_effective = caps.effective;
    *ret_found = true;
    cred->cap_permitted =
        (cred->cap_bounding & caps.permitted) | (cred->cap_inheritable & caps.inheritable);
    /* Who cannot do without them gets all or is not run. */
    return caps.effective && (caps.permitted & ~cred->cap_permitted) ? -EPERM : 0;
}

/* security/commoncap.c:handle_privileged_root() */
static void take_root_caps(struct cred *cred, uint32_t root, bool has_caps, bool *effective)
{
    if (cred->securebits & SECBIT_NOROOT)
        return;
    if (has_caps && cred->uid != root && cred->euid == root)
        return; /* set-user-ID root, but with capabilities of its own */
    if (cred->euid == root || cred->uid == root)
        cred->cap_permitted = cred->cap_bounding | cred->cap_inheritable;
    if (cred->euid == root)
        *effective = true;
}

static bool can_read(struct file *exe)
{
    struct dentry *dentry = exe->at.dentry;

    return !dentry || !dentry->sb->checks_modes || path_permission(&exe->at, R_OK) == 0;
}

/* security/commoncap.c:cap_bprm_creds_from_file(), from the ids and file capabilities on. */
static void settle(struct cred *cred, const struct cred *old, const struct distrust *distrust,
                   bool effective, bool has_caps, struct exec_identity *ret)
{
    bool gained = cred->cap_permitted & ~old->cap_permitted;
    bool setid = cred->euid != old->uid || cred->egid != old->gid;

    if (gained)
        ret->persona_clear |= PERSONA_UNSAFE;
    if ((setid || gained) && (distrust->no_new_privs || distrust->shared || distrust->traced)) {
        if (!cred_has_own_cap(old, CAP_SETUID) || distrust->no_new_privs) {
            cred->euid = cred->uid;
            cred->egid = cred->gid;
        }
        cred->cap_permitted &= old->cap_permitted;
    }
    cred->suid = cred->fsuid = cred->euid;
    cred->sgid = cred->fsgid = cred->egid;
    if (has_caps || setid)
        cred->cap_ambient = 0;
    cred->cap_permitted |= cred->cap_ambient;
    cred->cap_effective = effective ? cred->cap_permitted : cred->cap_ambient;
    cred->securebits &= ~SECBIT_KEEP_CAPS;
    key_cred_exec(cred);
    ret->secure = setid || (cred->uid != cred_kernel_uid(cred, 0) &&
                            (effective || (cred->cap_permitted & ~cred->cap_ambient)));
}

int privilege_of_exec(struct task *task, struct file *exe, struct exec_identity *ret)
{
    const struct cred *old = task->cred;
    struct cred *cred = cred_copy(old, old->group_count);
    struct distrust distrust = {
        .no_new_privs = task_no_new_privs(task),
        .shared = fs_shared_with_others(task),
        .traced = traced_by_weaker(task, old->user_ns),
    };
    struct exec_identity identity = {.cred = cred};
    bool effective = false, has_caps = false, may_give;
    struct linux_stat st;
    int err;

    if (!cred)
        return -ENOMEM;
    err = file_stat(exe, &st);
    if (!err)
        mount_map_stat(path_map(&exe->at), &st);
    may_give = err == 0 && file_may_give_privileges(task, exe);
    if (may_give && !distrust.no_new_privs)
        take_ids(cred, &st, &identity);
    cred->cap_permitted = 0;
    if (may_give)
        err = take_file_caps(cred, exe, &effective, &has_caps);
    if (err < 0) {
        cred_unref(cred);
        return err;
    }
    take_root_caps(cred, cred_kernel_uid(cred, 0), has_caps, &effective);
    settle(cred, old, &distrust, effective, has_caps, &identity);
    /* It changed, or can do more: nobody looks into it who could look into its caller. */
    identity.stronger = cred->euid != old->euid || cred->egid != old->egid ||
                        (cred->cap_permitted & ~old->cap_permitted);
    identity.undumpable =
        identity.stronger || cred->euid != cred->uid || cred->egid != cred->gid || !can_read(exe);
    *ret = identity;
    return 0;
}

void exec_identity_drop(struct exec_identity *identity)
{
    identity->cred = cred_unref(identity->cred);
    identity->namespaces = ns_proxy_unref(identity->namespaces);
}
