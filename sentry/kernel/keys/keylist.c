/* The lines of /proc/keys and /proc/key-users (security/keys/proc.c). */
#include <inttypes.h>
#include <stdio.h>

#include "sentry/kernel/keys/key_internal.h"

static const char *time_left(const struct key *key, char *buf, size_t size)
{
    int64_t left = key->expiry - key_now();
    static const struct {
        int64_t below, unit;
        char letter;
    } units[] = {
        {60, 1, 's'},         {3600, 60, 'm'},          {86400, 3600, 'h'},
        {604800, 86400, 'd'}, {INT64_MAX, 604800, 'w'},
    };

    if (!key->expiry)
        return "perm";
    if (left <= 0)
        return "expd";
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (left >= units[i].below)
            continue;
        snprintf(buf, size, "%" PRId64 "%c", left / units[i].unit, units[i].letter);
        break;
    }
    return buf;
}

static void show(const struct cred *viewer, const struct key *key, char *buf, size_t size)
{
    char left[24], rest[24] = "";

    if (key->type == &key_type_keyring)
        snprintf(rest, sizeof(rest), key->link_count ? ": %u" : ": empty", key->link_count);
    else if (key->error == 0)
        snprintf(rest, sizeof(rest), ": %u", key->data_size);
    snprintf(buf, size, "%08x I%c-%c-%c%c %5u %4s %08x %5u %5u %-9.9s %s%s\n",
             (unsigned)key->serial, key->revoked ? 'R' : '-', key->in_quota ? 'Q' : '-',
             key->error ? 'N' : '-', key->invalidated ? 'i' : '-', key->refs,
             time_left(key, left, sizeof(left)), key->perm, cred_shown_uid(viewer, key->uid),
             cred_shown_gid(viewer, key->gid), key->type->name, key->description, rest);
}

int64_t key_list(struct task *task, int64_t from, char *buf, size_t size)
{
    int64_t serial = -1;

    key_lock();
    for (uint32_t i = 0; i < key_space.count; i++) {
        struct key *key = key_space.keys[i];
        struct key_ref ref = {key, false};

        if (key->serial < from || key->refs == 0)
            continue;
        if (key->perm & KEY_POSSESSOR(KEY_VIEW))
            ref.possessed = key_possessed_locked(task->cred, key);
        if (key_permission(task->cred, ref, KEY_VIEW) < 0)
            continue;
        show(task->cred, key, buf, size);
        serial = key->serial;
        break;
    }
    key_unlock();
    return serial;
}

int64_t key_list_users(int64_t from, char *buf, size_t size)
{
    const struct key_user *user, *next = NULL;
    int64_t uid = -1;

    key_lock();
    list_for_each (user, &key_space.users, node)
        if (user->uid >= from && (!next || user->uid < next->uid))
            next = user;
    if (next) {
        uid = next->uid;
        snprintf(buf, size, "%5u: %5u %u/%u %u/%lu %u/%lu\n", next->uid, next->keys, next->keys,
                 next->instantiated, next->quota_keys, key_max_keys(next->uid), next->quota_bytes,
                 key_max_bytes(next->uid));
    }
    key_unlock();
    return uid;
}
