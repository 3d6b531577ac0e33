#include "sentry/kernel/user.h"

#include <stdlib.h>

void user_table_init(struct user_table *table)
{
    lock_init(&table->lock);
    for (int i = 0; i < USER_BUCKETS; i++)
        list_init(&table->buckets[i]);
}

static struct user *find_locked(struct user_table *table, uint32_t uid) __must_hold(table->lock)
{
    struct list *bucket = &table->buckets[uid % USER_BUCKETS];
    struct user *user;

    list_for_each (user, bucket, node) {
        if (user->uid == uid)
            return user;
    }
    return NULL;
}

static struct user *create_locked(struct user_table *table, uint32_t uid) __must_hold(table->lock)
{
    struct user *user = calloc(1, sizeof(*user));

    if (!user)
        return NULL;
    user->uid = uid;
    list_add(&table->buckets[uid % USER_BUCKETS], &user->node);
    return user;
}

struct user *user_charge_signal(struct user_table *table, uint32_t uid, uint64_t limit)
{
    struct user *user = NULL;

    if (limit == 0)
        return NULL;
    lock_acquire(&table->lock);
    user = find_locked(table, uid);
    if (!user)
        user = create_locked(table, uid);
    else if (user->signals >= limit)
        user = NULL;
    if (user)
        user->signals++;
    lock_release(&table->lock);
    return user;
}

void user_uncharge_signal(struct user_table *table, struct user *user)
{
    lock_acquire(&table->lock);
    if (--user->signals == 0) {
        list_del_init(&user->node);
        free(user);
    }
    lock_release(&table->lock);
}

uint64_t user_signals(struct user_table *table, uint32_t uid)
{
    struct user *user;
    uint64_t signals;

    lock_acquire(&table->lock);
    user = find_locked(table, uid);
    signals = user ? user->signals : 0;
    lock_release(&table->lock);
    return signals;
}

uint64_t user_all_signals(struct user_table *table)
{
    uint64_t signals = 0;
    struct user *user;

    lock_acquire(&table->lock);
    for (int i = 0; i < USER_BUCKETS; i++) {
        list_for_each (user, &table->buckets[i], node)
            signals += user->signals;
    }
    lock_release(&table->lock);
    return signals;
}
