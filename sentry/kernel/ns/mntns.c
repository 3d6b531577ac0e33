#include "sentry/kernel/ns/mntns.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/vfs/fs_context.h"

static struct lock list_lock = LOCK_INIT;
static struct list all __guarded_by(list_lock) = LIST_INIT(all);

void mnt_ns_enter_list(struct ns *ns)
{
    struct mnt_ns *other;

    if (mnt_ns_of(ns)->tree)
        mnt_ns_of(ns)->tree->id = ns_number(ns);
    lock_acquire(&list_lock);
    list_for_each (other, &all, node) {
        if (other->ns.id > ns->id)
            break;
    }
    list_add_tail(&other->node, &mnt_ns_of(ns)->node);
    lock_release(&list_lock);
}

struct mnt_ns *mnt_ns_find(uint64_t number)
{
    struct mnt_ns *ns, *found = NULL;

    lock_acquire(&list_lock);
    list_for_each (ns, &all, node) {
        if (ns_number(&ns->ns) == number && refcount_get_unless_zero(&ns->ns.refs)) {
            found = ns;
            break;
        }
    }
    lock_release(&list_lock);
    return found;
}

struct mnt_ns *mnt_ns_beside(struct mnt_ns *ns, bool before)
{
    struct list *at = &ns->node;
    struct mnt_ns *found = NULL;

    lock_acquire(&list_lock);
    while (!found && (at = before ? at->prev : at->next) != &all) {
        struct mnt_ns *other = list_entry(at, struct mnt_ns, node);

        if (task_has_ns_cap(task_current(), other->ns.owner, CAP_SYS_ADMIN) &&
            refcount_get_unless_zero(&other->ns.refs))
            found = other;
    }
    lock_release(&list_lock);
    return found;
}

static void release(struct ns *ns)
{
    lock_acquire(&list_lock);
    list_del_init(&mnt_ns_of(ns)->node);
    lock_release(&list_lock);
    mount_ns_unref(mnt_ns_of(ns)->tree);
    free(mnt_ns_of(ns));
}

int mnt_ns_create(struct mnt_ns *old, const struct user_ns *owner, struct ns **ret)
{
    struct mnt_ns *m = calloc(1, sizeof(*m));
    int error = m ? 0 : -ENOMEM;

    if (error == 0 && old)
        error = mount_ns_copy(old->tree, owner, &m->tree);
    if (error < 0) {
        free(m);
        return error;
    }
    m->ns.release = release;
    list_init(&m->node);
    *ret = &m->ns;
    return 0;
}

void mnt_ns_begin(struct kernel *kernel, struct fs_context *fs)
{
    struct mnt_ns *first = mnt_ns_of(kernel->initial_ns[NS_MNT]);
    struct path root = fs_context_root(fs);

    first->tree = mount_ns_ref(root.mount->ns);
    first->tree->owner = &user_ns_first;
    first->tree->id = ns_number(&first->ns);
    path_unref(&root);
}

void mnt_ns_take_along(struct fs_context *fs, struct ns *from, struct ns *to)
{
    struct path root = fs_context_root(fs), cwd = fs_context_cwd(fs);

    mount_ns_translate(mnt_ns_of(from)->tree, mnt_ns_of(to)->tree, &root);
    mount_ns_translate(mnt_ns_of(from)->tree, mnt_ns_of(to)->tree, &cwd);
    fs_context_set_root(fs, root);
    fs_context_set_cwd(fs, cwd);
    path_unref(&root);
    path_unref(&cwd);
}

void mnt_ns_enter(struct fs_context *fs, struct ns *ns)
{
    struct path top = mount_ns_top(mnt_ns_of(ns)->tree);

    fs_context_set_root(fs, top);
    fs_context_set_cwd(fs, top);
    path_unref(&top);
}

struct mount_ns *task_mount_ns(const struct task *task)
{
    return mnt_ns_of(task->namespaces->ns[NS_MNT])->tree;
}

struct mount_ns *task_get_mount_ns(struct task *task)
{
    struct ns *ns = task_get_ns(task, NS_MNT);
    struct mount_ns *tree = ns ? mount_ns_ref(mnt_ns_of(ns)->tree) : NULL;

    ns_unref(ns);
    return tree;
}

bool task_may_mount(const struct task *task)
{
    return task_has_ns_cap(task, task->namespaces->ns[NS_MNT]->owner, CAP_SYS_ADMIN);
}

bool task_may_change_super(const struct task *task, const struct super_block *sb)
{
    if (sb->owner_id == task->cred->user_ns->ns.id)
        return task_has_ns_cap(task, task->cred->user_ns, CAP_SYS_ADMIN);
    return task_has_ns_cap(task, &user_ns_first, CAP_SYS_ADMIN);
}

static bool same(const struct path *a, const struct path *b)
{
    return a->mount == b->mount && a->dentry == b->dentry;
}

static void move_root(struct fs_context *fs, const struct path *old, const struct path *new)
{
    struct path root = fs_context_root(fs), cwd = fs_context_cwd(fs);

    if (same(&root, old))
        fs_context_set_root(fs, *new);
    if (same(&cwd, old))
        fs_context_set_cwd(fs, *new);
    path_unref(&root);
    path_unref(&cwd);
}

void mntns_move_roots(struct task *task, const struct path *old, const struct path *new)
{
    for (int32_t tid = 1; tid < KERNEL_PID_MAX; tid++) {
        struct task *other = task_find(task->kernel, tid);
        struct fs_context *fs = other ? task_get_fs(other) : NULL;

        if (fs)
            move_root(fs, old, new);
        fs_context_unref(fs);
        task_unref(other);
    }
}
