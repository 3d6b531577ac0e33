/*
 * What the Sentry and the gofer say to each other. One request, one reply, over SOCK_SEQPACKET, so
 * that a message is whole or is not there. Both ends take the other for hostile: the gofer because
 * a guest may have taken the Sentry, the Sentry because it never trusts beyond bounds.
 *
 *   request   struct gofer_request_head, then path_size bytes of path
 *   reply     struct gofer_reply_head, then `count` struct gofer_entry, then target_size bytes;
 *             with GOFER_OPEN one descriptor comes along, with GOFER_WALK_DONATE `count`
 *
 * A path is relative to the gofer's root: names joined by single slashes, no "." and "..", no slash
 * at either end, no NUL; the empty path is the root. The gofer is stateless: each request says the
 * whole path, so there is no handle to forge or leak.
 *
 *   GOFER_WALK     the first `skip` names must be directories (they are not reported); looks up
 *                  the others one below the other and reports each, until all are found, or one is
 *                  not a directory, or GOFER_WALK_MAX are. `error` says why the next one was not
 *                  found. When the last found is a symbolic link, its target follows. With
 *                  GOFER_WALK_DONATE each reported object's O_PATH descriptor comes along, good for
 *                  nothing but its status. In place of the last one's, when that is a directory
 *                  and may be listed, comes what GOFER_OPEN would give: GOFER_READABLE. With
 *                  GOFER_WALK_OPEN that goes for a regular file, too. With GOFER_WALK_SIBLINGS
 *                  the names behind the first `skip` are not one below the other, but all in the
 *                  directory to which those lead; it ends at one that is not found or is a link,
 *                  and what was said of the last one goes for each.
 *   GOFER_OPEN     opens a regular file or a directory for reading and donates it; reports it
 *   GOFER_ACCESS   faccessat(2) with `mode`, as the user who runs the sandbox
 *   GOFER_STATFS   the file system of the object, after the head in place of entries
 *
 * A directory's entry in a reply says its times from before the next name was looked up in it: if
 * they still stand, so does what was found.
 */
#ifndef HOST_GOFER_PROTOCOL_H
#define HOST_GOFER_PROTOCOL_H

#include <string.h>

#include "abi/stat.h"
#include "base/compiler.h"

#define GOFER_PATH_MAX   4095 /* bytes of a path */
#define GOFER_NAME_MAX   255
#define GOFER_WALK_MAX   16
#define GOFER_TARGET_MAX 4095

/* `mode` of GOFER_WALK. */
#define GOFER_WALK_DONATE   1
#define GOFER_WALK_OPEN     2
#define GOFER_WALK_SIBLINGS 4

enum gofer_op { GOFER_WALK = 1, GOFER_OPEN, GOFER_ACCESS, GOFER_STATFS };

struct gofer_request_head {
    uint32_t op;
    uint32_t skip; /* GOFER_WALK */
    uint32_t mode; /* GOFER_ACCESS: R_OK|W_OK|X_OK; GOFER_WALK: GOFER_WALK_* */
    uint32_t path_size;
};
static_assert(sizeof(struct gofer_request_head) == 16, "gofer request");

struct gofer_reply_head {
    int32_t error; /* 0 or -errno */
    uint32_t count;
    uint32_t target_size;
    uint32_t pad;
};
static_assert(sizeof(struct gofer_reply_head) == 16, "gofer reply");

enum gofer_entry_flags {
    GOFER_HAS_BIRTH = 1,
    GOFER_HAS_ACL = 2, /* POSIX ACLs: acl(5) */
    GOFER_HAS_DEFAULT_ACL = 4,
    GOFER_READABLE = 8,   /* its descriptor is open for reading */
    GOFER_NO_XATTRS = 16, /* none at all, as listxattr(2) has it */
};

struct gofer_entry {
    struct linux_stat stat;
    int64_t birth_sec; /* GOFER_HAS_BIRTH */
    uint32_t birth_nsec;
    uint32_t flags;
    uint64_t attributes, attributes_known; /* STATX_ATTR_* of statx(2) */
};
static_assert(sizeof(struct gofer_entry) == 176, "gofer entry");

/* The largest messages of either kind: what both ends provide room for. */
struct gofer_request {
    struct gofer_request_head head;
    char path[GOFER_PATH_MAX + 1]; /* NUL-terminated once checked */
};

struct gofer_reply {
    struct gofer_reply_head head;
    union {
        struct {
            struct gofer_entry entries[GOFER_WALK_MAX];
            char target[GOFER_TARGET_MAX + 1];
        };
        struct linux_statfs statfs;
    };
};

/* Is this a path as described above? Counts its names into ret_names. */
static inline bool gofer_path_valid(const char *path, size_t size, uint32_t *ret_names)
{
    uint32_t names = 0;
    size_t at = 0;

    if (size > GOFER_PATH_MAX || memchr(path, '\0', size))
        return false;
    while (at < size) {
        const char *slash = memchr(path + at, '/', size - at);
        size_t length = slash ? (size_t)(slash - (path + at)) : size - at;

        if (length == 0 || length > GOFER_NAME_MAX || (slash && at + length + 1 == size))
            return false;
        if (path[at] == '.' && (length == 1 || (length == 2 && path[at + 1] == '.')))
            return false;
        names++;
        at += length + (slash ? 1 : 0);
    }
    *ret_names = names;
    return true;
}

/*
 * Is what was received, `size` bytes of it, a request that the gofer may serve? Terminates the path
 * and counts its names.
 */
static inline bool gofer_request_valid(struct gofer_request *req, size_t size, uint32_t *ret_names)
{
    uint32_t names;

    if (size < sizeof(req->head) || size > sizeof(req->head) + GOFER_PATH_MAX ||
        req->head.path_size != size - sizeof(req->head))
        return false;
    if (req->head.op < GOFER_WALK || req->head.op > GOFER_STATFS || (req->head.mode & ~7u))
        return false;
    if (!gofer_path_valid(req->path, req->head.path_size, &names) || req->head.skip > names)
        return false;
    req->path[req->head.path_size] = '\0';
    *ret_names = names;
    return true;
}

/* How many descriptors come along with a valid reply. */
static inline uint32_t gofer_reply_passed(const struct gofer_reply *reply, enum gofer_op op,
                                          uint32_t mode)
{
    if (op == GOFER_WALK)
        return mode & GOFER_WALK_DONATE ? reply->head.count : 0;
    return op == GOFER_OPEN && reply->head.error == 0 ? 1 : 0;
}

/*
 * Is what was received a reply to a request with this `op`? Moves the target, which follows the
 * entries that were sent, to its place and terminates it.
 */
static inline bool gofer_reply_valid(struct gofer_reply *reply, size_t size, enum gofer_op op)
{
    const struct gofer_reply_head *head = &reply->head;
    size_t entries;

    if (size < sizeof(*head) || head->error > 0 || head->error < -4095)
        return false;
    if (op == GOFER_STATFS) {
        return size == sizeof(*head) + (head->error ? 0 : sizeof(reply->statfs)) &&
               head->count == 0 && head->target_size == 0;
    }
    if (head->count > GOFER_WALK_MAX || head->target_size > GOFER_TARGET_MAX)
        return false;
    entries = head->count * sizeof(struct gofer_entry);
    if (size != sizeof(*head) + entries + head->target_size)
        return false;
    memmove(reply->target, (char *)reply->entries + entries, head->target_size);
    reply->target[head->target_size] = '\0';
    return true;
}

#endif
