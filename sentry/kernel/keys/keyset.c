/*
 * The keyrings that a task has without naming them by a number (security/keys/process_keys.c). They
 * hang on its identity, which never changes in place: to get one, the task gets a new identity.
 */
#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>

#include "sentry/kernel/keys/key_internal.h"

#define ALL_POSSESSOR KEY_POSSESSOR(KEY_RIGHTS)
#define USER_KEYRING_PERM                                                                          \
    (KEY_POSSESSOR(KEY_RIGHTS & ~KEY_SETATTR) | KEY_USER(KEY_RIGHTS)) /* _uid.N, _uid_ses.N */

void key_cred_copied(struct cred *cred)
{
    struct key *keyrings[] = {cred->thread_keyring, cred->process_keyring, cred->session_keyring};

    if (!keyrings[0] && !keyrings[1] && !keyrings[2])
        return;
    key_lock();
    for (size_t i = 0; i < ARRAY_COUNT(keyrings); i++)
        if (keyrings[i])
            key_ref_locked(keyrings[i]);
    key_unlock();
}

void key_cred_freed(struct cred *cred)
{
    if (!cred->thread_keyring && !cred->process_keyring && !cred->session_keyring)
        return;
    key_lock();
    key_unref_locked(cred->thread_keyring);
    key_unref_locked(cred->process_keyring);
    key_unref_locked(cred->session_keyring);
    key_unlock();
}

static void drop(struct key **keyring)
{
    if (!*keyring)
        return;
    key_lock();
    key_unref_locked(*keyring);
    key_unlock();
    *keyring = NULL;
}

void key_cred_exec(struct cred *cred)
{
    drop(&cred->thread_keyring);
    drop(&cred->process_keyring);
}

/* A keyring for one identity; a reference for the caller. */
static int create_keyring(const struct cred *cred, const char *name, uint32_t perm, bool over_quota,
                          struct key **ret)
{
    const struct key_spec spec = {.type = &key_type_keyring,
                                  .description = name,
                                  .uid = cred->uid,
                                  .gid = cred->gid,
                                  .perm = perm,
                                  .over_quota = over_quota};
    int err;

    key_lock();
    err = key_create_locked(&spec, ret);
    key_unlock();
    return err;
}

const struct cred *key_cred_for_child(const struct cred *cred, bool thread)
{
    struct cred *child;
    bool had = cred->thread_keyring;

    if (!had && (thread || !cred->process_keyring))
        return cred_ref(cred);
    child = cred_copy(cred, cred->group_count);
    if (!child)
        return NULL;
    drop(&child->thread_keyring);
    if (!thread)
        drop(&child->process_keyring);
    else if (had)
        create_keyring(child, "_tid", ALL_POSSESSOR | KEY_USER(KEY_VIEW), true,
                       &child->thread_keyring); /* without memory it goes without one */
    return child;
}

/* One of the caller's own, which it has not got yet. */
static int install(struct task *task, int32_t id)
{
    struct cred *cred = cred_copy(task->cred, task->cred->group_count);
    bool thread = id == KEY_SPEC_THREAD_KEYRING;
    int err;

    if (!cred)
        return -ENOMEM;
    err = create_keyring(cred, thread ? "_tid" : "_pid", ALL_POSSESSOR | KEY_USER(KEY_VIEW), true,
                         thread ? &cred->thread_keyring : &cred->process_keyring);
    if (err < 0)
        cred_unref(cred);
    else
        task_set_cred(task, cred);
    return err;
}

/* _uid.N and _uid_ses.N of the caller's real user, the one linked to the other. */
static int install_user_keyrings(struct task *task)
{
    struct key_spec spec = {.type = &key_type_keyring,
                            .uid = task->cred->uid,
                            .gid = UINT32_MAX,
                            .perm = USER_KEYRING_PERM};
    struct key_user *user;
    struct key *keyring = NULL, *session = NULL;
    char name[24];
    int err = 0;

    key_lock();
    user = key_user_locked(spec.uid, false);
    if (user && user->session)
        goto out;
    spec.description = name;
    snprintf(name, sizeof(name), "_uid.%u", spec.uid);
    err = key_create_locked(&spec, &keyring);
    if (err < 0)
        goto out;
    snprintf(name, sizeof(name), "_uid_ses.%u", spec.uid);
    err = key_create_locked(&spec, &session);
    if (err == 0)
        err = keyring_link_locked(session, keyring);
    if (err < 0) {
        key_unref_locked(session);
        key_unref_locked(keyring);
        goto out;
    }
    keyring->of_user = session->of_user = true;
    keyring->user->keyring = keyring;
    keyring->user->session = session;
out:
    key_unlock();
    return err;
}

