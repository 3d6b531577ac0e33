/*
 * The names of one directory, kept in memory. Each is in two trees: by name for look-ups, by cookie
 * for listings. A cookie is a name's place in listings and stays the same while others come and go,
 * so a program that removes what it lists misses nothing; it is never used twice in a directory.
 *
 * What a name stands for is its file system's affair: the entry begins with a struct named. The
 * caller has the directory's lock.
 */
#ifndef SENTRY_FS_NAMETABLE_H
#define SENTRY_FS_NAMETABLE_H

#include "sentry/vfs/inode.h"

#include <bsd/sys/tree.h>

struct named {
    RB_ENTRY(named) by_name, by_cookie;
    int64_t cookie;
    struct name name; /* behind the entry */
};
RB_HEAD(named_names, named);
RB_HEAD(named_listing, named);

struct nametable {
    struct named_names names;
    struct named_listing listing;
    int64_t last_cookie;
    uint64_t count; /* atomic for those who only want to know how many there are */
};

/*
 * An entry of `size` bytes that begins with a struct named, zeroed but for the name, which is
 * copied; for free(3), once it is in no table. NULL: no memory.
 */
struct named *named_new(size_t size, struct name name);

/* Cookies count from `first_cookie` on. */
void nametable_init(struct nametable *t, int64_t first_cookie);
/* The name must not be there yet; it gets the next cookie. */
void nametable_insert(struct nametable *t, struct named *entry);
void nametable_remove(struct nametable *t, struct named *entry);
/* NULL: there is none. */
struct named *nametable_find(struct nametable *t, struct name name);
/* The first with a cookie of at least `from`; NULL: no more. */
struct named *nametable_next(struct nametable *t, int64_t from);
/* The first by name; NULL: the table is empty. */
struct named *nametable_first(struct nametable *t);

/* Without the lock, too. */
static inline uint64_t nametable_count(const struct nametable *t)
{
    return __atomic_load_n(&t->count, __ATOMIC_ACQUIRE);
}

#endif
