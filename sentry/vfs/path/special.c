#include "sentry/vfs/path/special.h"

#include <errno.h>

static const struct fifo_operations *fifos;
static device_open_fn *devices;

void vfs_set_fifo_operations(const struct fifo_operations *ops)
{
    fifos = ops;
}

int vfs_fifo_open(struct inode *inode, uint32_t flags, struct file **ret)
{
    return fifos ? fifos->open(inode, flags, ret) : -ENXIO;
}

void vfs_fifo_release(struct inode *inode)
{
    if (inode->fifo)
        fifos->release(inode->fifo);
    inode->fifo = NULL;
}

void vfs_set_device_open(device_open_fn *open)
{
    devices = open;
}

int vfs_device_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct linux_stat st;
    int err = dentry->inode->ops->stat(dentry, false, &st);

    if (err < 0)
        return err;
    return devices ? devices(S_ISBLK(st.st_mode), st.st_rdev, flags, ret) : -ENXIO;
}

int vfs_special_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    switch (inode_type(dentry->inode)) {
    case S_IFIFO:
        return vfs_fifo_open(dentry->inode, flags, ret);
    case S_IFCHR:
    case S_IFBLK:
        return vfs_device_open(dentry, flags, ret);
    default:
        return -ENXIO;
    }
}
