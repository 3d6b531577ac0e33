/* What mounts there are: statmount(2), listmount(2). */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "abi/mount.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/mount/mount.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_show.h"

#define FIRST_UNIQUE (1UL << 31) /* fs/namespace.c:MNT_UNIQUE_ID_OFFSET */
#define LIST_MAX     1000000UL
#define STRINGS_MAX  (2 * PATH_MAX + 1024)
#define KNOWN_MASK   0x16ffUL /* what fill() knows */
#define STRING_MASK                                                                                \
    (STATMOUNT_MNT_ROOT | STATMOUNT_MNT_POINT | STATMOUNT_FS_TYPE | STATMOUNT_MNT_OPTS |           \
     STATMOUNT_SB_SOURCE | STATMOUNT_OPT_ARRAY)

/* copy_mnt_id_req() */
static int copy_request(struct task *task, uaddr_t ptr, struct linux_mnt_id_req *ret)
{
    uint32_t size;
    int err = copy_struct_from_user(task->mm, &size, ptr);

    if (err < 0)
        return err;
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (size < MNT_ID_REQ_SIZE_VER0)
        return -EINVAL;
    *ret = (struct linux_mnt_id_req){0};
    err = check_zero_from_user(task->mm, ptr, sizeof(*ret), size);
    if (err < 0)
        return err;
    err = copy_from_user(task->mm, ret, ptr, MIN((size_t)size, sizeof(*ret)));
    if (err < 0)
        return err;
    return ret->spare || ret->mnt_id <= FIRST_UNIQUE ? -EINVAL : 0;
}

/* Which namespace is meant, and from where it is seen: the caller's own from its root. */
struct view {
    struct mnt_ns *other; /* owned reference; NULL: the caller's own */
    struct mount_ns *tree;
    struct path root;
    bool may_all; /* sees what cannot be reached as well */
};

static int view_begin(struct task *task, const struct linux_mnt_id_req *request, int refusal,
                      struct view *ret)
{
    *ret = (struct view){.tree = task_mount_ns(task), .may_all = task_may_mount(task)};
    if (!request->mnt_ns_id || request->mnt_ns_id == ret->tree->id) {
        ret->root = fs_context_root(task->fs);
        return 0;
    }
    ret->other = mnt_ns_find(request->mnt_ns_id);
    if (!ret->other)
        return -ENOENT;
    ret->may_all = task_has_ns_cap(task, ret->other->ns.owner, CAP_SYS_ADMIN);
    if (!ret->may_all) {
        ns_unref(&ret->other->ns);
        return refusal;
    }
    ret->tree = ret->other->tree;
    ret->root = mount_ns_top(ret->tree);
    return 0;
}

static void view_end(struct view *v)
{
    path_unref(&v->root);
    if (v->other)
        ns_unref(&v->other->ns);
}

/* ---- statmount(2) -------------------------------------------------------------------------- */

struct answer {
    struct linux_statmount st;
    char *strings; /* STRINGS_MAX */
    size_t used;
};

/* The offset of a string; a string that is not there has the bit taken away. */
static void add_string(struct answer *a, uint64_t bit, uint32_t *ret_offset, const char *text)
{
    size_t size = strlen(text) + 1;

    if (a->used + size > STRINGS_MAX)
        return;
    *ret_offset = (uint32_t)a->used;
    memcpy(a->strings + a->used, text, size);
    a->used += size;
    a->st.mask |= bit;
}

static void fill_super(struct answer *a, const struct mount *m)
{
    struct linux_statfs fs;
    const struct inode_operations *ops = m->root->inode->ops;

    a->st.mask |= STATMOUNT_SB_BASIC;
    a->st.sb_dev_major = major(m->sb->dev);
    a->st.sb_dev_minor = minor(m->sb->dev);
    a->st.sb_flags = super_read_only(m->sb) ? MS_RDONLY : 0;
    if (ops->statfs && ops->statfs(m->root, &fs) == 0)
        a->st.sb_magic = (uint64_t)fs.f_type;
}

