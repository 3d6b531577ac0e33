/*
 * What an overlay that is kept in a host folder writes down there, in the file "journal": batches,
 * each of which holds as a whole or not at all. Little-endian, each record a multiple of 8 bytes.
 *
 *   struct ov_batch   size and hash of the records behind it; batches count from 1
 *   OV_NODE           an object as it is now. The first one of an id says where it lies below,
 *                     if it does; one of a symbolic link has the target
 *   OV_XATTR          an attribute of a node
 *   OV_NAME           what a name in a node that is a directory means now
 *   OV_COPIED         the node's bytes are no longer those below
 *
 * Later records hold. A file's bytes are the file "data/ID", ID in hexadecimal. Node 1 is the root.
 * The first batch that is not whole ends the journal: it was being written when the sandbox died.
 */
#ifndef SENTRY_FS_OVERLAY_RECORD_H
#define SENTRY_FS_OVERLAY_RECORD_H

#include "base/compiler.h"

#define OV_BATCH_MAGIC 0x316c6e6a766f766bUL /* "kvovjnl1" */
#define OV_BATCH_MAX   (32U << 20)          /* bytes of records */
#define OV_PATH_MAX    60000                /* of a place below */
#define OV_ROOT_NODE   1UL

struct ov_batch {
    uint64_t magic;
    uint64_t number;
    uint64_t size; /* of the records */
    uint64_t hash; /* XXH3 of number, size and records */
};

enum ov_record_type { OV_NODE = 1, OV_XATTR, OV_NAME, OV_COPIED };

enum ov_record_flags {
    OV_HAS_UPPER = 1, /* OV_NODE: owner, mode and the like were changed */
    OV_HAS_BYTES = 2, /* its bytes are not those below */
    OV_IS_LINKED = 4, /* it has names below that lead to it */
    OV_IS_MADE = 8,   /* it is nowhere below */
    OV_HAS_PATH = 16,
    OV_IMMUTABLE = 0x100, /* FS_IMMUTABLE_FL and so on */
    OV_APPEND = 0x200,
    OV_NODUMP = 0x400,
    OV_NOATIME = 0x800,
    OV_IN_LOWER = 1, /* OV_NAME: that name is also below */
    OV_NO_ENTRY = 2, /* the name means what it means below */
    OV_REMOVED = 1,  /* OV_XATTR: there is none of that name */
};

struct ov_record {
    uint16_t type, flags;
    uint32_t size; /* with this head and what follows */
    uint64_t id;   /* the node; of OV_NAME: the directory */
};

enum ov_time { OV_ATIME, OV_MTIME, OV_CTIME, OV_BTIME, OV_TIMES };

struct ov_node_record {
    struct ov_record head;
    uint64_t dev, ino, rdev;
    uint32_t mode, uid, gid, nlink;
    int64_t sec[OV_TIMES];
    uint32_t nsec[OV_TIMES];
    uint32_t path_size, target_size;
    char text[]; /* the path below, then the target */
};

struct ov_xattr_record {
    struct ov_record head;
    uint32_t name_size, value_size;
    char text[]; /* name, then value */
};

struct ov_name_record {
    struct ov_record head;
    uint64_t node; /* 0: nothing has that name */
    uint32_t name_size;
    uint32_t type; /* DT_* of what it is, or of what was removed */
    char name[];
};

static_assert(sizeof(struct ov_batch) == 32 && sizeof(struct ov_record) == 16 &&
                  sizeof(struct ov_node_record) == 112 && sizeof(struct ov_xattr_record) == 24 &&
                  sizeof(struct ov_name_record) == 32,
              "the journal's format");

#endif
