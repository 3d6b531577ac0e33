/*
 * add_key(2) and request_key(2) (Linux security/keys/request_key.c). No program is ever asked to
 * construct a key: Linux starts one outside of all containers, and where it cannot, the key is
 * negative for a minute.
 */
#include <errno.h>
#include <linux/keyctl.h>

#include "sentry/kernel/keys/key_internal.h"

#define NEGATIVE_SECONDS 60

/* What a key may that nobody gave a mask. */
static uint32_t default_perm(const struct key_type *type)
{
    unsigned possessor = KEY_VIEW | KEY_SEARCH | KEY_LINK | KEY_SETATTR;

    if (type->readable)
        possessor |= KEY_READ;
    if (type->updatable || type == &key_type_keyring)
        possessor |= KEY_WRITE;
    return KEY_POSSESSOR(possessor) | KEY_USER(KEY_VIEW);
}

int key_update_locked(struct task *task, struct key_ref ref, struct key_payload payload)
{
    int err = key_permission(task->cred, ref, KEY_WRITE);

    if (err < 0)
        return err;
    if (!ref.key->type->updatable)
        return -EOPNOTSUPP;
    err = key_payload_check(ref.key->type, payload);
    return err < 0 ? err : key_fill_locked(ref.key, payload);
}

static long create_in_locked(struct task *task, struct key *keyring, const struct key_type *type,
                             const struct key_request *request)
{
    const struct key_spec spec = {.type = type,
                                  .description = request->description,
                                  .uid = task->cred->fsuid,
                                  .gid = task->cred->fsgid,
                                  .perm = default_perm(type)};
    struct key *key;
    long err = key_create_locked(&spec, &key);

    if (err < 0)
        return err;
    err = key_fill_locked(key, request->payload);
    if (err == 0)
        err = keyring_link_locked(keyring, key);
    if (err == 0)
        err = key->serial;
    key_unref_locked(key);
    return err;
}

static long add_locked(struct task *task, const struct key_request *request)
{
    const struct key_type *type = key_type_find(request->type);
    struct key_ref keyring;
    struct key *old;
    long err = key_lookup_locked(task, request->keyring, KEY_LOOKUP_CREATE, KEY_WRITE, &keyring);

    if (err < 0)
        return err;
    if (!type)
        return -ENODEV;
    if (keyring.key->type != &key_type_keyring)
        return -ENOTDIR;
    err = key_payload_check(type, request->payload);
    if (err == 0 && !request->description)
        err = -EINVAL;
    if (err == 0)
        err = keyring_may_link_locked(keyring.key, NULL);
    if (err < 0)
        return err;
    old = type->updatable ? keyring_entry_locked(keyring.key, type, request->description) : NULL;
    if (!old || old->revoked || old->invalidated)
        return create_in_locked(task, keyring.key, type, request);
    err = key_update_locked(task, (struct key_ref){old, keyring.possessed}, request->payload);
    return err < 0 ? err : old->serial;
}

long key_add(struct task *task, const struct key_request *request)
{
    long result = key_prepare(task, request->keyring, KEY_LOOKUP_CREATE);

    if (result < 0)
        return result;
    key_lock();
    result = add_locked(task, request);
    key_unlock();
    return result;
}

/* construct_get_dest_keyring() without one that was named: where the task wants such keys. */
static int default_destination(const struct cred *cred)
{
    switch (cred->default_keyring) {
    case KEY_REQKEY_DEFL_USER_SESSION_KEYRING:
        return KEY_SPEC_USER_SESSION_KEYRING;
    case KEY_REQKEY_DEFL_USER_KEYRING:
        return KEY_SPEC_USER_KEYRING;
    case KEY_REQKEY_DEFL_SESSION_KEYRING:
        return KEY_SPEC_SESSION_KEYRING;
    default:
        if (cred->thread_keyring)
            return KEY_SPEC_THREAD_KEYRING;
        if (cred->process_keyring)
            return KEY_SPEC_PROCESS_KEYRING;
        return cred->session_keyring ? KEY_SPEC_SESSION_KEYRING : KEY_SPEC_USER_SESSION_KEYRING;
    }
}

/* Nobody can construct it: a negative key says so for a while. */
static long negate_locked(struct task *task, const struct key_request *request,
                          const struct key_type *type)
{
    int32_t id = request->keyring ? request->keyring : default_destination(task->cred);
    const struct key_spec spec = {.type = type,
                                  .description = request->description,
                                  .uid = task->cred->fsuid,
                                  .gid = task->cred->fsgid,
                                  .perm = default_perm(type)};
    struct key_ref keyring;
    struct key *key;
    int err;

    if (type == &key_type_keyring)
        return -EPERM;
    err = key_lookup_any_locked(task, id, &keyring);
    /* construct_get_dest_keyring(): one's own default keyring, too, may forbid it. */
    if (err == 0)
        err = key_permission(task->cred, (struct key_ref){keyring.key, true}, KEY_WRITE);
    if (err == 0)
        err = key_create_locked(&spec, &key);
    if (err < 0)
        return err;
    key->error = -ENOKEY;
    key->expiry = key_now() + NEGATIVE_SECONDS;
    err = keyring_link_locked(keyring.key, key);
    key_unref_locked(key);
    return err < 0 ? err : -ENOENT; /* as where there is no /sbin/request-key */
}

static long request_locked(struct task *task, const struct key_request *request)
{
    struct key_search search = {.cred = task->cred,
                                .type = key_type_find(request->type),
                                .description = request->description,
                                .skip_expired = true};
    struct key_ref destination = {0};
    struct key *found;
    int err = 0;

    if (request->keyring)
        err = key_lookup_locked(task, request->keyring, KEY_LOOKUP_CREATE, KEY_WRITE, &destination);
    if (err < 0)
        return err;
    if (!search.type)
        return -ENOKEY;
    found = key_search_all_locked(&search);
    if (!found) {
        if (search.result != -EAGAIN)
            return search.result;
        return request->construct ? negate_locked(task, request, search.type) : -ENOKEY;
    }
    if (destination.key) {
        err = key_permission(task->cred, (struct key_ref){found, true}, KEY_LINK);
        if (err == 0)
            err = keyring_link_locked(destination.key, found);
    }
    return err < 0 ? err : found->serial;
}

long key_request(struct task *task, const struct key_request *request)
{
    int32_t id = request->keyring ? request->keyring : default_destination(task->cred);
    long result = 0;

    if (request->keyring || request->construct)
        result = key_prepare(task, id, KEY_LOOKUP_CREATE);
    if (result < 0)
        return result;
    key_lock();
    result = request_locked(task, request);
    key_unlock();
    return result;
}
