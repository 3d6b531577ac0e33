/*
 * What the Sentry and a share say to each other: a share is a gofer for one host folder that the
 * command line hands to the program (--bind). One request, one reply, over SOCK_SEQPACKET; both
 * ends take the other for hostile.
 *
 *   request   struct share_request_head, then name_size bytes of a name, then data_size bytes
 *   reply     struct share_reply_head, then data_size bytes; a descriptor comes along with
 * SHARE_OPEN
 *
 * A name is one component: no slash, no NUL, neither "." nor "..". An object is named by a handle
 * that an earlier reply gave; SHARE_ROOT is the folder itself. Handles stand for objects that were
 * found beneath the folder, whatever their names have become; a number that was not given out, or
 * was given back, is -EBADF. So nothing that the Sentry says can name anything else.
 *
 *   SHARE_LOOKUP    `name` in `handle`; the target of a symbolic link is the data. No handle is
 * made where the object is (known_dev, known_ino): the Sentry has one. SHARE_STAT      of `handle`
 *   SHARE_STATFS    the data is a struct linux_statfs
 *   SHARE_OPEN      a regular file or a directory, for O_RDONLY, O_WRONLY or O_RDWR in `flags`
 *   SHARE_MAKE      `name` in `handle`: type and mode in `mode`; the data is a symbolic link's
 * target SHARE_TMPFILE   a file without a name in `handle` SHARE_LINK      `handle` gets the name
 * `name` in `handle2` SHARE_REMOVE    `name` in `handle`; `flags`: AT_REMOVEDIR SHARE_RENAME `name`
 * in `handle` becomes the data, a name too, in `handle2`; RENAME_* flags SHARE_SETATTR   `mask` of
 * enum share_attr SHARE_GETXATTR  `name` is the attribute's; `size` bytes of room. Its size is in
 * `size` SHARE_LISTXATTR likewise, without a name SHARE_SETXATTR  the data is the value; `flags` of
 * setxattr(2), or SHARE_XATTR_REMOVE SHARE_FORGET    the handle is not needed any more
 *   SHARE_CONNECT   to the socket `handle`, by one of the type `mode`; its descriptor comes along
 *   SHARE_GETFLAGS  FS_*_FL of a regular file or a directory (ioctl_iflags(2)), in `size`; -ENOTTY:
 *                   there are none, or nothing may be changed here
 *   SHARE_SETFLAGS  `flags` become that
 */
#ifndef HOST_SHARE_PROTOCOL_H
#define HOST_SHARE_PROTOCOL_H

#include <string.h>

#include "abi/stat.h"
#include "base/compiler.h"

#define SHARE_NAME_MAX 255
#define SHARE_DATA_MAX 65536 /* XATTR_SIZE_MAX, XATTR_LIST_MAX; more than a target */
#define SHARE_ROOT     0

enum share_op {
    SHARE_LOOKUP = 1,
    SHARE_STAT,
    SHARE_STATFS,
    SHARE_OPEN,
    SHARE_MAKE,
    SHARE_TMPFILE,
    SHARE_LINK,
    SHARE_REMOVE,
    SHARE_RENAME,
    SHARE_SETATTR,
    SHARE_GETXATTR,
    SHARE_LISTXATTR,
    SHARE_SETXATTR,
    SHARE_FORGET,
    SHARE_CONNECT,
    SHARE_GETFLAGS,
    SHARE_SETFLAGS,
    SHARE_OP_END,
};

enum share_attr {
    SHARE_ATTR_MODE = 1,
    SHARE_ATTR_UID = 2,
    SHARE_ATTR_GID = 4,
    SHARE_ATTR_ATIME = 8,
    SHARE_ATTR_MTIME = 16,
    SHARE_ATTR_SIZE = 32,
};

#define SHARE_XATTR_REMOVE 4

/* Which POSIX ACLs an object has: acl(5). */
enum share_acls { SHARE_ACL = 1, SHARE_DEFAULT_ACL = 2 };

struct share_request_head {
    uint32_t op, flags;
    uint32_t handle, handle2;
    uint32_t mode, uid, gid, mask;
    uint64_t size; /* SHARE_ATTR_SIZE; room for an attribute */
    int64_t atime_sec, mtime_sec;
    uint32_t atime_nsec, mtime_nsec;
    uint64_t known_dev, known_ino; /* SHARE_LOOKUP */
    uint32_t name_size, data_size;
};
static_assert(sizeof(struct share_request_head) == 88, "share request");

struct share_request {
    struct share_request_head head;
    char bytes[SHARE_NAME_MAX + SHARE_DATA_MAX + 2]; /* the name, then the data */
};

struct share_reply_head {
    int32_t error;   /* 0 or -errno */
    uint32_t handle; /* SHARE_LOOKUP, _MAKE, _TMPFILE; 0: none was made */
    uint32_t data_size;
    uint32_t acls;          /* enum share_acls; of what is in `stat` */
    uint64_t size;          /* of an attribute; SHARE_GETFLAGS */
    struct linux_stat stat; /* of what was looked up, made or changed */
    int64_t birth_sec;
    uint32_t birth_nsec, has_birth;
    uint64_t attributes, attributes_known; /* STATX_ATTR_* of statx(2) */
};

struct share_reply {
    struct share_reply_head head;
    char data[SHARE_DATA_MAX + 1];
};

static inline bool share_name_valid(const char *name, size_t size)
{
    if (size == 0 || size > SHARE_NAME_MAX || memchr(name, '\0', size) || memchr(name, '/', size))
        return false;
    return name[0] != '.' || (size != 1 && (size != 2 || name[1] != '.'));
}

static inline bool share_op_has_name(uint32_t op)
{
    return op == SHARE_LOOKUP || op == SHARE_MAKE || op == SHARE_LINK || op == SHARE_REMOVE ||
           op == SHARE_RENAME;
}

/* Is what was received, `size` bytes of it, a request that may be served? */
static inline bool share_request_valid(const struct share_request *req, size_t size)
{
    const struct share_request_head *head = &req->head;

    if (size < sizeof(*head) || head->op < SHARE_LOOKUP || head->op >= SHARE_OP_END ||
        head->name_size > SHARE_NAME_MAX || head->data_size > SHARE_DATA_MAX ||
        size != sizeof(*head) + head->name_size + head->data_size)
        return false;
    if (share_op_has_name(head->op) && !share_name_valid(req->bytes, head->name_size))
        return false;
    if (head->op == SHARE_RENAME &&
        !share_name_valid(req->bytes + head->name_size, head->data_size))
        return false;
    return head->size <= INT64_MAX && !memchr(req->bytes, '\0', head->name_size);
}

/* Is what was received a reply? Terminates the data. */
static inline bool share_reply_valid(struct share_reply *reply, size_t size)
{
    const struct share_reply_head *head = &reply->head;

    if (size < sizeof(*head) || head->error > 0 || head->error < -4095 ||
        head->data_size > SHARE_DATA_MAX || size != sizeof(*head) + head->data_size)
        return false;
    reply->data[head->data_size] = '\0';
    return true;
}

#endif