static void fill_mount(struct answer *a, const struct mount *m, const struct mount_peers *peers)
{
    const struct mount *parent = m->over.mount ? m->over.mount : m;

    a->st.mask |= STATMOUNT_MNT_BASIC;
    a->st.mnt_id = m->unique_id;
    a->st.mnt_parent_id = parent->unique_id;
    a->st.mnt_id_old = m->id;
    a->st.mnt_parent_id_old = parent->id;
    a->st.mnt_attr = mount_attr_of_flags(mount_get_flags(m)) | (m->map ? MOUNT_ATTR_IDMAP : 0);
    a->st.mnt_propagation = (peers->group ? MS_SHARED : 0UL) | (peers->master ? MS_SLAVE : 0UL);
    if (mount_get_flags(m) & MOUNT_UNBINDABLE)
        a->st.mnt_propagation |= MS_UNBINDABLE;
    if (!a->st.mnt_propagation)
        a->st.mnt_propagation = MS_PRIVATE;
    a->st.mnt_peer_group = peers->group;
    a->st.mnt_master = peers->master;
}

/* The file system's options, with commas between them or each with its NUL. */
static void fill_options(struct answer *a, const struct mount *m, uint64_t mask)
{
    char text[MOUNT_OPTIONS_MAX];
    uint32_t count = 0;

    mount_show_options_locked(m, text);
    if (!text[0])
        return;
    if (mask & STATMOUNT_MNT_OPTS)
        add_string(a, STATMOUNT_MNT_OPTS, &a->st.mnt_opts, text + 1);
    if (!(mask & STATMOUNT_OPT_ARRAY))
        return;
    a->st.opt_array = (uint32_t)a->used;
    for (char *at = text + 1, *word; (word = strsep(&at, ",")) != NULL; count++) {
        uint32_t unused;

        add_string(a, STATMOUNT_OPT_ARRAY, &unused, word);
    }
    a->st.opt_num = count;
}

static void fill_strings(struct answer *a, const struct mount *m, const struct path *root,
                         uint64_t mask)
{
    const struct path at = {(struct mount *)m, m->root};
    char name[PATH_MAX];

    if (mask & STATMOUNT_FS_TYPE)
        add_string(a, STATMOUNT_FS_TYPE, &a->st.fs_type, m->sb->type);
    if ((mask & STATMOUNT_MNT_ROOT) && mount_root_name_locked(m, name, sizeof(name)) > 0)
        add_string(a, STATMOUNT_MNT_ROOT, &a->st.mnt_root, name);
    if ((mask & STATMOUNT_MNT_POINT) && path_name_locked(root, &at, true, name, sizeof(name)) > 0)
        add_string(a, STATMOUNT_MNT_POINT, &a->st.mnt_point, name);
    fill_options(a, m, mask);
    if ((mask & STATMOUNT_SB_SOURCE) && m->source)
        add_string(a, STATMOUNT_SB_SOURCE, &a->st.sb_source, m->source);
}

static void fill_locked(struct answer *a, const struct mount *m, const struct path *root,
                        uint64_t mask)
{
    struct mount_peers peers = mount_peers_locked(m, root);

    if (mask & STATMOUNT_SB_BASIC)
        fill_super(a, m);
    if (mask & STATMOUNT_MNT_BASIC)
        fill_mount(a, m, &peers);
    if (mask & STATMOUNT_PROPAGATE_FROM) {
        a->st.mask |= STATMOUNT_PROPAGATE_FROM;
        a->st.propagate_from = peers.from;
    }
    if (mask & STATMOUNT_MNT_NS_ID) {
        a->st.mask |= STATMOUNT_MNT_NS_ID;
        a->st.mnt_ns_id = m->ns->id;
    }
    if (mask & STATMOUNT_SUPPORTED_MASK) {
        a->st.mask |= STATMOUNT_SUPPORTED_MASK;
        a->st.supported_mask = KNOWN_MASK;
    }
    fill_strings(a, m, root, mask);
}

static int look_at(const struct view *v, uint64_t id, uint64_t mask, struct answer *a)
{
    struct mount *m;
    int err = -ENOENT;

    mount_lock();
    m = mount_find_locked(v->tree, id);
    if (m && !mount_visible_locked(m, &v->root) && !v->may_all)
        err = -EPERM;
    else if (m)
        err = 0;
    if (!err)
        fill_locked(a, m, &v->root, mask);
    mount_unlock();
    return err;
}

