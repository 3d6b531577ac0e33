/* What is done with keys: the operations of keyctl(2) (Linux security/keys/keyctl.c). */
#include <errno.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/keys/key_internal.h"

#define PERM_ALL 0x3f3f3f3fU

long key_get_keyring_id(struct task *task, int32_t id, bool create)
{
    unsigned lookup = create ? KEY_LOOKUP_CREATE : 0;
    struct key_ref ref;
    long result = key_prepare(task, id, lookup);

    if (result < 0)
        return result;
    key_lock();
    result = key_lookup_locked(task, id, lookup, KEY_SEARCH, &ref);
    if (result == 0)
        result = ref.key->serial;
    key_unlock();
    return result;
}

/* Looks one key up and lets `fn` work on it, under the lock. */
static long with_key(struct task *task, int32_t id, unsigned lookup, unsigned rights,
                     long (*fn)(struct task *task, struct key_ref ref, void *arg), void *arg)
{
    struct key_ref ref;
    long result = key_prepare(task, id, lookup);

    if (result < 0)
        return result;
    key_lock();
    result = key_lookup_locked(task, id, lookup, rights, &ref);
    if (result == 0)
        result = fn(task, ref, arg);
    key_unlock();
    return result;
}

static long do_update(struct task *task, struct key_ref ref, void *arg)
{
    return key_update_locked(task, ref, *(struct key_payload *)arg);
}

long key_update(struct task *task, int32_t id, struct key_payload payload)
{
    return with_key(task, id, 0, KEY_WRITE, do_update, &payload);
}

static long do_revoke(struct task *task, struct key_ref ref, void *arg)
{
    ref.key->revoked = true;
    ref.key->ended = key_now();
    key_empty_locked(ref.key);
    return 0;
}

/* Who may change its attributes may revoke it as well. */
long key_revoke(struct task *task, int32_t id)
{
    long result = with_key(task, id, 0, KEY_WRITE, do_revoke, NULL);

    return result == -EACCES ? with_key(task, id, 0, KEY_SETATTR, do_revoke, NULL) : result;
}

static long do_invalidate(struct task *task, struct key_ref ref, void *arg)
{
    ref.key->invalidated = true;
    keyring_forget_locked(ref.key);
    return 0;
}

long key_invalidate(struct task *task, int32_t id)
{
    return with_key(task, id, 0, KEY_SEARCH, do_invalidate, NULL);
}

/* The key counts for another user from now on. */
static long give_to(struct key *key, uint32_t uid)
{
    uint64_t max_keys = key_max_keys(uid), max_bytes = key_max_bytes(uid);
    struct key_user *user = key_user_locked(uid, true), *old = key->user;

    if (!user)
        return -ENOMEM;
    if (key->in_quota) {
        if (user->quota_keys + 1 > max_keys || user->quota_bytes + key->quota > max_bytes)
            return -EDQUOT;
        old->quota_keys--;
        old->quota_bytes -= key->quota;
        user->quota_keys++;
        user->quota_bytes += key->quota;
    }
    old->keys--;
    old->instantiated--;
    user->keys++;
    user->instantiated++;
    key->user = user;
    key->uid = uid;
    return 0;
}

static long do_chown(struct task *task, struct key_ref ref, void *arg)
{
    const uint32_t *ids = arg;
    struct key *key = ref.key;
    long err = 0;

    if (!task_has_cap(task, CAP_SYS_ADMIN)) {
        if (ids[0] != UINT32_MAX && ids[0] != key->uid)
            return -EACCES;
        if (ids[1] != UINT32_MAX && ids[1] != key->gid && !cred_in_group(task->cred, ids[1]))
            return -EACCES;
    }
    if (ids[0] != UINT32_MAX && ids[0] != key->uid)
        err = give_to(key, ids[0]);
    if (err == 0 && ids[1] != UINT32_MAX)
        key->gid = ids[1];
    return err;
}

long key_chown(struct task *task, int32_t id, uint32_t uid, uint32_t gid)
{
    uint32_t ids[] = {uid, gid};

    if (uid == UINT32_MAX && gid == UINT32_MAX)
        return 0;
    ids[0] = cred_kernel_uid(task->cred, uid);
    ids[1] = cred_kernel_gid(task->cred, gid);
    if ((uid != UINT32_MAX && ids[0] == UINT32_MAX) || (gid != UINT32_MAX && ids[1] == UINT32_MAX))
        return -EINVAL;
    return with_key(task, id, KEY_LOOKUP_CREATE | KEY_LOOKUP_PARTIAL, KEY_SETATTR, do_chown, ids);
}

static long do_setperm(struct task *task, struct key_ref ref, void *arg)
{
    if (ref.key->uid != task->cred->fsuid && !task_has_cap(task, CAP_SYS_ADMIN))
        return -EACCES;
    ref.key->perm = *(uint32_t *)arg;
    return 0;
}

long key_setperm(struct task *task, int32_t id, uint32_t perm)
{
    if (perm & ~PERM_ALL)
        return -EINVAL;
    return with_key(task, id, KEY_LOOKUP_CREATE | KEY_LOOKUP_PARTIAL, KEY_SETATTR, do_setperm,
                    &perm);
}

