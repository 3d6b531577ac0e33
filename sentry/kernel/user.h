/* What the processes of one real user id are counted together for: RLIMIT_SIGPENDING. */
#ifndef SENTRY_KERNEL_USER_H
#define SENTRY_KERNEL_USER_H

#include "base/list.h"
#include "base/lock.h"

#define USER_BUCKETS 64

struct user {
    struct list node;
    uint32_t uid;
    uint64_t signals; /* queued ones and POSIX timers; the last one gone frees the user */
};

struct user_table {
    struct lock lock; /* innermost */
    struct list buckets[USER_BUCKETS] __guarded_by(lock);
};

void user_table_init(struct user_table *table);
/*
 * One more signal for the user, who has at most `limit` (UINT64_MAX: any number). NULL when there
 * are that many already, or no memory.
 */
struct user *user_charge_signal(struct user_table *table, uint32_t uid, uint64_t limit);
void user_uncharge_signal(struct user_table *table, struct user *user);
uint64_t user_signals(struct user_table *table, uint32_t uid);
/* Of all users. */
uint64_t user_all_signals(struct user_table *table);

#endif
