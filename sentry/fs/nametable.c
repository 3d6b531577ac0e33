#include "sentry/fs/nametable.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const struct named *a, const struct named *b)
{
    int order = memcmp(a->name.text, b->name.text, MIN(a->name.size, b->name.size));

    if (order)
        return order;
    return a->name.size < b->name.size ? -1 : a->name.size > b->name.size;
}

static int compare_cookies(const struct named *a, const struct named *b)
{
    return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

/* clang-format off */
RB_GENERATE_INTERNAL(named_names, named, by_name, compare_names, __attribute__((unused)) static)
RB_GENERATE_INTERNAL(named_listing, named, by_cookie, compare_cookies,
                     __attribute__((unused)) static)
/* clang-format on */

struct named *named_new(size_t size, struct name name)
{
    struct named *entry = malloc(size + name.size);
    char *text;

    if (!entry)
        return NULL;
    text = (char *)entry + size;
    memset(entry, 0, size);
    memcpy(text, name.text, name.size);
    entry->name = (struct name){text, name.size};
    return entry;
}

void nametable_init(struct nametable *t, int64_t first_cookie)
{
    RB_INIT(&t->names);
    RB_INIT(&t->listing);
    t->last_cookie = first_cookie - 1;
    t->count = 0;
}

void nametable_insert(struct nametable *t, struct named *entry)
{
    entry->cookie = ++t->last_cookie;
    RB_INSERT(named_names, &t->names, entry);
    RB_INSERT(named_listing, &t->listing, entry);
    __atomic_add_fetch(&t->count, 1, __ATOMIC_RELEASE);
}

void nametable_remove(struct nametable *t, struct named *entry)
{
    RB_REMOVE(named_names, &t->names, entry);
    RB_REMOVE(named_listing, &t->listing, entry);
    __atomic_sub_fetch(&t->count, 1, __ATOMIC_RELEASE);
}

struct named *nametable_find(struct nametable *t, struct name name)
{
    struct named key = {.name = name};

    return RB_FIND(named_names, &t->names, &key);
}

struct named *nametable_next(struct nametable *t, int64_t from)
{
    struct named key = {.cookie = from};

    return RB_NFIND(named_listing, &t->listing, &key);
}

struct named *nametable_first(struct nametable *t)
{
    return RB_MIN(named_names, &t->names);
}
