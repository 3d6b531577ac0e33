#include "sentry/fs/event/account.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/vfs/attr/identity.h"

static struct watch_account *find_or_make(struct list *accounts, uint32_t uid)
{
    struct watch_account *a;

    list_for_each (a, accounts, node) {
        if (a->uid == uid)
            return a;
    }
    a = calloc(1, sizeof(*a));
    if (a) {
        a->uid = uid;
        list_add_tail(accounts, &a->node);
    }
    return a;
}

static void free_unused(struct watch_account *account)
{
    if (account->groups > 0)
        return;
    list_del_init(&account->node);
    free(account);
}

int watch_account_join_locked(struct list *accounts, uint32_t max, struct watch_account **ret)
{
    struct watch_account *account = find_or_make(accounts, vfs_identity()->uid);

    if (!account)
        return -ENOMEM;
    if (account->groups >= max) {
        free_unused(account);
        return -EMFILE;
    }
    account->groups++;
    *ret = account;
    return 0;
}

void watch_account_leave_locked(struct watch_account *account)
{
    account->groups--;
    free_unused(account);
}
