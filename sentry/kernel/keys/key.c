/* Keys, the users that they are counted for, and the types that there are. */
#include <errno.h>
#include <linux/keyctl.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/kernel/keys/key_internal.h"
#include "sentry/kernel/time/time.h"

#define SERIAL_MIN 3 /* as Linux: small numbers are too easily mistaken */

const struct key_type key_type_keyring = {.name = "keyring", .readable = true};
const struct key_type key_type_user = {
    .name = "user", .payload_max = 32767, .readable = true, .updatable = true};
/* Whose payload only the kernel itself may read. */
static const struct key_type key_type_logon = {
    .name = "logon", .payload_max = 32767, .updatable = true};
static const struct key_type key_type_big = {.name = "big_key",
                                             .payload_max = 1024 * 1024,
                                             .fixed_quota = 16,
                                             .readable = true,
                                             .updatable = true};
static const struct key_type *const types[] = {&key_type_keyring, &key_type_user, &key_type_logon,
                                               &key_type_big};

struct key_space key_space = {
    .lock = LOCK_INIT,
    .users = {&key_space.users, &key_space.users},
    .dying = {&key_space.dying, &key_space.dying},
};

struct key_limits key_limits = {
    .root_keys = 20000,
    .root_bytes = 25000000,
    .keys = 200,
    .bytes = 20000,
    .gc_delay = 300,
};

int64_t key_now(void)
{
    return (int64_t)(time_realtime_ns() / NSEC_PER_SEC);
}

const struct key_type *key_type_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

