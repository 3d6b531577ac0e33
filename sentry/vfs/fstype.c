#include "sentry/vfs/fstype.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPES_MAX 16

static const struct fs_type *types[TYPES_MAX];
static unsigned type_count;

void fs_type_register(const struct fs_type *type)
{
    if (type_count == TYPES_MAX)
        BUG("more than %d kinds of file systems", TYPES_MAX);
    types[type_count++] = type;
}

const struct fs_type *fs_type_find(const char *name)
{
    for (unsigned i = 0; i < type_count; i++) {
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    }
    return NULL;
}

const struct fs_type *fs_type_at(unsigned index)
{
    return index < type_count ? types[index] : NULL;
}

/* fs/fs_context.c:vfs_parse_sb_flag(): whatever value they have. */
static bool is_common(struct fs_setup *setup, const char *key)
{
    /* How what is written gets to a disk, and locks that nobody has any more: not here. */
    static const char *const moot[] = {"sync",     "async",      "dirsync", "mand",
                                       "lazytime", "nolazytime", "nomand"};

    if (strcmp(key, "ro") == 0 || strcmp(key, "rw") == 0) {
        setup->read_only = key[1] == 'o';
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(moot); i++) {
        if (strcmp(key, moot[i]) == 0)
            return true;
    }
    return false;
}

static int complain(struct fs_setup *setup, int err, const char *key)
{
    const char *what = err == -ENOENT  ? "Unknown parameter"
                       : err == -E2BIG ? "Unexpected value for"
                                       : "Bad value for";

    if (!setup->complaint[0])
        snprintf(setup->complaint, sizeof(setup->complaint), "%s: %s '%.256s'", setup->type->name,
                 what, key);
    return err == -ENOENT || err == -E2BIG ? -EINVAL : err;
}

int fs_setup_option(struct fs_setup *setup, const char *key, const char *value)
{
    int err;

    setup->complaint[0] = '\0';
    if (is_common(setup, key))
        return 0;
    err = setup->type->option ? setup->type->option(setup, key, value) : -ENOENT;
    return err ? complain(setup, err, key) : 0;
}

int fs_setup_blob(struct fs_setup *setup, const char *key)
{
    struct fs_setup scratch = {.type = setup->type};
    int err;

    setup->complaint[0] = '\0';
    if (is_common(setup, key))
        return 0;
    err = setup->type->option ? setup->type->option(&scratch, key, NULL) : -ENOENT;
    return complain(setup, err == -ENOENT ? err : -EINVAL, key);
}

int fs_setup_options(struct fs_setup *setup, char *data)
{
    char *key;
    int err = 0;

    while (!err && (key = strsep(&data, ",")) != NULL) {
        char *value = strchr(key, '=');

        if (*key == '\0')
            continue;
        if (value)
            *value++ = '\0';
        err = fs_setup_option(setup, key, value);
    }
    return err;
}

int fs_parse_number(const char *value, int base, uint64_t limit, uint64_t *ret)
{
    char *end;

    if (!value || *value < '0' || *value > '9')
        return -EINVAL;
    errno = 0;
    *ret = strtoul(value, &end, base);
    return errno || *end || *ret > limit ? -EINVAL : 0;
}

int fs_parse_size(const char *value, uint64_t *ret)
{
    int shift = 0;
    char *end;

    if (!value || *value < '0' || *value > '9')
        return -EINVAL;
    errno = 0;
    *ret = strtoul(value, &end, 0);
    if (*end == 'k' || *end == 'K')
        shift = 10;
    else if (*end == 'm' || *end == 'M')
        shift = 20;
    else if (*end == 'g' || *end == 'G')
        shift = 30;
    if (errno || end[shift ? 1 : 0] || *ret > UINT64_MAX >> shift)
        return -EINVAL;
    *ret <<= shift;
    return 0;
}
