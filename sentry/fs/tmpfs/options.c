/* tmpfs(5)'s mount options; mm/shmem.c of Linux. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/fstype.h"

static uint64_t total_memory;

void tmpfs_set_memory(uint64_t size)
{
    total_memory = size;
}

/* "50%": of the memory there is. */
static int parse_size(const char *value, uint64_t *ret)
{
    size_t length = value ? strlen(value) : 0;
    char percent[24];
    int err;

    if (length == 0 || value[length - 1] != '%' || length > sizeof(percent))
        return fs_parse_size(value, ret);
    memcpy(percent, value, length - 1);
    percent[length - 1] = '\0';
    err = fs_parse_number(percent, 10, UINT32_MAX, ret);
    *ret = err ? 0 : total_memory / 100 * *ret;
    return err;
}

static int set_id(struct fs_setup *setup, uint32_t *id, unsigned bit, const char *value)
{
    uint64_t number;
    int err = fs_parse_number(value, 10, UINT32_MAX - 1, &number);

    if (!err) {
        *id = (uint32_t)number;
        setup->mask |= bit;
    }
    return err;
}

/* All pages are what the memory below makes of them: "never" is as good as the others. */
static int check_huge(const char *value)
{
    static const char *const words[] = {"never", "always", "within_size", "advise"};

    for (size_t i = 0; value && i < ARRAY_COUNT(words); i++) {
        if (strcmp(value, words[i]) == 0)
            return 0;
    }
    return -EINVAL;
}

/* There is one node, so whatever policy names it says nothing: mpol_parse_str(). */
static int check_policy(const char *value)
{
    static const char *const words[] = {"default", "local", "prefer", "bind", "interleave"};
    size_t length = value ? strcspn(value, ":=") : 0;

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        const char *nodes = value ? strchr(value, ':') : NULL;

        if (strlen(words[i]) != length || strncmp(words[i], value, length) != 0)
            continue;
        if (i < 2 || !nodes)
            return value[length] || i == 3 ? -EINVAL : 0;
        return strcmp(nodes, ":0") == 0 ? 0 : -EINVAL;
    }
    return -EINVAL;
}

int tmpfs_option(struct fs_setup *setup, const char *key, const char *value)
{
    uint64_t number = 0;
    int err;

    if (strcmp(key, "size") == 0 || strcmp(key, "nr_blocks") == 0) {
        err = key[0] == 's' ? parse_size(value, &number) : fs_parse_size(value, &number);
        if (!err && key[0] == 'n' && number > TMPFS_UNLIMITED / PAGE_SIZE)
            err = -EINVAL;
        setup->size = key[0] == 's' ? number : number * PAGE_SIZE;
        setup->mask |= SETUP_SIZE;
        return err;
    }
    if (strcmp(key, "nr_inodes") == 0) {
        setup->mask |= SETUP_INODES;
        return fs_parse_size(value, &setup->inodes);
    }
    if (strcmp(key, "mode") == 0) {
        err = fs_parse_number(value, 8, UINT32_MAX, &number);
        setup->mode = (uint32_t)number & 07777;
        setup->mask |= SETUP_MODE;
        return err;
    }
    if (strcmp(key, "uid") == 0)
        return set_id(setup, &setup->uid, SETUP_UID, value);
    if (strcmp(key, "gid") == 0)
        return set_id(setup, &setup->gid, SETUP_GID, value);
    if (strcmp(key, "huge") == 0)
        return check_huge(value);
    if (strcmp(key, "mpol") == 0)
        return check_policy(value);
    if (strcmp(key, "inode32") == 0 || strcmp(key, "inode64") == 0 || strcmp(key, "noswap") == 0)
        return value ? -E2BIG : 0;
    return -ENOENT;
}

uint64_t tmpfs_limit(uint64_t said)
{
    return said == 0 || said > TMPFS_UNLIMITED ? TMPFS_UNLIMITED : said;
}

static int refuse(struct fs_setup *setup, const char *why)
{
    snprintf(setup->complaint, sizeof(setup->complaint), "tmpfs: %s", why);
    return -EINVAL;
}

/* shmem_reconfigure(): not below what is in use, and no limit where there was none. */
int tmpfs_reconfigure(struct super_block *sb, struct fs_setup *setup)
{
    struct tmpfs *fs = tmpfs_of(sb);
    uint64_t size = round_up(tmpfs_limit(setup->size), PAGE_SIZE);
    uint64_t inodes = tmpfs_limit(setup->inodes);

    if (setup->mask & SETUP_SIZE) {
        if (fs->budget->limit == TMPFS_UNLIMITED && size < TMPFS_UNLIMITED)
            return refuse(setup, "Cannot retroactively limit size");
        if (size < __atomic_load_n(&fs->budget->used, __ATOMIC_RELAXED))
            return refuse(setup, "Too small a size for current use");
    }
    if (setup->mask & SETUP_INODES) {
        if (fs->inode_limit == TMPFS_UNLIMITED && inodes != TMPFS_UNLIMITED)
            return refuse(setup, "Cannot retroactively limit inodes");
        if (inodes < __atomic_load_n(&fs->inode_count, __ATOMIC_RELAXED))
            return refuse(setup, "Too few inodes for current use");
        __atomic_store_n(&fs->inode_limit, inodes, __ATOMIC_RELAXED);
    }
    if (setup->mask & SETUP_SIZE)
        __atomic_store_n(&fs->budget->limit, MIN(size, TMPFS_UNLIMITED), __ATOMIC_RELAXED);
    return 0;
}

void tmpfs_show_options(struct super_block *sb, char *buf, size_t size)
{
    struct tmpfs *fs = tmpfs_of(sb);
    const struct inode *root = sb->root->inode;
    uint64_t limit = __atomic_load_n(&fs->budget->limit, __ATOMIC_RELAXED);
    uint64_t inodes = __atomic_load_n(&fs->inode_limit, __ATOMIC_RELAXED);
    uint32_t mode = inode_mode(root) & 07777;
    size_t at = 0;

    buf[0] = '\0';
    if (limit != fs->default_size)
        at += (size_t)snprintf(buf + at, size - at, ",size=%luk",
                               limit == TMPFS_UNLIMITED ? 0 : limit / 1024);
    if (inodes != fs->default_inodes)
        at += (size_t)snprintf(buf + at, size - at, ",nr_inodes=%lu",
                               inodes == TMPFS_UNLIMITED ? 0 : inodes);
    if (mode != 01777)
        at += (size_t)snprintf(buf + at, size - at, ",mode=%03o", mode);
    if (root->uid)
        at += (size_t)snprintf(buf + at, size - at, ",uid=%u", root->uid);
    if (root->gid)
        at += (size_t)snprintf(buf + at, size - at, ",gid=%u", root->gid);
    snprintf(buf + at, size - at, ",inode64");
}
