/*
 * Files without a place in the tree. Each has a dentry of its own, which was never in a directory,
 * so that it is shown as "/memfd:NAME (deleted)" and can be opened again through /proc/self/fd.
 *
 * Seals are bits that only come. They are read under content_lock by what changes bytes or size. A
 * mapping that may write is counted from before it is checked until it can be found among the
 * object's mappings; so sealing against writers misses none.
 */
#include "sentry/fs/tmpfs/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/fs/tmpfs/secretmem.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/mount/mount.h"

#define MEMFD_MINOR   1    /* st_dev, as Linux's first tmpfs has it */
#define NOEXEC_SEAL   0x8U /* MFD_NOEXEC_SEAL */
#define LARGEFILE_BIT 0100000U

static struct path home; /* where memfds live */

int memfd_setup(struct memfile *memfile, uint64_t size_limit, uint64_t inode_limit)
{
    const struct tmpfs_config config = {
        .memfile = memfile,
        .mode = 01777,
        .size_limit = size_limit,
        .inode_limit = inode_limit,
        .dev_minor = MEMFD_MINOR,
    };
    struct super_block *sb;
    struct mount_ns *ns;
    int err = tmpfs_create(&config, &sb);

    tmpfs_set_memory(size_limit);
    if (err < 0)
        return err;
    sb->hidden = true;
    secretmem_setup(memfile, tmpfs_of(sb)->budget);
    err = mount_ns_create(sb, &ns);
    super_unref(sb);
    if (!err)
        home = mount_ns_top(ns);
    return err;
}

static struct tmpfs_inode *sealable(struct file *f)
{
    struct inode *inode = f->at.dentry ? f->at.dentry->inode : NULL;

    if (!inode || inode->ops != &tmpfs_operations || inode_type(inode) != S_IFREG)
        return NULL;
    return tmpfs_inode_of(inode);
}

int memfd_create_file(const char *name, unsigned flags, struct file **ret)
{
    struct inode_make make = {.mode = S_IFREG | (flags & NOEXEC_SEAL ? 0666 : 0777)};
    char shown[VFS_NAME_MAX + 1];
    struct mount *mount = home.mount;
    struct tmpfs_inode *inode;
    struct dentry *dentry;
    int err;

    make.uid = vfs_identity()->uid;
    make.gid = vfs_identity()->gid;
    err = tmpfs_inode_create(tmpfs_of(mount->sb), &make, &inode);
    if (err < 0)
        return err;
    inode->seals = flags & (MFD_ALLOW_SEALING | NOEXEC_SEAL) ? 0 : F_SEAL_SEAL;
    inode->seals |= flags & NOEXEC_SEAL ? TMPFS_SEAL_EXEC : 0;
    snprintf(shown, sizeof(shown), "memfd:%s", name);
    dentry = dentry_unnamed(mount->root, (struct name){shown, strlen(shown)}, &inode->inode);
    if (!dentry)
        return -ENOMEM;
    err = tmpfs_file_open(dentry, O_RDWR | LARGEFILE_BIT, ret);
    if (err < 0) {
        dentry_unref(dentry);
        return err;
    }
    /* It does not count as a writer: the file may be executed through the same descriptor. */
    (*ret)->at = (struct path){mount_ref(mount), dentry};
    return 0;
}

/* fs/memfd.c:memfd_add_seals() */
int memfd_add_seals(struct file *f, uint32_t seals)
{
    struct tmpfs_inode *inode = sealable(f);
    int err = 0;

    if (!file_can_write(f))
        return -EPERM;
    if (seals & ~(uint32_t)TMPFS_SEALS)
        return -EINVAL;
    if (hugemem_add_seals(f, seals, &err))
        return err;
    if (!inode)
        return -EINVAL;
    lock_acquire(&inode->content_lock);
    lock_acquire(&inode->lock);
    if (inode->seals & F_SEAL_SEAL)
        err = -EPERM;
    else if ((seals & F_SEAL_WRITE) && !(inode->seals & F_SEAL_WRITE) &&
             (inode->mapping_writers > 0 || mappable_has_writers(inode->data)))
        err = -EBUSY;
    /* Code that may be executed and never changed. */
    if ((seals & TMPFS_SEAL_EXEC) && (inode_mode(&inode->inode) & 0111))
        seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    if (!err)
        inode->seals |= seals;
    lock_release(&inode->lock);
    lock_release(&inode->content_lock);
    return err;
}

int memfd_get_seals(struct file *f)
{
    struct tmpfs_inode *inode = sealable(f);
    int seals;

    if (hugemem_get_seals(f, &seals))
        return seals;
    if (!inode)
        return -EINVAL;
    lock_acquire(&inode->lock);
    seals = (int)inode->seals;
    lock_release(&inode->lock);
    return seals;
}
