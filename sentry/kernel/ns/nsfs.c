/* The file system of namespaces: one file for each that somebody looks at (nsfile.h). */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/vfs/attr/plainstat.h"
#include "sentry/vfs/attr/setattr.h"

#define NSFS_MINOR 4
#define NSFS_MAGIC 0x6e736673
#define NAME_MAX_  32 /* "cgroup:[4026531835]" */

struct ns_inode {
    struct inode inode;
    struct ns *ns; /* owned reference; NULL: the root */
    struct timespec made;
};

static struct path home; /* the root, in a mount that nobody sees */

static struct ns_inode *ns_inode_of(const struct inode *inode)
{
    return container_of((struct inode *)inode, struct ns_inode, inode);
}

static int root_lookup(struct dentry *dir, const struct name *names, int count,
                       struct inode **ret_inodes, int *ret_error)
{
    *ret_error = -ENOENT;
    return 0;
}

static int nsfs_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    const struct ns_inode *n = ns_inode_of(dentry->inode);
    const uint64_t sec = (uint64_t)n->made.tv_sec, nsec = (uint64_t)n->made.tv_nsec;

    *ret = (struct linux_stat){
        .st_dev = n->inode.dev,
        .st_ino = n->inode.ino,
        .st_nlink = 1,
        .st_mode = inode_mode(&n->inode),
        .st_blksize = 4096,
        .st_atime_sec = sec,
        .st_atime_nsec = nsec,
        .st_mtime_sec = sec,
        .st_mtime_nsec = nsec,
        .st_ctime_sec = sec,
        .st_ctime_nsec = nsec,
    };
    return 0;
}

static int nsfs_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    *ret = statfs_of_memory(NSFS_MAGIC);
    ret->f_fsid[0] = NSFS_MINOR;
    return 0;
}

static int nsfs_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct ns *ns = ns_inode_of(dentry->inode)->ns;

    return ns ? ns_file_open(ns, flags, ret) : -ENXIO;
}

static uint64_t shown_mount_ns(const struct inode *inode)
{
    const struct ns *ns = ns_inode_of(inode)->ns;

    return ns && ns->type == NS_MNT ? ns_number(ns) : 0;
}

static void nsfs_release(struct inode *inode)
{
    struct ns_inode *n = ns_inode_of(inode);

    ns_unref(n->ns);
    free(n);
}

static const struct inode_operations nsfs_operations = {
    .lookup = root_lookup,
    .open = nsfs_open,
    .stat = nsfs_stat,
    .statfs = nsfs_statfs,
    .mount_ns_id = shown_mount_ns,
    .release = nsfs_release,
};

static struct ns_inode *make_inode(struct ns *ns)
{
    struct ns_inode *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    inode_init(&n->inode, &nsfs_operations, ns ? S_IFREG | 0444 : S_IFDIR | 0555,
               makedev(0, NSFS_MINOR), ns ? ns->inum : 1);
    n->inode.flags = FS_IMMUTABLE_FL;
    n->made = vfs_now();
    n->ns = ns ? ns_ref(ns) : NULL;
    return n;
}

/* What mountinfo says, and links in /proc: "net:[4026531833]". */
static ssize_t show_root(struct dentry *dentry, char *buf, size_t size)
{
    struct name name = dentry_name(dentry);

    if (name.size >= size)
        return -ENAMETOOLONG;
    memcpy(buf, name.text, name.size);
    buf[name.size] = '\0';
    return (ssize_t)name.size;
}

static void release_super(struct super_block *sb)
{
    free(sb);
}

static int create(struct super_block **ret)
{
    struct super_block *sb = calloc(1, sizeof(*sb));
    struct ns_inode *root = make_inode(NULL);

    if (!sb || !root || super_init(sb, &root->inode, release_super) < 0) {
        free(sb);
        free(root);
        return -ENOMEM;
    }
    sb->type = "nsfs";
    sb->dev = (uint32_t)makedev(0, NSFS_MINOR);
    sb->hidden = true;
    sb->bindable = true;
    sb->checks_modes = true;
    sb->show_root = show_root;
    *ret = sb;
    return 0;
}

int nsfs_setup(void)
{
    struct super_block *sb;
    struct mount_ns *ns;
    int err;

    if (home.mount)
        return 0;
    err = create(&sb);
    if (err < 0)
        return err;
    err = mount_ns_create(sb, &ns);
    super_unref(sb);
    if (err < 0)
        return err;
    home = mount_ns_top(ns);
    home.mount->flags = 0; /* what it is bound with: no rule about times */
    return 0;
}

bool nsfs_is(const struct super_block *sb)
{
    return home.mount && sb == home.mount->sb;
}

int nsfs_path(struct ns *ns, struct path *ret)
{
    struct ns_inode *n = make_inode(ns);
    struct dentry *dentry;
    char name[NAME_MAX_];
    int size;

    if (!n)
        return -ENOMEM;
    size = snprintf(name, sizeof(name), "%s:[%lu]", ns_name(ns->type), ns->inum);
    tree_lock(home.mount->sb);
    dentry = dentry_attach(home.dentry, (struct name){name, (size_t)size}, &n->inode);
    tree_unlock(home.mount->sb);
    if (!dentry)
        return -ENOMEM;
    *ret = (struct path){mount_ref(home.mount), dentry};
    return 0;
}

struct ns *ns_of_dentry(const struct dentry *dentry)
{
    return dentry->inode->ops == &nsfs_operations ? ns_inode_of(dentry->inode)->ns : NULL;
}
