/*
 * The links of keyrings. A keyring holds one key of each type and description: a new one takes the
 * old one's place. Nothing may contain itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/keys/key_internal.h"

struct key *keyring_entry_locked(const struct key *keyring, const struct key_type *type,
                                 const char *description)
{
    for (uint32_t i = 0; i < keyring->link_count; i++) {
        struct key *key = keyring->links[i];

        if (key->type == type && strcmp(key->description, description) == 0)
            return key;
    }
    return NULL;
}

bool keyring_visit_locked(struct key *keyring, uint64_t walk, int depth)
{
    if (keyring->visit == walk && keyring->visit_depth <= depth)
        return false;
    keyring->visit = walk;
    keyring->visit_depth = depth;
    return true;
}

/* keyring_detect_cycle(): -EDEADLK when `sought` is below, -ELOOP when that is too deep to tell. */
static int look_below(struct key *keyring, const struct key *sought, uint64_t walk, int depth)
{
    int err = 0;

    if (keyring == sought)
        return -EDEADLK;
    if (!keyring_visit_locked(keyring, walk, depth))
        return 0;
    for (uint32_t i = 0; i < keyring->link_count && err == 0; i++) {
        struct key *key = keyring->links[i];

        if (key->type != &key_type_keyring)
            continue;
        err = depth >= KEYRING_DEPTH_MAX ? -ELOOP : look_below(key, sought, walk, depth + 1);
    }
    return err;
}

int keyring_may_link_locked(struct key *keyring, struct key *key)
{
    if (keyring->type != &key_type_keyring)
        return -ENOTDIR;
    if (keyring->revoked || keyring->invalidated)
        return -EKEYREVOKED;
    if (keyring->restricted)
        return -EPERM;
    if (!key || key->type != &key_type_keyring)
        return 0;
    return look_below(key, keyring, ++key_space.walks, 0);
}

/* A keyring knows its keys by their names: also one to be taken out. */
static bool same_name(const struct key *a, const struct key *b)
{
    return a->type == b->type && strcmp(a->description, b->description) == 0;
}

/* Replaces what has the same name there, at no cost; otherwise it is one link more. */
int keyring_link_locked(struct key *keyring, struct key *key)
{
    int err = keyring_may_link_locked(keyring, key);

    if (err < 0)
        return err;
    for (uint32_t i = 0; i < keyring->link_count; i++) {
        struct key *old = keyring->links[i];

        if (!same_name(old, key))
            continue;
        keyring->links[i] = key_ref_locked(key);
        key_unref_locked(old);
        return 0;
    }
    if (keyring->link_count == keyring->link_room) {
        uint32_t room = MAX(4u, keyring->link_room * 2);
        struct key **links = realloc(keyring->links, room * sizeof(*links));

        if (!links)
            return -ENOMEM;
        keyring->links = links;
        keyring->link_room = room;
    }
    err = key_charge_locked(keyring, KEYRING_LINK_COST, KEY_LINK_MEMORY);
    if (err == 0)
        keyring->links[keyring->link_count++] = key_ref_locked(key);
    return err;
}

static void remove_at(struct key *keyring, uint32_t at)
{
    key_unref_locked(keyring->links[at]);
    keyring->links[at] = keyring->links[--keyring->link_count];
    key_charge_locked(keyring, -KEYRING_LINK_COST, -KEY_LINK_MEMORY);
}

int keyring_unlink_locked(struct key *keyring, struct key *key)
{
    if (keyring->type != &key_type_keyring)
        return -ENOTDIR;
    for (uint32_t i = 0; i < keyring->link_count; i++) {
        if (!same_name(keyring->links[i], key))
            continue;
        remove_at(keyring, i);
        return 0;
    }
    return -ENOENT;
}

void keyring_forget_locked(struct key *key)
{
    for (uint32_t i = 0; i < key_space.count; i++) {
        struct key *keyring = key_space.keys[i];

        for (uint32_t at = 0; at < keyring->link_count; at++) {
            if (keyring->links[at] != key)
                continue;
            remove_at(keyring, at);
            break;
        }
    }
}

static bool is_over(const struct key *key, int64_t now)
{
    int64_t delay = (int64_t)__atomic_load_n(&key_limits.gc_delay, __ATOMIC_RELAXED);

    return key->invalidated || (key->revoked && now >= key->ended + delay) ||
           (key->expiry && now >= key->expiry + delay);
}

/* What has been over for long leaves every keyring, and with that the world. */
void keyring_sweep_locked(void)
{
    int64_t now = key_now();

    for (uint32_t i = 0; i < key_space.count; i++) {
        struct key *keyring = key_space.keys[i];

        for (uint32_t at = 0; at < keyring->link_count;)
            if (is_over(keyring->links[at], now))
                remove_at(keyring, at);
            else
                at++;
    }
}
