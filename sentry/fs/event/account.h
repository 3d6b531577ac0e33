/*
 * How many groups of watches, and watches in all of them, a user has: inotify(7) and fanotify(7)
 * limit both. A list of accounts is guarded by a lock of whoever has it.
 */
#ifndef SENTRY_FS_EVENT_ACCOUNT_H
#define SENTRY_FS_EVENT_ACCOUNT_H

#include "base/list.h"

struct watch_account {
    struct list node;
    uint32_t uid, groups;
    uint32_t watches; /* counted by those who make them */
};

/* The caller's user has one group more. -EMFILE: `max` there are already; -ENOMEM. */
int watch_account_join_locked(struct list *accounts, uint32_t max, struct watch_account **ret);
/* And one less, without watches. */
void watch_account_leave_locked(struct watch_account *account);

#endif
