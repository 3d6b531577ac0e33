/*
 * FIFOs and devices are the same on every file system that can keep their names: what opens them is
 * registered here once, by the runtime, since file systems do not know each other.
 */
#ifndef SENTRY_VFS_SPECIAL_H
#define SENTRY_VFS_SPECIAL_H

#include "sentry/vfs/inode.h"

struct fifo_operations {
    /* As inode_operations.open; what it keeps is inode->fifo. */
    int (*open)(struct inode *inode, uint32_t flags, struct file **ret);
    /* The inode goes. */
    void (*release)(void *fifo);
};

/* Before the first program starts. */
void vfs_set_fifo_operations(const struct fifo_operations *ops);
/* For file systems. -ENXIO where there are no FIFOs. */
int vfs_fifo_open(struct inode *inode, uint32_t flags, struct file **ret);
void vfs_fifo_release(struct inode *inode);

/* Device nodes likewise: what is behind a number. -ENXIO: nothing here is. */
typedef int device_open_fn(bool block, uint64_t number, uint32_t flags, struct file **ret);
void vfs_set_device_open(device_open_fn *open);
int vfs_device_open(struct dentry *dentry, uint32_t flags, struct file **ret);

/* By what inode_operations.open is to do where there are neither files nor directories. */
int vfs_special_open(struct dentry *dentry, uint32_t flags, struct file **ret);

#endif