static long do_set_timeout(struct task *task, struct key_ref ref, void *arg)
{
    uint32_t seconds = *(uint32_t *)arg;

    ref.key->expiry = seconds ? key_now() + seconds : 0;
    return 0;
}

long key_set_timeout(struct task *task, int32_t id, uint32_t seconds)
{
    return with_key(task, id, KEY_LOOKUP_CREATE | KEY_LOOKUP_PARTIAL, KEY_SETATTR, do_set_timeout,
                    &seconds);
}

static long do_clear(struct task *task, struct key_ref ref, void *arg)
{
    if (ref.key->type != &key_type_keyring)
        return -ENOTDIR;
    key_empty_locked(ref.key);
    return 0;
}

long key_clear(struct task *task, int32_t id)
{
    return with_key(task, id, KEY_LOOKUP_CREATE, KEY_WRITE, do_clear, NULL);
}

static long do_restrict(struct task *task, struct key_ref ref, void *arg)
{
    const char *type = arg;

    if (ref.key->type != &key_type_keyring)
        return -ENOTDIR;
    if (type)
        return key_type_find(type) ? -ENOENT : -ENOKEY; /* no type of ours has restrictions */
    if (ref.key->restricted)
        return -EEXIST;
    ref.key->restricted = true;
    return 0;
}

long key_restrict(struct task *task, int32_t id, const char *type)
{
    return with_key(task, id, 0, KEY_SETATTR, do_restrict, (void *)type);
}

static long do_describe(struct task *task, struct key_ref ref, void *arg)
{
    const struct key *key = ref.key;
    int n = asprintf((char **)arg, "%s;%d;%d;%08x;%s", key->type->name,
                     (int)cred_shown_uid(task->cred, key->uid),
                     (int)cred_shown_gid(task->cred, key->gid), key->perm, key->description);

    return n < 0 ? -ENOMEM : n + 1;
}

long key_describe(struct task *task, int32_t id, char **ret_text)
{
    return with_key(task, id, KEY_LOOKUP_PARTIAL, KEY_VIEW, do_describe, ret_text);
}

static long nothing(struct task *task, struct key_ref ref, void *arg)
{
    return 0;
}

long key_may_view(struct task *task, int32_t id)
{
    return with_key(task, id, KEY_LOOKUP_PARTIAL, KEY_VIEW, nothing, NULL);
}

/* Read rights, or that the key can be found from the caller's own keyrings. */
static int may_read(struct task *task, struct key_ref ref)
{
    int err = ref.key->error;

    if (err == 0)
        err = key_permission(task->cred, ref, KEY_READ);
    if (err == -EACCES && ref.possessed)
        err = 0;
    if (err == 0)
        err = key_validate_locked(ref.key);
    return err < 0 || ref.key->type->readable ? err : -EOPNOTSUPP;
}

static long read_locked(struct task *task, int32_t id, size_t size, void **ret_data)
{
    struct key_ref ref;
    size_t length;
    int32_t *serials;
    int err = key_lookup_any_locked(task, id, &ref);

    err = err < 0 ? -ENOKEY : may_read(task, ref);
    if (err < 0)
        return err;
    length = ref.key->type == &key_type_keyring ? ref.key->link_count * sizeof(int32_t)
                                                : ref.key->data_size;
    if (length == 0 || size < length)
        return (long)length;
    *ret_data = malloc(length);
    if (!*ret_data)
        return -ENOMEM;
    serials = *ret_data;
    if (ref.key->type != &key_type_keyring)
        memcpy(*ret_data, ref.key->data, length);
    else
        for (uint32_t i = 0; i < ref.key->link_count; i++)
            serials[i] = ref.key->links[i]->serial;
    return (long)length;
}

long key_read(struct task *task, int32_t id, size_t size, void **ret_data)
{
    long result = key_prepare(task, id, 0);

    if (result < 0)
        return -ENOKEY;
    key_lock();
    result = read_locked(task, id, size, ret_data);
    key_unlock();
    return result;
}

long key_set_default(struct task *task, int32_t where)
{
    int32_t old = task->cred->default_keyring;
    struct cred *cred;
    int err = 0;

    switch (where) {
    case KEY_REQKEY_DEFL_NO_CHANGE:
        return old;
    case KEY_REQKEY_DEFL_THREAD_KEYRING:
        err = key_prepare(task, KEY_SPEC_THREAD_KEYRING, KEY_LOOKUP_CREATE);
        break;
    case KEY_REQKEY_DEFL_PROCESS_KEYRING:
        err = key_prepare(task, KEY_SPEC_PROCESS_KEYRING, KEY_LOOKUP_CREATE);
        break;
    case KEY_REQKEY_DEFL_DEFAULT:
    case KEY_REQKEY_DEFL_SESSION_KEYRING:
    case KEY_REQKEY_DEFL_USER_KEYRING:
    case KEY_REQKEY_DEFL_USER_SESSION_KEYRING:
    case KEY_REQKEY_DEFL_REQUESTOR_KEYRING:
        break;
    default:
        return -EINVAL;
    }
    cred = err < 0 ? NULL : cred_copy(task->cred, task->cred->group_count);
    if (!cred)
        return err < 0 ? err : -ENOMEM;
    cred->default_keyring = (uint8_t)where;
    task_set_cred(task, cred);
    return old;
}
