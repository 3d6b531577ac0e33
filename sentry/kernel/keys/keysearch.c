/*
 * Finding keys: through one keyring and those in it, or through all that the caller has
 * (security/keys/keyring.c, process_keys.c). A keyring's own keys come before those of keyrings in
 * it. On the way the reason is noted why something that fits cannot be had.
 */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/keys/key_internal.h"

static bool matches(const struct key_search *search, const struct key *key)
{
    if (search->wanted)
        return key == search->wanted;
    return key->type == search->type && strcmp(key->description, search->description) == 0;
}

/* keyring_search_iterator(): may this one be had? */
static bool take(struct key_search *search, struct key *key)
{
    int err;

    if (!matches(search, key))
        return false;
    err = search->any_state ? 0 : key_validate_locked(key);
    if (err == -ENOKEY)
        err = -EKEYREVOKED; /* invalidated: as good as revoked */
    if (err == -EKEYEXPIRED && search->skip_expired)
        return false;
    if (err == 0 && !search->unchecked)
        err = key_permission(search->cred, (struct key_ref){key, true}, KEY_SEARCH);
    if (err == 0 && !search->any_state)
        err = key->error;
    if (err < 0)
        search->result = err;
    return err == 0;
}

static bool may_descend(const struct key_search *search, struct key *keyring)
{
    return keyring->type == &key_type_keyring && !keyring->revoked && !keyring->invalidated &&
           (search->unchecked ||
            key_permission(search->cred, (struct key_ref){keyring, true}, KEY_SEARCH) == 0);
}

static struct key *search_level(struct key_search *search, struct key *keyring, int depth)
{
    if (!keyring_visit_locked(keyring, search->walk, depth))
        return NULL;
    for (uint32_t i = 0; i < keyring->link_count; i++)
        if (take(search, keyring->links[i]))
            return keyring->links[i];
    for (uint32_t i = 0; i < keyring->link_count && depth < KEYRING_DEPTH_MAX; i++) {
        struct key *found = may_descend(search, keyring->links[i])
                                ? search_level(search, keyring->links[i], depth + 1)
                                : NULL;

        if (found)
            return found;
    }
    return NULL;
}

struct key *key_search_keyring_locked(struct key_search *search, struct key_ref keyring)
{
    int err;

    search->result = -EAGAIN;
    search->walk = ++key_space.walks;
    if (keyring.key->type != &key_type_keyring) {
        search->result = -ENOTDIR;
        return NULL;
    }
    err = search->unchecked ? 0 : key_permission(search->cred, keyring, KEY_SEARCH);
    if (err < 0) {
        search->result = err;
        return NULL;
    }
    if (take(search, keyring.key))
        return keyring.key;
    if (keyring.key->revoked || keyring.key->invalidated)
        return NULL;
    return search_level(search, keyring.key, 0);
}

/* search_process_keyrings_rcu(): a negative key found is remembered, other keyrings may do better.
 */
struct key *key_search_all_locked(struct key_search *search)
{
    const struct cred *cred = search->cred;
    const struct key_user *user = key_user_locked(cred->uid, false);
    struct key *const keyrings[] = {
        cred->thread_keyring,
        cred->process_keyring,
        cred->session_keyring ? cred->session_keyring : (user ? user->session : NULL),
    };
    int remembered = 0, last = -EAGAIN;

    for (size_t i = 0; i < ARRAY_COUNT(keyrings); i++) {
        struct key *found;

        if (!keyrings[i])
            continue;
        found = key_search_keyring_locked(search, (struct key_ref){keyrings[i], true});
        if (found)
            return found;
        if (search->result == -ENOKEY || (search->result == -EAGAIN && remembered))
            remembered = -ENOKEY;
        else
            last = search->result;
    }
    search->result = remembered ? remembered : last;
    return NULL;
}

bool key_possessed_locked(const struct cred *cred, struct key *key)
{
    struct key_search search = {.cred = cred, .wanted = key, .any_state = true};

    return key_search_all_locked(&search) == key;
}
