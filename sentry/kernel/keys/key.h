/*
 * Keys and keyrings: keyrings(7), add_key(2), keyctl(2). A key is a named secret with an owner and
 * a mask of rights; a keyring is a key whose payload is links to other keys. Every task may have
 * four keyrings of its own: its thread's and its process's (struct cred), its session's (struct
 * cred, inherited), its user's (struct key_user). Who can reach a key from there possesses it,
 * which is what most rights are given to.
 *
 *   key.c        keys, users and their quotas        keyring.c    links, their limits, clearing
 *   keysearch.c  finding keys, who possesses what    keyset.c     the keyrings of a task
 *   keyctl.c     what keyctl(2) does with one
 *
 * One lock guards everything (key_space.lock); it is innermost, nothing of the guest is touched
 * under it. All memory is bounded: KEYS_MAX keys, KEY_BYTES_MAX bytes for the whole sandbox, and
 * within that Linux's quotas for each user.
 */
#ifndef SENTRY_KERNEL_KEY_H
#define SENTRY_KERNEL_KEY_H

#include "base/list.h"
#include "base/lock.h"

struct cred;
struct key;
struct task;

/* /proc/sys/kernel/keys: quotas of uid 0 and of others; each is read and written whole. */
struct key_limits {
    uint64_t root_keys, root_bytes, keys, bytes;
    uint64_t gc_delay; /* seconds that an expired or revoked key stays to be seen */
};
extern struct key_limits key_limits;
static inline uint64_t key_max_keys(uint32_t uid)
{
    return __atomic_load_n(uid == 0 ? &key_limits.root_keys : &key_limits.keys, __ATOMIC_RELAXED);
}
static inline uint64_t key_max_bytes(uint32_t uid)
{
    return __atomic_load_n(uid == 0 ? &key_limits.root_bytes : &key_limits.bytes, __ATOMIC_RELAXED);
}

#define KEYS_MAX            50000
#define KEY_BYTES_MAX       (64UL << 20)
#define KEY_PAYLOAD_MAX     (1024 * 1024 - 1)
#define KEY_DESCRIPTION_MAX 4096 /* with its NUL */
#define KEY_TYPE_MAX        32

/* Rights; keyctl_setperm(3). */
enum key_right {
    KEY_VIEW = 0x01,
    KEY_READ = 0x02,
    KEY_WRITE = 0x04,
    KEY_SEARCH = 0x08,
    KEY_LINK = 0x10,
    KEY_SETATTR = 0x20,
    KEY_RIGHTS = 0x3f,
};
#define KEY_POSSESSOR(rights) ((uint32_t)(rights) << 24)
#define KEY_USER(rights)      ((uint32_t)(rights) << 16)
#define KEY_GROUP(rights)     ((uint32_t)(rights) << 8)

/* How a key is looked up by its number. */
enum key_lookup {
    KEY_LOOKUP_CREATE = 1,  /* make a special keyring that is not there yet */
    KEY_LOOKUP_PARTIAL = 2, /* also one that is negative */
};

/* Payload in the Sentry's memory; the call copies it once. */
struct key_payload {
    const void *data;
    size_t size;
};

/* What add_key(2) and request_key(2) are asked. */
struct key_request {
    const char *type;        /* its name */
    const char *description; /* NULL: none was given */
    struct key_payload payload;
    int32_t keyring; /* a serial or KEY_SPEC_*; request_key: 0 for none */
    bool construct;  /* request_key: callout information was given */
};

/* Each returns a serial, or -errno as the manual page says. */
long key_add(struct task *task, const struct key_request *request);
long key_request(struct task *task, const struct key_request *request);

/* keyctl(2), one function for each operation that needs more than a look. */
long key_get_keyring_id(struct task *task, int32_t id, bool create);
long key_join_session(struct task *task, const char *name);
long key_update(struct task *task, int32_t id, struct key_payload payload);
long key_revoke(struct task *task, int32_t id);
long key_invalidate(struct task *task, int32_t id);
long key_chown(struct task *task, int32_t id, uint32_t uid, uint32_t gid);
long key_setperm(struct task *task, int32_t id, uint32_t perm);
long key_set_timeout(struct task *task, int32_t id, uint32_t seconds);
long key_clear(struct task *task, int32_t id);
long key_link(struct task *task, int32_t id, int32_t keyring);
long key_unlink(struct task *task, int32_t id, int32_t keyring);
long key_move(struct task *task, int32_t id, int32_t from, int32_t to, bool exclusive);
long key_search(struct task *task, int32_t keyring, const char *type, const char *description,
                int32_t destination);
long key_restrict(struct task *task, int32_t id, const char *type);
long key_set_default(struct task *task, int32_t where);
long key_session_to_parent(struct task *task);
/* A session that a child has handed up; own thread only. */
void key_take_session(struct task *task);
void key_forget_session(struct task *task);
/*
 * The text of KEYCTL_DESCRIBE or the payload of KEYCTL_READ: up to `size` bytes, allocated, and the
 * length of all.
 */
long key_describe(struct task *task, int32_t id, char **ret_text);
long key_read(struct task *task, int32_t id, size_t size, void **ret_data);
/* KEYCTL_GET_SECURITY without security modules: only whether it may be asked. */
long key_may_view(struct task *task, int32_t id);

/* The keyrings of a copied identity: references are taken and given back. */
void key_cred_copied(struct cred *cred);
void key_cred_freed(struct cred *cred);
/* What a child begins with, referenced: a thread keeps the process's keyring, a process none. NULL
 * without memory. */
const struct cred *key_cred_for_child(const struct cred *cred, bool thread);
/* Across execve(2) only the session's stays. */
void key_cred_exec(struct cred *cred);

/* /proc/keys and /proc/key-users: the line of the first key (user) with a number of at least
 * `from`, and that number; -1: no more. Lines that must not be seen are empty. */
int64_t key_list(struct task *task, int64_t from, char *buf, size_t size);
int64_t key_list_users(int64_t from, char *buf, size_t size);

#endif
