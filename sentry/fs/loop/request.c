/* LOOP_* of ioctl(2), and the structure of before 64-bit sizes. */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>

#include "sentry/fs/loop/internal.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"

/* The structure of before 64-bit sizes. */
static void info_from_old(const struct loop_info *old, struct loop_info64 *ret)
{
    *ret = (struct loop_info64){
        .lo_offset = (uint64_t)(int64_t)old->lo_offset,
        .lo_encrypt_type = (uint32_t)old->lo_encrypt_type,
        .lo_encrypt_key_size = (uint32_t)old->lo_encrypt_key_size,
        .lo_flags = (uint32_t)old->lo_flags,
    };
    memcpy(ret->lo_file_name, old->lo_name, LO_NAME_SIZE);
}

static long put_old(struct mm *mm, uaddr_t arg, const struct loop_info64 *info)
{
    struct loop_info old = {
        .lo_number = (int)info->lo_number,
        .lo_device = info->lo_device,
        .lo_inode = info->lo_inode,
        .lo_rdevice = info->lo_rdevice,
        .lo_offset = (int)info->lo_offset,
        .lo_flags = (int)info->lo_flags,
    };

    if (info->lo_offset > INT_MAX)
        return -EOVERFLOW;
    memcpy(old.lo_name, info->lo_file_name, LO_NAME_SIZE);
    return copy_struct_to_user(mm, arg, &old);
}

static long status_request(struct loop_device *d, struct mm *mm, uint32_t cmd, uaddr_t arg)
{
    struct loop_info64 info;
    struct loop_info old;
    int err;

    switch (cmd) {
    case LOOP_SET_STATUS:
        if (copy_struct_from_user(mm, &old, arg) < 0)
            return -EFAULT;
        info_from_old(&old, &info);
        return loop_set_status(d, &info);
    case LOOP_SET_STATUS64:
        if (copy_struct_from_user(mm, &info, arg) < 0)
            return -EFAULT;
        return loop_set_status(d, &info);
    default:
        if (!arg)
            return -EINVAL;
        err = loop_get_status(d, &info);
        if (err < 0)
            return err;
        return cmd == LOOP_GET_STATUS ? put_old(mm, arg, &info)
                                      : copy_struct_to_user(mm, arg, &info);
    }
}

long loop_request(struct loop_file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    bool may_change = file_can_write(&f->file) || vfs_has_cap(CAP_SYS_ADMIN);
    struct loop_device *d = f->device;

    switch (cmd) {
    case LOOP_CLR_FD:
        return loop_unbind(d);
    case LOOP_GET_STATUS:
    case LOOP_GET_STATUS64:
        return status_request(d, mm, cmd, arg);
    case LOOP_SET_STATUS:
    case LOOP_SET_STATUS64:
        return may_change ? status_request(d, mm, cmd, arg) : -EPERM;
    case LOOP_SET_CAPACITY:
        return may_change ? loop_set_status(d, NULL) : -EPERM;
    case LOOP_SET_DIRECT_IO:
        return may_change ? loop_set_direct(d, arg != 0) : -EPERM;
    case LOOP_SET_BLOCK_SIZE:
        return may_change ? loop_set_block_size(d, arg) : -EPERM;
    default:
        return -ENOTTY;
    }
}
