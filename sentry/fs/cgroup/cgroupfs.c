#include "sentry/fs/cgroup/cgroupfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/fs/cgroup/internal.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/notify.h"

#define CGROUP2_MAGIC 0x63677270
#define CGROUP_MINOR  26 /* st_dev of the tree */

static const struct tree_node group_node, group_root, group_below_root;

int cgroupfs_get(uint64_t key, struct cgroup **ret)
{
    *ret = cgroup_find(key);
    return *ret ? 0 : -ENODEV;
}

/* Is the file there: the controller is enabled where the group is controlled from? */
static bool is_there(struct cgroup *cg, const struct cgroupfs_controlled *c)
{
    if (!cg->parent && !c->on_root)
        return false;
    return (cg->parent ? cgroup_controllers(cg) : CGROUP_ALL) & c->controller;
}

static const struct tree_node *find_controlled(struct cgroup *cg, struct name name)
{
    for (size_t i = 0; i < CGROUPFS_CONTROLLED; i++) {
        const struct cgroupfs_controlled *c = &cgroupfs_controlled[i];

        if (strlen(c->node.name) == name.size && memcmp(c->node.name, name.text, name.size) == 0)
            return is_there(cg, c) ? &c->node : NULL;
    }
    return NULL;
}

static int group_find(uint64_t key, struct name name, const struct tree_node **ret_node,
                      uint64_t *ret_key)
{
    const struct tree_node *node;
    struct cgroup *cg;
    uint64_t child;
    int err = cgroupfs_get(key, &cg);

    if (err < 0)
        return -ENOENT;
    node = find_controlled(cg, name);
    child = node ? 0 : cgroup_child(cg, name.text, name.size);
    cgroup_unref(cg);
    if (!node && !child)
        return -ENOENT;
    *ret_node = node ? node : &group_node;
    *ret_key = node ? key : child;
    return 0;
}

static_assert(CGROUPFS_CONTROLLED < CGROUP_ID_FIRST, "files are counted before children");

static int64_t group_list(uint64_t key, int64_t from, char *ret_name, size_t size,
                          const struct tree_node **ret_node)
{
    struct cgroup *cg;
    int64_t found = -1;
    uint64_t child;

    if (cgroupfs_get(key, &cg) < 0)
        return -1;
    for (int64_t i = from; i < CGROUPFS_CONTROLLED && found < 0; i++) {
        if (!is_there(cg, &cgroupfs_controlled[i]))
            continue;
        found = i;
        *ret_node = &cgroupfs_controlled[i].node;
        snprintf(ret_name, size, "%s", (*ret_node)->name);
    }
    child = found < 0 ? cgroup_next_child(cg, (uint64_t)from, ret_name, size) : 0;
    if (child) {
        found = (int64_t)child;
        *ret_node = &group_node;
    }
    cgroup_unref(cg);
    return found;
}

static bool group_alive(uint64_t key)
{
    struct cgroup *cg = cgroup_find(key);

    cgroup_unref(cg);
    return cg != NULL;
}

static uint64_t group_number(uint64_t key)
{
    return key;
}

/* find(1) believes that a directory with two links has no others in it. */
static void group_status(uint64_t key, struct linux_stat *st)
{
    struct cgroup *cg;

    st->st_ino = key;
    if (cgroupfs_get(key, &cg) < 0)
        return;
    st->st_nlink = 2 + __atomic_load_n(&cg->child_count, __ATOMIC_RELAXED);
    cgroup_unref(cg);
}

static int group_make(uint64_t key, struct name name, const struct inode_make *make,
                      const struct tree_node **ret_node, uint64_t *ret_key)
{
    const struct cgroup_attr dir = {make->mode & 01777, make->uid, make->gid};
    struct cgroup *cg;
    int err = cgroupfs_get(key, &cg);

    if (err < 0)
        return err;
    err =
        find_controlled(cg, name) ? -EEXIST : cgroup_make(cg, name.text, name.size, &dir, ret_key);
    cgroup_unref(cg);
    if (!err)
        *ret_node = &group_node;
    return err;
}

static int group_remove(uint64_t key)
{
    struct cgroup *cg;
    int err = cgroupfs_get(key, &cg);

    if (err < 0)
        return err;
    err = cgroup_remove(cg);
    cgroup_unref(cg);
    return err;
}

#define GROUP(files_)                                                                              \
    {                                                                                              \
        .name = "", .mode = S_IFDIR | 0755, .children = files_,                                    \
        .child_count = ARRAY_COUNT(files_), .find = group_find, .list = group_list,                \
        .number = group_number, .status = group_status, .make = group_make, .alive = group_alive,  \
        .get_attr = cgroupfs_get_attr, .set_attr = cgroupfs_set_attr, .aspect = CGROUP_ATTR_DIR    \
    }
static const struct tree_node group_root = GROUP(cgroupfs_root_files);
/* The root of a cgroup namespace: it cannot be removed through its own mount. */
static const struct tree_node group_below_root = GROUP(cgroupfs_files);
static const struct tree_node group_node = {
    .name = "",
    .mode = S_IFDIR | 0755,
    .children = cgroupfs_files,
    .child_count = ARRAY_COUNT(cgroupfs_files),
    .find = group_find,
    .list = group_list,
    .number = group_number,
    .status = group_status,
    .make = group_make,
    .remove = group_remove,
    .alive = group_alive,
    .get_attr = cgroupfs_get_attr,
    .set_attr = cgroupfs_set_attr,
    .aspect = CGROUP_ATTR_DIR,
};

/* cgroup_show_path(): as the reader's cgroup namespace has it. */
static ssize_t show_root(struct dentry *dentry, char *buf, size_t size)
{
    struct ns_proxy *namespaces = task_current()->namespaces;
    struct cgroup *from, *cg = cgroup_find(treefs_key(dentry));
    size_t n;

    if (!cg)
        return -ENOENT;
    from = namespaces ? cgroup_ns_of(namespaces->ns[NS_CGROUP])->root : cgroup_root();
    n = cgroup_path(cg, from, buf, size);
    cgroup_unref(cg);
    return n < size ? (ssize_t)n : -ENAMETOOLONG;
}

/* kernfs_notify(): who watches the file by inotify(7) sees it change. */
static void tell_watchers(uint64_t id)
{
    const struct inode inode = {
        .mode = S_IFREG | 0444,
        .dev = makedev(0, CGROUP_MINOR),
        .ino = treefs_ino(id, "cgroup.events"),
    };

    if (notify_active())
        notify_inode_slowly(&inode, NOTIFY_MODIFY);
}

static void drop_root(void *arg)
{
    cgroup_unref(arg);
}

int cgroupfs_create(struct cgroup *root, struct super_block **ret)
{
    const struct tree_config config = {
        .root = root->parent ? &group_below_root : &group_root,
        .key = root->id,
        .type = "cgroup2",
        .magic = CGROUP2_MAGIC,
        .dev_minor = CGROUP_MINOR,
        .release = drop_root,
        .arg = root,
    };
    int err = treefs_create_with(&config, ret);

    if (err < 0)
        return err;
    cgroup_ref(root);
    (*ret)->read_only = false;
    (*ret)->show_root = show_root;
    cgroup_changed = tell_watchers;
    return 0;
}

int cgroupfs_of_file(const struct file *file, struct cgroup **ret)
{
    const struct dentry *dentry = file->at.dentry; /* O_PATH will do */

    if (!dentry || dentry->sb->show_root != show_root || inode_type(dentry->inode) != S_IFDIR)
        return -EBADF;
    return cgroupfs_get(treefs_key(dentry), ret);
}
