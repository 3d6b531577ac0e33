/*
 * The kinds of file systems that programs can mount. The runtime registers them, since it alone
 * knows them all; before the first program starts.
 */
#ifndef SENTRY_VFS_FSTYPE_H
#define SENTRY_VFS_FSTYPE_H

#include "base/bug.h"
#include "base/compiler.h"

struct super_block;
struct fs_setup;

#define FS_COMPLAINT_MAX 320 /* a key of 256 bytes and some words */

struct fs_type {
    const char *name;
    /*
     * One option; `value` is NULL for a bare word. -ENOENT: not one of its; -E2BIG: a bare word,
     * and yet it has a value; else -EINVAL, where setup->complaint may say more. NULL: there are
     * none.
     */
    int (*option)(struct fs_setup *setup, const char *key, const char *value);
    bool unprivileged; /* user namespaces may mount it */
    /* A file system, or another reference on the one there is. */
    int (*create)(const struct fs_setup *setup, struct super_block **ret);
};

enum fs_setup_mask {
    SETUP_SIZE = 1,
    SETUP_INODES = 2,
    SETUP_MODE = 4,
    SETUP_UID = 8,
    SETUP_GID = 16,
};

/* What was said of one that is to be made or changed. */
struct fs_setup {
    const struct fs_type *type;
    unsigned mask; /* enum fs_setup_mask: what of the following was said */
    uint64_t size; /* bytes; 0: as much as there is */
    uint64_t inodes;
    uint32_t mode, uid, gid;
    bool read_only;
    uint8_t hide_pid; /* proc: enum procfs_hide */
    bool subset_pid;
    char complaint[FS_COMPLAINT_MAX]; /* what was wrong with the last option, in Linux's words */
};

void fs_type_register(const struct fs_type *type);
const struct fs_type *fs_type_find(const char *name); /* NULL */
const struct fs_type *fs_type_at(unsigned index);     /* NULL: there are no more */

/* "ro", "rw" and their like are everybody's, the rest is the type's. -EINVAL, with a complaint. */
int fs_setup_option(struct fs_setup *setup, const char *key, const char *value);
/* The same for a value that is no text: at least it may be told whether there is such an option. */
int fs_setup_blob(struct fs_setup *setup, const char *key);
/* mount(2)'s data: options separated by commas; changed by it. */
int fs_setup_options(struct fs_setup *setup, char *data);

/* For fs_type.option: -EINVAL. Numbers of `base`; a size may have k, m, g behind it. */
int fs_parse_number(const char *value, int base, uint64_t limit, uint64_t *ret);
int fs_parse_size(const char *value, uint64_t *ret);

#endif
