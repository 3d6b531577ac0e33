#include "sentry/vfs/fstype.h"

#include <errno.h>
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

int fs_setup_option(struct fs_setup *setup, const char *key, const char *value)
{
    if (!value && (strcmp(key, "ro") == 0 || strcmp(key, "rw") == 0)) {
        setup->read_only = key[1] == 'o';
        return 0;
    }
    return setup->type->option ? setup->type->option(setup, key, value) : -EINVAL;
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
