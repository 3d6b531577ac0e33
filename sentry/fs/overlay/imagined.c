/*
 * A tree in which every name leads to something: what an overlay stands on that is only to tell
 * what its journal says.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/fs/overlay/internal.h"

static const struct inode_operations imagined_operations;

static struct inode *imagine(void)
{
    static uint64_t last_ino;
    struct inode *inode = malloc(sizeof(*inode));

    if (inode)
        inode_init(inode, &imagined_operations, S_IFDIR | 0755, 0,
                   __atomic_add_fetch(&last_ino, 1, __ATOMIC_RELAXED));
    return inode;
}

static int lookup(struct dentry *dir, const struct name *names, int count,
                  struct inode **ret_inodes, int *ret_error)
{
    struct dentry *at = dentry_ref(dir);
    int found = 0;

    *ret_error = 0;
    /* What is known by that name stays the same. */
    while (at && found < count) {
        struct dentry *next = dentry_find(at, names[found]);

        dentry_unref(at);
        at = next;
        ret_inodes[found] = at ? inode_ref(at->inode) : imagine();
        if (!ret_inodes[found])
            break;
        found++;
    }
    while (found < count && (ret_inodes[found] = imagine()))
        found++;
    dentry_unref(at);
    return found == count ? found : -ENOMEM;
}

static int stat_imagined(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    *ret = (struct linux_stat){
        .st_mode = dentry->inode->mode, .st_ino = dentry->inode->ino, .st_nlink = 2};
    return 0;
}

static void release(struct inode *inode)
{
    free(inode);
}

static const struct inode_operations imagined_operations = {
    .lookup = lookup,
    .stat = stat_imagined,
    .release = release,
};

static void super_release(struct super_block *sb)
{
    free(sb);
}

int imagined_create(struct super_block **ret)
{
    struct super_block *sb = calloc(1, sizeof(*sb));
    struct inode *root = sb ? imagine() : NULL;

    if (!root || super_init(sb, root, super_release) < 0) {
        if (root)
            inode_unref(root);
        free(sb);
        return -ENOMEM;
    }
    sb->type = "imagined";
    *ret = sb;
    return 0;
}
