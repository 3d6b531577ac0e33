#include "sentry/net/rights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "sentry/net/caller.h"
#include "sentry/vfs/file.h"

#define USER_BUCKETS 64

/* How many descriptors of a user are in flight; there while any is. */
struct user_count {
    struct list node;
    uint32_t uid;
    uint64_t count;
};

static struct lock users_lock = LOCK_INIT;
static struct list users[USER_BUCKETS] __guarded_by(users_lock);

/*
 * Closing the last reference on a socket drops the rights in its queue, which may close sockets
 * again: a chain as long as the guest likes. So a thread that is at it already only notes more.
 */
static _Thread_local struct list *dropping;

struct net_rights *net_rights_create(uint32_t capacity)
{
    struct net_rights *rights = malloc(sizeof(*rights) + capacity * sizeof(struct file *));

    if (rights) {
        list_init(&rights->node);
        rights->count = 0;
        rights->counted = false;
    }
    return rights;
}

struct net_rights *net_rights_copy(const struct net_rights *rights)
{
    struct net_rights *copy = net_rights_create(rights->count);

    if (!copy)
        return NULL;
    copy->count = rights->count;
    for (uint32_t i = 0; i < rights->count; i++)
        copy->files[i] = file_ref(rights->files[i]);
    return copy;
}

static void drop(struct net_rights *rights)
{
    for (uint32_t i = 0; i < rights->count; i++)
        file_unref(rights->files[i]);
    free(rights);
}

struct net_rights *net_rights_free(struct net_rights *rights)
{
    struct list mine = LIST_INIT(mine);

    if (!rights)
        return NULL;
    if (dropping) {
        list_add_tail(dropping, &rights->node);
        return NULL;
    }
    dropping = &mine;
    drop(rights);
    while (!list_empty(&mine)) {
        struct net_rights *next = list_first(&mine, struct net_rights, node);

        list_del_init(&next->node);
        drop(next);
    }
    dropping = NULL;
    return NULL;
}

static struct user_count *find_locked(uint32_t uid, bool make)
{
    struct list *bucket = &users[uid % USER_BUCKETS];
    struct user_count *u;

    if (!bucket->next)
        list_init(bucket);
    list_for_each (u, bucket, node) {
        if (u->uid == uid)
            return u;
    }
    u = make ? calloc(1, sizeof(*u)) : NULL;
    if (u) {
        u->uid = uid;
        list_add(bucket, &u->node);
    }
    return u;
}

int net_rights_count(struct net_rights *rights)
{
    struct net_caller caller;
    struct user_count *u;
    int err = 0;

    net_caller(&caller);
    lock_acquire(&users_lock);
    u = find_locked(caller.uid, true);
    if (!u)
        err = -ENOMEM;
    else if (u->count > caller.nofile && !caller.may_exceed)
        err = -ETOOMANYREFS;
    else
        u->count += rights->count;
    if (u && u->count == 0) {
        list_del_init(&u->node);
        free(u);
    }
    lock_release(&users_lock);
    if (!err) {
        rights->uid = caller.uid;
        rights->counted = rights->count > 0;
    }
    return err;
}

void net_rights_uncount(struct net_rights *rights)
{
    struct user_count *u;

    if (!rights->counted)
        return;
    rights->counted = false;
    lock_acquire(&users_lock);
    u = find_locked(rights->uid, false);
    BUG_ON(!u || u->count < rights->count);
    u->count -= rights->count;
    if (u->count == 0) {
        list_del_init(&u->node);
        free(u);
    }
    lock_release(&users_lock);
}