static int give(struct task *task, const struct answer *a, uaddr_t buf, size_t size)
{
    size_t head = MIN(size, sizeof(a->st));

    if (a->used > 1 && (size < sizeof(a->st) || a->used > size - sizeof(a->st)))
        return -EOVERFLOW;
    if (a->used > 1 && copy_to_user(task->mm, buf + sizeof(a->st), a->strings, a->used) < 0)
        return -EFAULT;
    return copy_to_user(task->mm, buf, &a->st, head);
}

SYSCALL_DEFINE4(statmount, uaddr_t, request_ptr, uaddr_t, buf, size_t, size, unsigned, flags)
{
    struct linux_mnt_id_req request;
    struct answer a = {.used = 1}; /* offset 0 is the empty string */
    struct view view;
    int err;

    if (flags)
        return -EINVAL;
    err = copy_request(task, request_ptr, &request);
    if (!err)
        err = view_begin(task, &request, -EPERM, &view);
    if (err < 0)
        return err;
    if ((request.param & STRING_MASK) && size == sizeof(a.st))
        err = -EOVERFLOW;
    else
        a.strings = calloc(1, STRINGS_MAX);
    if (!err && !a.strings)
        err = -ENOMEM;
    if (!err)
        err = look_at(&view, request.mnt_id, request.param, &a);
    view_end(&view);
    a.st.size = (uint32_t)(MIN(size, sizeof(a.st)) + (a.used > 1 ? a.used : 0));
    if (!err)
        err = give(task, &a, buf, size);
    free(a.strings);
    return err;
}

/* ---- listmount(2) -------------------------------------------------------------------------- */

struct listing {
    uint64_t *ids;
    size_t room, count;
    uint64_t last; /* the one before, 0: from the start */
    bool reverse;
};

/* Below `from`: all that can be reached, in the order of their numbers. */
static void list_locked(struct mount_ns *ns, const struct path *from, uint64_t except,
                        struct listing *l)
{
    struct list *node = l->reverse ? ns->mounts.prev : ns->mounts.next;

    for (; node != &ns->mounts && l->count < l->room; node = l->reverse ? node->prev : node->next) {
        const struct mount *m = list_entry(node, struct mount, ns_node);
        bool done = l->last && (l->reverse ? m->unique_id >= l->last : m->unique_id <= l->last);

        if (!done && m->unique_id != except && mount_visible_locked(m, from))
            l->ids[l->count++] = m->unique_id;
    }
}

static int list_from(const struct view *v, uint64_t id, struct listing *l)
{
    struct path from = v->root;
    struct mount *m;
    int err = 0;

    mount_lock();
    if (id != LSMT_ROOT) {
        m = mount_find_locked(v->tree, id);
        if (!m)
            err = -ENOENT;
        else if (!mount_visible_locked(m, &v->root) && !v->may_all)
            err = -EPERM;
        else
            from = (struct path){m, m->root};
    }
    if (!err)
        list_locked(v->tree, &from, id == LSMT_ROOT ? 0 : id, l);
    mount_unlock();
    return err;
}

SYSCALL_DEFINE4(listmount, uaddr_t, request_ptr, uaddr_t, ids, size_t, count, unsigned, flags)
{
    struct linux_mnt_id_req request;
    struct listing l = {.reverse = flags & LISTMOUNT_REVERSE};
    struct view view;
    long n;
    int err;

    if (flags & ~LISTMOUNT_REVERSE)
        return -EINVAL;
    if (count > LIST_MAX)
        return -EOVERFLOW;
    err = copy_request(task, request_ptr, &request);
    if (!err && request.param && request.param <= FIRST_UNIQUE)
        err = -EINVAL;
    if (!err)
        err = view_begin(task, &request, -ENOENT, &view);
    if (err < 0)
        return err;
    l.last = request.param;
    mount_lock();
    l.room = MIN(count, (size_t)view.tree->count);
    mount_unlock();
    l.ids = calloc(l.room + 1, sizeof(*l.ids));
    n = l.ids ? list_from(&view, request.mnt_id, &l) : -ENOMEM;
    view_end(&view);
    if (n == 0)
        n = (long)l.count;
    if (n > 0 && copy_to_user(task->mm, ids, l.ids, l.count * sizeof(*l.ids)) < 0)
        n = -EFAULT;
    free(l.ids);
    return n;
}
