/*
 * Remembered names: what a name in a directory means, or that there is none. A hash table with a
 * limit in bytes, from which the names not used for the longest time go. A name holds references on
 * its directory's inode, by which it is found, and on its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "host/clock.h"
#include "sentry/fs/gofer/goferfs.h"
#include "sentry/fs/gofer/internal.h"

#define NAME_BUCKETS 16384
#define RECHECK_NS   (GOFER_RECHECK_SECONDS * 1000000000UL)
/* What malloc adds to each of up to four blocks. */
#define BLOCK_COST 16

struct cached_name {
    struct cached_name *next; /* in its bucket */
    struct list lru;
    struct gofer_inode *dir;   /* owned reference */
    struct gofer_inode *inode; /* owned reference; NULL: there is no such name */
    struct stamp stamp;        /* the directory's, from before the host looked */
    uint64_t since_ns;         /* CLOCK_MONOTONIC_COARSE */
    uint32_t bytes;
    uint32_t name_size;
    char name[];
};

static uint32_t cost(const struct gofer_inode *inode, struct name name)
{
    size_t bytes = sizeof(struct cached_name) + name.size + BLOCK_COST;

    if (inode)
        bytes += sizeof(*inode) + BLOCK_COST;
    if (inode && inode->target)
        bytes += strlen(inode->target) + BLOCK_COST;
    /* The handle that there may be, with a name. */
    return (uint32_t)(inode ? bytes + sizeof(struct host_file) + BLOCK_COST : bytes);
}

int namecache_init(struct namecache *cache, size_t limit)
{
    lock_init(&cache->lock);
    list_init(&cache->lru);
    cache->limit = limit;
    cache->buckets = calloc(NAME_BUCKETS, sizeof(struct cached_name *));
    return cache->buckets ? 0 : -ENOMEM;
}

static struct cached_name **find_locked(struct namecache *cache, const struct gofer_inode *dir,
                                        struct name name)
{
    uint64_t hash = XXH3_64bits_withSeed(name.text, name.size, (uintptr_t)dir);
    struct cached_name **at = &cache->buckets[hash % NAME_BUCKETS];

    while (*at && !((*at)->dir == dir && (*at)->name_size == name.size &&
                    memcmp((*at)->name, name.text, name.size) == 0))
        at = &(*at)->next;
    return at;
}

/* Out of the table and into `gone`, for free_all() without the lock. */
static void remove_locked(struct namecache *cache, struct cached_name **at, struct list *gone)
{
    struct cached_name *entry = *at;

    *at = entry->next;
    list_del_init(&entry->lru);
    cache->bytes -= entry->bytes;
    list_add(gone, &entry->lru);
}

static void free_all(struct list *gone)
{
    while (!list_empty(gone)) {
        struct cached_name *entry = list_first(gone, struct cached_name, lru);

        list_del_init(&entry->lru);
        if (entry->inode)
            inode_unref(&entry->inode->inode);
        inode_unref(&entry->dir->inode);
        free(entry);
    }
}

static void shrink_locked(struct namecache *cache, size_t limit, struct list *gone)
{
    while (cache->bytes > limit) {
        struct cached_name *last = list_entry(cache->lru.prev, struct cached_name, lru);

        remove_locked(
            cache, find_locked(cache, last->dir, (struct name){last->name, last->name_size}), gone);
    }
}

void namecache_clear(struct namecache *cache)
{
    struct list gone = LIST_INIT(gone);

    lock_acquire(&cache->lock);
    shrink_locked(cache, 0, &gone);
    lock_release(&cache->lock);
    free_all(&gone);
    free(cache->buckets);
    lock_destroy(&cache->lock);
}

enum cache_answer namecache_find(struct namecache *cache, struct gofer_inode *dir, struct name name,
                                 const struct stamp *stamp, struct gofer_inode **ret_inode)
{
    uint64_t now = stamp ? host_clock_ns(CLOCK_MONOTONIC_COARSE) : 0;
    enum cache_answer answer = NAME_UNKNOWN;
    struct cached_name *entry;

    *ret_inode = NULL;
    lock_acquire(&cache->lock);
    entry = *find_locked(cache, dir, name);
    if (entry) {
        list_del_init(&entry->lru);
        list_add(&cache->lru, &entry->lru);
        if (entry->inode) {
            inode_ref(&entry->inode->inode);
            *ret_inode = entry->inode;
        }
        if (stamp && (!stamp_same(&entry->stamp, stamp) || now - entry->since_ns > RECHECK_NS))
            answer = NAME_STALE;
        else
            answer = entry->inode ? NAME_FOUND : NAME_ABSENT;
    }
    lock_release(&cache->lock);
    return answer;
}

void namecache_put(struct namecache *cache, struct gofer_inode *dir, struct name name,
                   struct gofer_inode *inode, const struct stamp *stamp)
{
    struct cached_name *entry = malloc(sizeof(*entry) + name.size), **at;
    struct list gone = LIST_INIT(gone);

    if (!entry)
        return;
    *entry = (struct cached_name){
        .dir = dir,
        .inode = inode,
        .stamp = *stamp,
        .since_ns = host_clock_ns(CLOCK_MONOTONIC_COARSE),
        .bytes = cost(inode, name),
        .name_size = (uint32_t)name.size,
    };
    memcpy(entry->name, name.text, name.size);
    inode_ref(&dir->inode);
    if (inode)
        inode_ref(&inode->inode);
    lock_acquire(&cache->lock);
    at = find_locked(cache, dir, name);
    if (*at)
        remove_locked(cache, at, &gone);
    entry->next = *at;
    *at = entry;
    list_add(&cache->lru, &entry->lru);
    cache->bytes += entry->bytes;
    shrink_locked(cache, cache->limit, &gone);
    lock_release(&cache->lock);
    free_all(&gone);
}

void namecache_forget(struct namecache *cache, struct gofer_inode *dir, struct name name)
{
    struct list gone = LIST_INIT(gone);
    struct cached_name **at;

    lock_acquire(&cache->lock);
    at = find_locked(cache, dir, name);
    if (*at)
        remove_locked(cache, at, &gone);
    lock_release(&cache->lock);
    free_all(&gone);
}
