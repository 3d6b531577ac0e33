#include "sentry/vfs/attr/ownattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/plainstat.h"
#include "sentry/vfs/attr/setattr.h"

void own_attr_init(struct own_attr *a, uint32_t mode, uint32_t uid, uint32_t gid)
{
    struct timespec now = vfs_now();

    *a = (struct own_attr){
        .mode = mode, .uid = uid, .gid = gid, .atime = now, .mtime = now, .ctime = now};
    lock_init(&a->lock);
}

void own_attr_fini(struct own_attr *a)
{
    lock_destroy(&a->lock);
}

void own_attr_stat(struct own_attr *a, struct linux_stat *ret)
{
    lock_acquire(&a->lock);
    ret->st_mode = a->mode;
    ret->st_uid = a->uid;
    ret->st_gid = a->gid;
    stat_set_times(ret, &a->atime, &a->mtime, &a->ctime);
    lock_release(&a->lock);
}

void own_attr_get(struct own_attr *a, uint32_t *ret_mode, uint32_t *ret_uid, uint32_t *ret_gid)
{
    lock_acquire(&a->lock);
    *ret_mode = a->mode;
    *ret_uid = a->uid;
    *ret_gid = a->gid;
    lock_release(&a->lock);
}

uint32_t own_attr_uid(struct own_attr *a)
{
    uint32_t uid;

    lock_acquire(&a->lock);
    uid = a->uid;
    lock_release(&a->lock);
    return uid;
}

static void set_locked(struct own_attr *a, const struct inode_attr *attr) __must_hold(a->lock)
{
    if (attr->mask & ATTR_MODE)
        a->mode = (a->mode & S_IFMT) | (attr->mode & 07777);
    if (attr->mask & ATTR_UID)
        a->uid = attr->uid;
    if (attr->mask & ATTR_GID)
        a->gid = attr->gid;
    if (attr->mask & ATTR_ATIME)
        a->atime = attr->atime;
    if (attr->mask & ATTR_MTIME)
        a->mtime = attr->mtime;
    a->ctime = vfs_now();
}

static int permission_locked(struct own_attr *a, int mask) __must_hold(a->lock)
{
    uint32_t bits = a->mode;

    if (vfs_identity()->uid == a->uid)
        bits >>= 6;
    else if (vfs_in_group(a->gid))
        bits >>= 3;
    if (!((uint32_t)mask & ~bits & 7))
        return 0;
    if (mask == R_OK && vfs_has_cap_over(a->uid, a->gid, CAP_DAC_READ_SEARCH))
        return 0;
    if ((!(mask & X_OK) || (a->mode & 0111)) && vfs_has_cap_over(a->uid, a->gid, CAP_DAC_OVERRIDE))
        return 0;
    return -EACCES;
}

int own_attr_permission(struct own_attr *a, int mask)
{
    int err;

    lock_acquire(&a->lock);
    err = permission_locked(a, mask);
    lock_release(&a->lock);
    return err;
}

static bool owned_locked(struct own_attr *a) __must_hold(a->lock)
{
    return vfs_identity()->uid == a->uid || vfs_has_cap_over(a->uid, a->gid, CAP_FOWNER);
}

int own_attr_apply(struct own_attr *a, const struct inode_attr *attr)
{
    bool times_only = !(attr->mask & (unsigned)(ATTR_MODE | ATTR_UID | ATTR_GID)), may;

    lock_acquire(&a->lock);
    may = owned_locked(a) || vfs_has_cap_over(a->uid, a->gid, CAP_CHOWN) ||
          (times_only && permission_locked(a, W_OK) == 0);
    if (may)
        set_locked(a, attr);
    lock_release(&a->lock);
    return may ? 0 : -EPERM;
}

/* A setgid bit is for members of the group. */
static bool keeps_setgid_locked(struct own_attr *a) __must_hold(a->lock)
{
    return vfs_in_group(a->gid) || vfs_has_cap_over(a->uid, a->gid, CAP_FSETID);
}

int own_attr_chmod(struct own_attr *a, uint32_t mode)
{
    struct inode_attr attr = {.mask = ATTR_MODE, .mode = mode};
    int err = -EPERM;

    lock_acquire(&a->lock);
    if (owned_locked(a)) {
        if (!keeps_setgid_locked(a))
            attr.mode &= ~(uint32_t)S_ISGID;
        set_locked(a, &attr);
        err = 0;
    }
    lock_release(&a->lock);
    return err;
}

static int chown_locked(struct own_attr *a, uint32_t uid, uint32_t gid) __must_hold(a->lock)
{
    bool may = vfs_has_cap_over(a->uid, a->gid, CAP_CHOWN);
    bool owner = vfs_identity()->uid == a->uid;
    struct inode_attr attr = {
        .mask = ATTR_MODE | (uid != UINT32_MAX ? (unsigned)ATTR_UID : 0) |
                (gid != UINT32_MAX ? (unsigned)ATTR_GID : 0),
        .mode = a->mode & ~(uint32_t)S_ISUID,
        .uid = uid,
        .gid = gid,
    };

    if ((attr.mask & ATTR_UID) && !may && !(owner && uid == a->uid))
        return -EPERM;
    if ((attr.mask & ATTR_GID) && !may && !(owner && (gid == a->gid || vfs_in_group(gid))))
        return -EPERM;
    if ((a->mode & S_IXGRP) || !keeps_setgid_locked(a))
        attr.mode &= ~(uint32_t)S_ISGID;
    set_locked(a, &attr);
    return 0;
}

int own_attr_chown(struct own_attr *a, uint32_t uid, uint32_t gid)
{
    int err;

    lock_acquire(&a->lock);
    err = chown_locked(a, uid, gid);
    lock_release(&a->lock);
    return err;
}

int own_attr_set_times(struct own_attr *a, const struct timespec times[2])
{
    struct inode_attr attr;
    bool now = vfs_plan_times(times, &attr);
    int err = 0;

    lock_acquire(&a->lock);
    if (!owned_locked(a))
        err = now ? permission_locked(a, W_OK) : -EPERM;
    if (!err)
        set_locked(a, &attr);
    lock_release(&a->lock);
    return err;
}