int key_set_session(struct task *task, struct key *keyring)
{
    struct cred *cred = cred_copy(task->cred, task->cred->group_count);

    if (!cred) {
        drop(&keyring);
        return -ENOMEM;
    }
    drop(&cred->session_keyring);
    cred->session_keyring = keyring;
    task_set_cred(task, cred);
    return 0;
}

static int borrow_user_session(struct task *task)
{
    struct key *keyring;

    key_lock();
    keyring = key_ref_locked(key_user_locked(task->cred->uid, false)->session);
    key_unlock();
    return key_set_session(task, keyring);
}

/* find_keyring_by_name(): one that the caller may search. */
static struct key *find_session_locked(struct task *task, const char *name)
{
    for (uint32_t i = 0; i < key_space.count; i++) {
        struct key *key = key_space.keys[i];

        if (key->type == &key_type_keyring && key->refs > 0 && !key->of_user &&
            strcmp(key->description, name) == 0 && key_validate_locked(key) == 0 &&
            key_permission(task->cred, (struct key_ref){key, false}, KEY_SEARCH) == 0)
            return key_ref_locked(key);
    }
    return NULL;
}

long key_join_session(struct task *task, const char *name)
{
    struct key *keyring = NULL;
    int32_t serial;
    int err = 0;

    if (name) {
        key_lock();
        keyring = find_session_locked(task, name);
        if (keyring && keyring == task->cred->session_keyring) {
            key_unref_locked(keyring);
            key_unlock();
            return 0; /* as Linux: it had that already */
        }
        key_unlock();
    }
    if (!keyring)
        err = create_keyring(task->cred, name ? name : "_ses",
                             ALL_POSSESSOR | KEY_USER(KEY_VIEW | KEY_READ | (name ? KEY_LINK : 0)),
                             !name && !task->cred->session_keyring, &keyring);
    if (err < 0)
        return err;
    serial = keyring->serial;
    err = key_set_session(task, keyring);
    return err < 0 ? err : serial;
}

int key_prepare(struct task *task, int32_t id, unsigned lookup)
{
    const struct cred *cred = task->cred;
    bool create = lookup & KEY_LOOKUP_CREATE;
    int err;

    switch (id) {
    case KEY_SPEC_THREAD_KEYRING:
        return cred->thread_keyring || !create ? 0 : install(task, id);
    case KEY_SPEC_PROCESS_KEYRING:
        return cred->process_keyring || !create ? 0 : install(task, id);
    case KEY_SPEC_SESSION_KEYRING:
        if (cred->session_keyring && !(cred->session_keyring->of_user && create))
            return 0;
        err = cred->session_keyring ? 0 : install_user_keyrings(task);
        if (err < 0)
            return err;
        if (!create)
            return borrow_user_session(task);
        err = (int)MIN(key_join_session(task, NULL), 0L);
        return err;
    case KEY_SPEC_USER_KEYRING:
    case KEY_SPEC_USER_SESSION_KEYRING:
        return install_user_keyrings(task);
    default:
        return 0;
    }
}

static struct key *special_keyring(struct task *task, int32_t id)
{
    const struct key_user *user = key_user_locked(task->cred->uid, false);

    switch (id) {
    case KEY_SPEC_THREAD_KEYRING:
        return task->cred->thread_keyring;
    case KEY_SPEC_PROCESS_KEYRING:
        return task->cred->process_keyring;
    case KEY_SPEC_SESSION_KEYRING:
        return task->cred->session_keyring;
    case KEY_SPEC_USER_KEYRING:
        return user ? user->keyring : NULL;
    case KEY_SPEC_USER_SESSION_KEYRING:
        return user ? user->session : NULL;
    default:
        return NULL; /* nobody constructs a key for another: no authorisation to hold */
    }
}

int key_lookup_any_locked(struct task *task, int32_t id, struct key_ref *ret)
{
    struct key *key;

    if (id == 0 || id == KEY_SPEC_GROUP_KEYRING || id < KEY_SPEC_REQUESTOR_KEYRING)
        return -EINVAL;
    key = id < 0 ? special_keyring(task, id) : key_find_locked(id);
    if (!key || key->refs == 0)
        return -ENOKEY;
    *ret = (struct key_ref){key, id < 0 || key_possessed_locked(task->cred, key)};
    return 0;
}

int key_lookup_locked(struct task *task, int32_t id, unsigned lookup, unsigned rights,
                      struct key_ref *ret)
{
    struct key_ref ref;
    int err = key_lookup_any_locked(task, id, &ref);

    if (err == 0 && !(lookup & KEY_LOOKUP_PARTIAL))
        err = ref.key->error;
    if (err == 0)
        err = key_validate_locked(ref.key);
    if (err == 0)
        err = key_permission(task->cred, ref, rights);
    if (err == 0)
        *ret = ref;
    return err;
}
