/*
 * What was listed lately: who looks at names of a directory right after it was listed will look at
 * the others too, in that order as a rule, or in that of inode numbers. So some are asked for in
 * the same round trip (lookup.c): with the first name of all seven, with another in order twice as
 * many as before, with one out of order one more.
 *
 * Of the LISTINGS directories that were listed last the names are kept, as far as LISTING_BYTES go.
 * That they are there still is for the answer to say.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/gofer/internal.h"

#define LISTINGS      16
#define LISTING_BYTES (64U << 10)
#define LISTING_FIRST 1024 /* bytes */
#define FIRST_AHEAD   7
#define WINDOW        1024 /* names that are looked through for those to ask for */

/* In a listing's bytes, in front of the name. */
struct entry {
    uint8_t type, size;
};

struct listing {
    struct list node;
    struct gofer_inode *dir; /* owned reference */
    int64_t next;            /* the position behind its last name */
    uint32_t size, room;     /* of bytes */
    uint32_t last;           /* behind the name that was looked up last */
    uint32_t cursor;         /* behind those that were asked for along with others */
    uint32_t ahead;          /* how many that were the last time */
    uint8_t *bytes;          /* owned */
};

void listings_init(struct listings *l)
{
    lock_init(&l->lock);
    list_init(&l->lru);
}

static void listing_free(struct listing *listing)
{
    if (!listing)
        return;
    inode_unref(&listing->dir->inode);
    free(listing->bytes);
    free(listing);
}

void listings_clear(struct listings *l)
{
    while (!list_empty(&l->lru)) {
        struct listing *listing = list_first(&l->lru, struct listing, node);

        list_del_init(&listing->node);
        listing_free(listing);
    }
    lock_destroy(&l->lock);
}

static struct listing *find_locked(struct listings *l, const struct gofer_inode *dir)
    __must_hold(l->lock)
{
    struct listing *listing;

    list_for_each (listing, &l->lru, node) {
        if (listing->dir == dir)
            return listing;
    }
    return NULL;
}

static void touch_locked(struct listings *l, struct listing *listing) __must_hold(l->lock)
{
    list_del_init(&listing->node);
    list_add(&l->lru, &listing->node);
}

void listing_begin(struct listings *l, const struct dentry *dentry)
{
    struct listing *fresh = calloc(1, sizeof(*fresh)), *old;
    struct gofer_inode *dir = gofer_inode_of(dentry->inode);

    if (!fresh)
        return;
    inode_ref(&dir->inode);
    fresh->dir = dir;
    lock_acquire(&l->lock);
    /* Whoever goes through a tree comes back to the directories above. */
    for (const struct dentry *up = dentry->parent; up; up = up->parent) {
        struct listing *above = find_locked(l, gofer_inode_of(up->inode));

        if (above)
            touch_locked(l, above);
    }
    old = find_locked(l, dir);
    if (!old && l->count == LISTINGS)
        old = list_last(&l->lru, struct listing, node);
    if (old)
        list_del_init(&old->node);
    else
        l->count++;
    list_add(&l->lru, &fresh->node);
    lock_release(&l->lock);
    listing_free(old);
}

/* Room for `size` bytes more; false: no more than that is kept. */
static bool make_room(struct listing *listing, size_t size)
{
    uint32_t room = listing->room ? 2 * listing->room : LISTING_FIRST;
    uint8_t *bytes;

    if (listing->size + size <= listing->room)
        return true;
    if (room > LISTING_BYTES)
        return false;
    bytes = realloc(listing->bytes, room);
    if (!bytes)
        return false;
    listing->bytes = bytes;
    listing->room = room;
    return true;
}

bool listing_note(struct listings *l, const struct gofer_inode *dir, int64_t from, struct name name,
                  uint8_t type, int64_t next)
{
    struct entry entry = {type, (uint8_t)name.size};
    struct listing *listing;
    bool noted;

    if (name.size > VFS_NAME_MAX)
        return false;
    lock_acquire(&l->lock);
    listing = find_locked(l, dir);
    noted = listing && listing->next == from && make_room(listing, sizeof(entry) + name.size);
    if (noted) {
        memcpy(listing->bytes + listing->size, &entry, sizeof(entry));
        memcpy(listing->bytes + listing->size + sizeof(entry), name.text, name.size);
        listing->size += (uint32_t)(sizeof(entry) + name.size);
        listing->next = next;
    }
    lock_release(&l->lock);
    return noted;
}

/* The entry at *at, which moves behind it; false: there is none. */
static bool take(const struct listing *listing, uint32_t *at, uint8_t *ret_type,
                 struct name *ret_name)
{
    struct entry entry;

    if (*at >= listing->size)
        return false;
    memcpy(&entry, listing->bytes + *at, sizeof(entry));
    *ret_type = entry.type;
    *ret_name =
        (struct name){(const char *)listing->bytes + *at + sizeof(entry), (size_t)entry.size};
    *at += (uint32_t)(sizeof(entry) + entry.size);
    return true;
}

/* Its type, and `last` is behind it; false: it was not listed, or not kept. */
static bool find_name(struct listing *listing, struct name name, uint8_t *ret_type)
{
    uint32_t at = listing->last, end = listing->size;
    struct name there;

    for (int round = 0; round < 2; round++) {
        while (at < end && take(listing, &at, ret_type, &there)) {
            if (name_same(there, name)) {
                listing->last = at;
                return true;
            }
        }
        end = listing->last;
        at = 0;
    }
    return false;
}

/* After a directory only directories: find(1) looks at no others. */
static bool is_next(struct name name, uint8_t type, bool directories)
{
    bool dots = name.text[0] == '.' && (name.size == 1 || (name.size == 2 && name.text[1] == '.'));

    return !dots && (!directories || type == DT_DIR);
}

/* How many to ask for along with `name`. */
static uint32_t how_many(const struct listing *listing, struct name name, bool directories)
{
    uint32_t at = listing->cursor;
    struct name next;
    uint8_t type;

    for (int i = 0; i < WINDOW && take(listing, &at, &type, &next); i++) {
        if (!is_next(next, type, directories))
            continue;
        if (!name_same(next, name))
            break;
        return listing->cursor == 0 ? FIRST_AHEAD : 2 * listing->ahead + 1;
    }
    return listing->ahead + 1;
}

static void collect(struct listing *listing, struct name name, bool directories, uint32_t max,
                    struct names_ahead *ret)
{
    struct name next;
    uint8_t type;

    for (int i = 0; i < WINDOW && (uint32_t)ret->count < max; i++) {
        if (!take(listing, &listing->cursor, &type, &next))
            break;
        if (!is_next(next, type, directories) || name_same(next, name))
            continue;
        memcpy(ret->text[ret->count], next.text, next.size);
        ret->names[ret->count] = (struct name){ret->text[ret->count], next.size};
        ret->count++;
    }
}

void listing_ahead(struct listings *l, const struct gofer_inode *dir, struct name name, int max,
                   struct names_ahead *ret)
{
    struct listing *listing;
    uint8_t type;

    ret->count = 0;
    lock_acquire(&l->lock);
    listing = find_locked(l, dir);
    if (listing && find_name(listing, name, &type)) {
        bool directories = type == DT_DIR;

        touch_locked(l, listing);
        listing->ahead = MIN(how_many(listing, name, directories), (uint32_t)max);
        collect(listing, name, directories, listing->ahead, ret);
    }
    lock_release(&l->lock);
}
