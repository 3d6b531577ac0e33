/* statmount(2), listmount(2): newer than Debian 12's headers. Source: linux/mount.h of Linux 6.18.
 */
#ifndef ABI_MOUNT_H
#define ABI_MOUNT_H

#include "base/compiler.h"

struct linux_mnt_id_req {
    uint32_t size, spare;
    uint64_t mnt_id, param, mnt_ns_id;
};
static_assert(sizeof(struct linux_mnt_id_req) == 32, "struct mnt_id_req");
#define MNT_ID_REQ_SIZE_VER0 24U

struct linux_statmount {
    uint32_t size;
    uint32_t mnt_opts;
    uint64_t mask;
    uint32_t sb_dev_major, sb_dev_minor;
    uint64_t sb_magic;
    uint32_t sb_flags;
    uint32_t fs_type;
    uint64_t mnt_id, mnt_parent_id;
    uint32_t mnt_id_old, mnt_parent_id_old;
    uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
    uint32_t mnt_root, mnt_point;
    uint64_t mnt_ns_id;
    uint32_t fs_subtype, sb_source;
    uint32_t opt_num, opt_array, opt_sec_num, opt_sec_array;
    uint64_t supported_mask;
    uint32_t mnt_uidmap_num, mnt_uidmap, mnt_gidmap_num, mnt_gidmap;
    uint64_t spare[43];
};
static_assert(sizeof(struct linux_statmount) == 512, "struct statmount");

#define STATMOUNT_SB_BASIC       0x1UL
#define STATMOUNT_MNT_BASIC      0x2UL
#define STATMOUNT_PROPAGATE_FROM 0x4UL
#define STATMOUNT_MNT_ROOT       0x8UL
#define STATMOUNT_MNT_POINT      0x10UL
#define STATMOUNT_FS_TYPE        0x20UL
#define STATMOUNT_MNT_NS_ID      0x40UL
#define STATMOUNT_MNT_OPTS       0x80UL
#define STATMOUNT_SB_SOURCE      0x200UL
#define STATMOUNT_OPT_ARRAY      0x400UL
#define STATMOUNT_SUPPORTED_MASK 0x1000UL

#define LSMT_ROOT                UINT64_MAX
#define LISTMOUNT_REVERSE        1U

#endif