/* Where the serial is, or belongs. */
static uint32_t position(int32_t serial)
{
    uint32_t low = 0, high = key_space.count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (key_space.keys[middle]->serial < serial)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct key *key_find_locked(int32_t serial)
{
    uint32_t at = position(serial);

    return at < key_space.count && key_space.keys[at]->serial == serial ? key_space.keys[at] : NULL;
}

struct key *key_ref_locked(struct key *key)
{
    key->refs++;
    return key;
}

void key_unref_locked(struct key *key)
{
    if (!key)
        return;
    if (key->refs == 0)
        BUG("key %d has no reference to give back", key->serial);
    if (--key->refs == 0)
        list_add_tail(&key_space.dying, &key->dying);
}

struct key_user *key_user_locked(uint32_t uid, bool create)
{
    struct key_user *user;

    list_for_each (user, &key_space.users, node)
        if (user->uid == uid)
            return user;
    user = create ? calloc(1, sizeof(*user)) : NULL;
    if (!user)
        return NULL;
    user->uid = uid;
    list_add_tail(&key_space.users, &user->node);
    return user;
}

static void user_lost_key(struct key_user *user)
{
    if (user->keys > 0 || user->keyring || user->session)
        return;
    list_del_init(&user->node);
    free(user);
}

static void free_key(struct key *key)
{
    struct key_user *user = key->user;
    uint32_t at = position(key->serial);

    key_empty_locked(key);
    key_charge_locked(key, -(int64_t)key->quota, -(int64_t)key->memory);
    user->keys--;
    user->instantiated--;
    if (key->in_quota)
        user->quota_keys--;
    memmove(&key_space.keys[at], &key_space.keys[at + 1],
            (--key_space.count - at) * sizeof(struct key *));
    free(key);
    user_lost_key(user);
}

void key_lock(void)
{
    int64_t now = key_now();

    lock_acquire(&key_space.lock);
    if (now >= key_space.swept + 60) {
        key_space.swept = now;
        keyring_sweep_locked();
    }
}

/* One after the other, for a keyring's end ends others. */
void key_unlock(void)
{
    while (!list_empty(&key_space.dying)) {
        struct key *key = list_first(&key_space.dying, struct key, dying);

        list_del_init(&key->dying);
        free_key(key);
    }
    lock_release(&key_space.lock);
}

int key_charge_locked(struct key *key, int64_t quota, int64_t memory)
{
    struct key_user *user = key->user;
    int64_t limit = (int64_t)key_max_bytes(user->uid);

    if (memory > 0 && key_space.memory + (uint64_t)memory > KEY_BYTES_MAX)
        return -EDQUOT;
    if (key->in_quota) {
        if (quota > 0 && user->quota_bytes + quota > limit)
            return -EDQUOT;
        user->quota_bytes = (uint32_t)(user->quota_bytes + quota);
    }
    key->quota = (uint32_t)(key->quota + quota);
    key->memory = (uint64_t)((int64_t)key->memory + memory);
    key_space.memory = (uint64_t)((int64_t)key_space.memory + memory);
    return 0;
}

/* A random serial that nobody has, and its place in the table. -ENOMEM. */
static int enter(struct key *key)
{
    uint32_t at;

    if (key_space.count == key_space.room) {
        uint32_t room = MAX(64u, key_space.room * 2);
        struct key **keys = realloc(key_space.keys, room * sizeof(*keys));

        if (!keys)
            return -ENOMEM;
        key_space.keys = keys;
        key_space.room = room;
    }
    do {
        if (host_random(&key->serial, sizeof(key->serial)) < 0)
            return -ENOMEM;
        key->serial &= INT32_MAX;
    } while (key->serial < SERIAL_MIN || key_find_locked(key->serial));
    at = position(key->serial);
    memmove(&key_space.keys[at + 1], &key_space.keys[at],
            (key_space.count++ - at) * sizeof(struct key *));
    key_space.keys[at] = key;
    return 0;
}

/* "logon" keys say whom they are for: service:name. */
static int check_description(const struct key_spec *spec)
{
    const char *colon = strchr(spec->description, ':');

    if (!*spec->description)
        return -EINVAL;
    return spec->type == &key_type_logon && (!colon || colon == spec->description) ? -EINVAL : 0;
}

static int charge_new(struct key *key, const struct key_spec *spec, size_t length)
{
    uint64_t limit = key_max_keys(spec->uid);

    key->in_quota = !spec->over_quota;
    if (key_space.count >= KEYS_MAX || (key->in_quota && key->user->quota_keys >= limit))
        return -EDQUOT;
    return key_charge_locked(key, (int64_t)length + 1, (int64_t)(sizeof(*key) + length + 64));
}

int key_create_locked(const struct key_spec *spec, struct key **ret)
{
    size_t length = strlen(spec->description);
    struct key *key;
    int err = check_description(spec);

    if (err < 0)
        return err;
    key = calloc(1, sizeof(*key) + length + 1);
    if (!key)
        return -ENOMEM;
    key->user = key_user_locked(spec->uid, true);
    if (!key->user) {
        free(key);
        return -ENOMEM;
    }
    err = charge_new(key, spec, length);
    if (err == 0) {
        err = enter(key);
        if (err < 0)
            key_charge_locked(key, -(int64_t)key->quota, -(int64_t)key->memory);
    }
    if (err < 0) {
        user_lost_key(key->user);
        free(key);
        return err;
    }
    key->refs = 1;
    key->type = spec->type;
    key->uid = spec->uid;
    key->gid = spec->gid;
    key->perm = spec->perm;
    memcpy(key->description, spec->description, length + 1);
    list_init(&key->dying);
    key->user->keys++;
    key->user->instantiated++;
    if (key->in_quota)
        key->user->quota_keys++;
    *ret = key;
    return 0;
}

int key_payload_check(const struct key_type *type, struct key_payload payload)
{
    if (type == &key_type_keyring)
        return payload.size ? -EINVAL : 0;
    return payload.size == 0 || payload.size > type->payload_max ? -EINVAL : 0;
}

int key_fill_locked(struct key *key, struct key_payload payload)
{
    bool fixed = key->type->fixed_quota;
    int64_t quota =
        fixed ? (key->data ? 0 : key->type->fixed_quota) : (int64_t)payload.size - key->data_size;
    uint8_t *data;
    int err;

    if (key->type == &key_type_keyring)
        return 0;
    data = malloc(payload.size);
    if (!data)
        return -ENOMEM;
    err = key_charge_locked(key, quota, (int64_t)payload.size - key->data_size);
    if (err < 0) {
        free(data);
        return err;
    }
    memcpy(data, payload.data, payload.size);
    if (key->data)
        explicit_bzero(key->data, key->data_size);
    free(key->data);
    key->data = data;
    key->data_size = (uint32_t)payload.size;
    key->error = 0;
    return 0;
}

/* What was charged for the payload, or for the links, is given back. */
void key_empty_locked(struct key *key)
{
    int64_t quota = key->type->fixed_quota && key->data ? key->type->fixed_quota : key->data_size;

    quota += (int64_t)key->link_count * KEYRING_LINK_COST;
    key_charge_locked(key, -quota,
                      -(int64_t)key->data_size - (int64_t)key->link_count * KEY_LINK_MEMORY);
    for (uint32_t i = 0; i < key->link_count; i++)
        key_unref_locked(key->links[i]);
    if (key->data)
        explicit_bzero(key->data, key->data_size);
    free(key->data);
    free(key->links);
    key->data = NULL;
    key->links = NULL;
    key->data_size = key->link_count = key->link_room = 0;
}

/* key_validate() */
int key_validate_locked(const struct key *key)
{
    if (key->invalidated)
        return -ENOKEY;
    if (key->revoked)
        return -EKEYREVOKED;
    return key->expiry && key_now() >= key->expiry ? -EKEYEXPIRED : 0;
}

/* key_task_permission() */
int key_permission(const struct cred *cred, struct key_ref ref, unsigned rights)
{
    const struct key *key = ref.key;
    uint32_t granted = key->perm;

    if (key->uid == cred->fsuid)
        granted = key->perm >> 16;
    else if (key->gid != UINT32_MAX && (key->perm & KEY_GROUP(KEY_RIGHTS)) &&
             cred_in_group(cred, key->gid))
        granted = key->perm >> 8;
    if (ref.possessed)
        granted |= key->perm >> 24;
    return (granted & rights) == rights ? 0 : -EACCES;
}
