/* What treefs says of its objects, and who may do what with them. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sentry/fs/treefs_internal.h"
#include "sentry/vfs/attr/identity.h"

/* For those who ask the inode: chmod(2) and its kin. */
void tree_take_attributes(struct tree_inode *inode)
{
    const struct tree_node *node = inode->node;
    uint32_t mode = 0;

    if (!node->get_attr)
        return;
    node->get_attr(inode->key, node->aspect, &mode, &inode->inode.uid, &inode->inode.gid);
    inode->inode.mode = (node->mode & S_IFMT) | (mode & 07777);
}

/* The type is in ret_mode as well. */
static void attributes(const struct dentry *dentry, uint32_t *ret_mode, uint32_t *ret_uid,
                       uint32_t *ret_gid)
{
    const struct tree_node *node = tree_node_of(dentry);
    uint64_t key = tree_inode_of(dentry)->key;

    *ret_mode = node->mode;
    if (node->owner)
        node->owner(key, ret_uid, ret_gid);
    if (node->get_attr) {
        node->get_attr(key, node->aspect, ret_mode, ret_uid, ret_gid);
        *ret_mode = (node->mode & S_IFMT) | (*ret_mode & 07777);
    }
}

static void put_times(struct linux_stat *st, const struct timespec *at)
{
    st->st_atime_sec = st->st_mtime_sec = st->st_ctime_sec = (uint64_t)at->tv_sec;
    st->st_atime_nsec = st->st_mtime_nsec = st->st_ctime_nsec = (uint64_t)at->tv_nsec;
}

int tree_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    const struct tree_node *node = tree_node_of(dentry);
    uint64_t links = 1;

    if (S_ISDIR(node->mode)) {
        links = 2;
        for (size_t i = 0; i < node->child_count; i++)
            links += S_ISDIR(node->children[i].mode);
    }
    *ret = (struct linux_stat){
        .st_dev = dentry->inode->dev,
        .st_ino = dentry->inode->ino,
        .st_nlink = links,
        .st_mode = node->mode,
        .st_rdev = makedev(node->major, node->minor),
        .st_size = node->target ? (int64_t)strlen(node->target) : 0,
        .st_blksize = tree_block_size(dentry->sb),
    };
    put_times(ret, &tree_inode_of(dentry)->seen);
    attributes(dentry, &ret->st_mode, &ret->st_uid, &ret->st_gid);
    if (node->status)
        node->status(tree_inode_of(dentry)->key, ret);
    return 0;
}

/* A shell's `>`: there is nothing to cut off. */
int tree_truncate(struct dentry *dentry, uint64_t size)
{
    const struct tree_node *node = tree_node_of(dentry);

    return node->write || node->open_object ? 0 : -EACCES;
}

int tree_setattr(struct dentry *dentry, const struct inode_attr *attr)
{
    const struct tree_node *node = tree_node_of(dentry);
    int err = -EPERM;

    if (node->set_attr)
        err = node->set_attr(tree_inode_of(dentry)->key, node->aspect, attr);
    if (!err)
        tree_take_attributes(tree_inode_of(dentry));
    return err;
}

static uint32_t class_bits(uint32_t bits, uint32_t uid, uint32_t gid)
{
    if (vfs_identity()->uid == uid)
        return bits >> 6;
    return vfs_in_group(gid) ? bits >> 3 : bits;
}

int tree_access(struct dentry *dentry, int mask)
{
    const struct tree_node *node = tree_node_of(dentry);
    uint32_t uid = 0, gid = 0, bits;

    attributes(dentry, &bits, &uid, &gid);
    if (!((uint32_t)mask & ~class_bits(bits, uid, gid) & 7))
        return 0;
    if (!(mask & W_OK) && (S_ISDIR(node->mode) || mask == R_OK) &&
        vfs_has_cap_over(uid, gid, CAP_DAC_READ_SEARCH))
        return 0;
    if ((S_ISDIR(node->mode) || !(mask & X_OK) || (bits & 0111)) &&
        vfs_has_cap_over(uid, gid, CAP_DAC_OVERRIDE))
        return 0;
    return -EACCES;
}
