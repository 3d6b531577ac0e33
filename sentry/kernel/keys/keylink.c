/* Operations of keyctl(2) with more than one key: linking, moving, searching. */
#include <errno.h>

#include "sentry/kernel/keys/key_internal.h"

static long link_locked(struct task *task, int32_t id, int32_t keyring_id)
{
    struct key_ref keyring, key;
    int err = key_lookup_locked(task, keyring_id, KEY_LOOKUP_CREATE, KEY_WRITE, &keyring);

    if (err == 0)
        err = key_lookup_locked(task, id, KEY_LOOKUP_CREATE, KEY_LINK, &key);
    return err < 0 ? err : keyring_link_locked(keyring.key, key.key);
}

long key_link(struct task *task, int32_t id, int32_t keyring)
{
    long result = key_prepare(task, keyring, KEY_LOOKUP_CREATE);

    if (result == 0)
        result = key_prepare(task, id, KEY_LOOKUP_CREATE);
    if (result < 0)
        return result;
    key_lock();
    result = link_locked(task, id, keyring);
    key_unlock();
    return result;
}

static long unlink_locked(struct task *task, int32_t id, int32_t keyring_id)
{
    struct key_ref keyring, key;
    int err = key_lookup_locked(task, keyring_id, 0, KEY_WRITE, &keyring);

    if (err == 0)
        err = key_lookup_any_locked(task, id, &key);
    return err < 0 ? err : keyring_unlink_locked(keyring.key, key.key);
}

long key_unlink(struct task *task, int32_t id, int32_t keyring)
{
    long result = key_prepare(task, keyring, 0);

    if (result == 0)
        result = key_prepare(task, id, 0);
    if (result < 0)
        return result;
    key_lock();
    result = unlink_locked(task, id, keyring);
    key_unlock();
    return result;
}

static int move_entry(struct key *key, struct key *from, struct key *to, bool exclusive)
{
    int err;

    if (from == to)
        return 0;
    if (from->type != &key_type_keyring || to->type != &key_type_keyring)
        return -ENOTDIR;
    if (keyring_entry_locked(from, key->type, key->description) != key)
        return -ENOENT;
    if (exclusive && keyring_entry_locked(to, key->type, key->description))
        return -EEXIST;
    err = keyring_link_locked(to, key);
    return err < 0 ? err : keyring_unlink_locked(from, key);
}

static long move_locked(struct task *task, int32_t id, int32_t from_id, int32_t to_id,
                        bool exclusive)
{
    struct key_ref key, from, to;
    int err = key_lookup_locked(task, id, KEY_LOOKUP_CREATE, KEY_LINK, &key);

    if (err == 0)
        err = key_lookup_locked(task, from_id, 0, KEY_WRITE, &from);
    if (err == 0)
        err = key_lookup_locked(task, to_id, KEY_LOOKUP_CREATE, KEY_WRITE, &to);
    return err < 0 ? err : move_entry(key.key, from.key, to.key, exclusive);
}

long key_move(struct task *task, int32_t id, int32_t from, int32_t to, bool exclusive)
{
    long result = key_prepare(task, id, KEY_LOOKUP_CREATE);

    if (result == 0)
        result = key_prepare(task, from, 0);
    if (result == 0)
        result = key_prepare(task, to, KEY_LOOKUP_CREATE);
    if (result < 0)
        return result;
    key_lock();
    result = move_locked(task, id, from, to, exclusive);
    key_unlock();
    return result;
}

static long search_locked(struct task *task, int32_t id, struct key_search *search,
                          int32_t destination_id, bool type_known)
{
    struct key_ref keyring, destination = {0};
    struct key *found;
    int err = key_lookup_locked(task, id, 0, KEY_SEARCH, &keyring);

    if (err == 0 && destination_id)
        err = key_lookup_locked(task, destination_id, KEY_LOOKUP_CREATE, KEY_WRITE, &destination);
    if (err < 0)
        return err;
    if (!type_known)
        return -ENOKEY;
    found = key_search_keyring_locked(search, keyring);
    if (!found)
        return search->result == -EAGAIN ? -ENOKEY : search->result;
    if (destination.key) {
        err = key_permission(task->cred, (struct key_ref){found, keyring.possessed}, KEY_LINK);
        if (err == 0)
            err = keyring_link_locked(destination.key, found);
    }
    return err < 0 ? err : found->serial;
}

long key_search(struct task *task, int32_t keyring, const char *type, const char *description,
                int32_t destination)
{
    struct key_search search = {
        .cred = task->cred, .type = key_type_find(type), .description = description};
    long result = key_prepare(task, keyring, 0);

    if (result == 0 && destination)
        result = key_prepare(task, destination, KEY_LOOKUP_CREATE);
    if (result < 0)
        return result;
    search.cred = task->cred; /* preparing may have replaced it */
    key_lock();
    result = search_locked(task, keyring, &search, destination, search.type);
    key_unlock();
    return result;
}
