#include "sentry/kernel/cred.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rlimit.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/landlock/landlock.h"

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static struct cred *cred_alloc(uint32_t group_count)
{
    struct cred *cred = calloc(1, sizeof(*cred) + group_count * sizeof(uint32_t));

    if (!cred)
        return NULL;
    refcount_set(&cred->refs, 1);
    cred->group_count = group_count;
    return cred;
}

struct cred *cred_copy(const struct cred *old, uint32_t group_count)
{
    struct cred *cred = cred_alloc(group_count);

    if (!cred)
        return NULL;
    memcpy(cred, old, sizeof(*cred));
    refcount_set(&cred->refs, 1);
    user_ns_ref(cred->user_ns);
    cred->group_count = group_count;
    memcpy(cred->groups, old->groups, MIN(group_count, old->group_count) * sizeof(uint32_t));
    landlock_domain_ref(cred->landlock);
    key_cred_copied(cred);
    return cred;
}

struct cred *cred_create(uint32_t uid, uint32_t gid, const uint32_t *groups, uint32_t group_count)
{
    struct cred *cred = cred_alloc(group_count);

    if (!cred)
        return NULL;
    cred->uid = cred->euid = cred->suid = cred->fsuid = uid;
    cred->gid = cred->egid = cred->sgid = cred->fsgid = gid;
    cred->user_ns = user_ns_ref(&user_ns_first);
    cred->cap_bounding = CRED_CAPS_ALL;
    if (uid == 0)
        cred->cap_effective = cred->cap_permitted = CRED_CAPS_ALL;
    if (group_count > 0)
        memcpy(cred->groups, groups, group_count * sizeof(uint32_t));
    cred_sort_groups(cred);
    return cred;
}

void cred_sort_groups(struct cred *cred)
{
    sort_u32(cred->groups, cred->group_count);
}

const struct cred *cred_ref(const struct cred *cred)
{
    refcount_get(&((struct cred *)cred)->refs);
    return cred;
}

const struct cred *cred_unref(const struct cred *cred)
{
    if (cred && refcount_put(&((struct cred *)cred)->refs)) {
        landlock_domain_unref(cred->landlock);
        key_cred_freed((struct cred *)cred);
        user_ns_unref(cred->user_ns);
        free((struct cred *)cred);
    }
    return NULL;
}

bool cred_has_cap(const struct cred *cred, int cap)
{
    return cred->user_ns == &user_ns_first && cred_has_own_cap(cred, cap);
}

bool cred_has_ns_cap(const struct cred *cred, const struct user_ns *ns, int cap)
{
    for (; ns != cred->user_ns; ns = user_ns_parent(ns)) {
        if (ns->level <= cred->user_ns->level)
            return false;
        /* Its maker, seen from where he made it, may everything in it and below. */
        if (user_ns_parent(ns) == cred->user_ns && ns->owner == cred->euid)
            return true;
    }
    return cred_has_own_cap(cred, cap);
}

uint32_t cred_shown_uid(const struct cred *viewer, uint32_t uid)
{
    return id_map_shown(user_ns_map(viewer->user_ns, ID_USER), uid);
}

uint32_t cred_shown_gid(const struct cred *viewer, uint32_t gid)
{
    return id_map_shown(user_ns_map(viewer->user_ns, ID_GROUP), gid);
}

uint32_t cred_kernel_uid(const struct cred *cred, uint32_t uid)
{
    return id_map_to_kernel(user_ns_map(cred->user_ns, ID_USER), uid);
}

uint32_t cred_kernel_gid(const struct cred *cred, uint32_t gid)
{
    return id_map_to_kernel(user_ns_map(cred->user_ns, ID_GROUP), gid);
}

void cred_enter_user_ns(struct cred *cred, struct user_ns *ns)
{
    struct user_ns *old = cred->user_ns;

    cred->user_ns = ns;
    cred->securebits = 0;
    cred->cap_inheritable = cred->cap_ambient = 0;
    cred->cap_permitted = cred->cap_effective = cred->cap_bounding = CRED_CAPS_ALL;
    user_ns_unref(old);
}

bool cred_in_group(const struct cred *cred, uint32_t gid)
{
    return gid == cred->fsgid ||
           (cred->group_count > 0 &&
            bsearch(&gid, cred->groups, cred->group_count, sizeof(uint32_t), compare_ids) != NULL);
}

static void use_for_files(const struct cred *cred, uint32_t uid, uint32_t gid, uint64_t caps)
{
    const struct vfs_identity identity = {
        .uid = uid,
        .gid = gid,
        .groups = cred->groups,
        .group_count = cred->group_count,
        .caps = caps,
        .uids = cred->user_ns == &user_ns_first ? NULL : &cred->user_ns->maps[ID_USER],
        .gids = &cred->user_ns->maps[ID_GROUP],
        .landlock = cred->landlock,
    };

    vfs_identity_set(&identity);
}

void cred_use_for_files(const struct cred *cred)
{
    use_for_files(cred, cred->fsuid, cred->fsgid, cred->cap_effective);
}

/* fs/open.c:access_override_creds() */
void cred_use_real_ids(const struct cred *cred)
{
    uint64_t caps = cred->cap_effective;

    if (!(cred->securebits & SECBIT_NO_SETUID_FIXUP))
        caps = cred->uid == cred_kernel_uid(cred, 0) ? cred->cap_permitted : 0;
    use_for_files(cred, cred->uid, cred->gid, caps);
}

void task_set_cred(struct task *task, const struct cred *cred)
{
    const struct cred *old = task->cred;
    bool limits = cred_has_cap(old, CAP_IPC_LOCK) != cred_has_cap(cred, CAP_IPC_LOCK);

    lock_acquire(&task->process->lock);
    task->cred = cred;
    lock_release(&task->process->lock);
    cred_use_for_files(cred);
    cred_unref(old);
    if (limits)
        rlimits_apply(task, task->mm);
    task_update_fastpath(task);
}

bool task_has_cap(const struct task *task, int cap)
{
    return cred_has_cap(task->cred, cap);
}

bool task_has_ns_cap(const struct task *task, const struct user_ns *ns, int cap)
{
    return cred_has_ns_cap(task->cred, ns, cap);
}

bool task_has_own_cap(const struct task *task, int cap)
{
    return cred_has_own_cap(task->cred, cap);
}
