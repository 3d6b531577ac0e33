#include "sentry/vfs/special.h"

#include <errno.h>

static const struct fifo_operations *fifos;

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
