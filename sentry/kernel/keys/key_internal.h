/* Inside key*.c: the objects, and what is done with key_space.lock held. */
#ifndef SENTRY_KERNEL_KEY_INTERNAL_H
#define SENTRY_KERNEL_KEY_INTERNAL_H

#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/task.h"

#define KEYRING_DEPTH_MAX 6 /* of a search: Linux KEYRING_SEARCH_MAX_DEPTH */
#define KEYRING_LINK_COST 4 /* quota bytes: KEYQUOTA_LINK_BYTES */
#define KEY_LINK_MEMORY   16

struct key_type {
    const char *name;
    uint32_t payload_max; /* 0: no payload */
    uint32_t fixed_quota; /* instead of the payload's size; 0: none */
    bool readable, updatable;
};
extern const struct key_type key_type_keyring, key_type_user;

/* Of one uid; lives while it has keys. */
struct key_user {
    struct list node;
    uint32_t uid;
    uint32_t keys, instantiated, quota_keys, quota_bytes;
    struct key *keyring, *session; /* owned: _uid.N and _uid_ses.N, or NULL */
};

struct key {
    uint32_t refs;
    int32_t serial;
    const struct key_type *type;
    struct key_user *user;
    struct list dying; /* while the last reference goes */
    uint32_t uid, gid, perm;
    int64_t expiry; /* CLOCK_REALTIME seconds; 0: never */
    int64_t ended;  /* when it was revoked */
    int error;      /* negative key: what looking it up gives; 0: instantiated */
    bool in_quota;  /* counts for the user's quota */
    bool revoked, invalidated;
    bool of_user;    /* a user's default keyring, which a session may borrow */
    bool restricted; /* takes no more links */
    uint32_t quota;  /* bytes of the user's quota */
    uint64_t memory; /* bytes of the whole sandbox's */
    uint8_t *data;
    uint32_t data_size;
    struct key **links; /* keyrings: owned references */
    uint32_t link_count, link_room;
    uint64_t visit; /* the walk that came by last, and how deep it was then */
    int visit_depth;
    char description[];
};

/* A key and whether the caller possesses it. */
struct key_ref {
    struct key *key;
    bool possessed;
};

extern struct key_space {
    struct lock lock;
    struct key **keys; /* ascending serials */
    uint32_t count, room;
    uint64_t memory;
    struct list users, dying;
    int64_t swept;  /* when ended keys were last looked for */
    uint64_t walks; /* through keyrings in keyrings, so far */
} key_space;

int64_t key_now(void);
const struct key_type *key_type_find(const char *name);
struct key *key_find_locked(int32_t serial);
struct key *key_ref_locked(struct key *key);
void key_unref_locked(struct key *key); /* takes NULL; frees at key_unlock() */
void key_lock(void);
void key_unlock(void); /* frees what has no reference left */
struct key_user *key_user_locked(uint32_t uid, bool create);

struct key_spec {
    const struct key_type *type;
    const char *description;
    uint32_t uid, gid, perm;
    bool over_quota; /* neither counted nor refused */
};
/* One reference is the caller's. -EINVAL, -EDQUOT, -ENOMEM. */
int key_create_locked(const struct key_spec *spec, struct key **ret);
/* Replaces the payload. -EINVAL, -EDQUOT, -ENOMEM. */
int key_fill_locked(struct key *key, struct key_payload payload);
/* Is a payload of that size one of this type? */
int key_payload_check(const struct key_type *type, struct key_payload payload);
void key_empty_locked(struct key *key); /* payload and links go */
/* More (or less) of the owner's quota and of the sandbox's memory. -EDQUOT. */
int key_charge_locked(struct key *key, int64_t quota, int64_t memory);
int key_validate_locked(const struct key *key);
int key_permission(const struct cred *cred, struct key_ref ref, unsigned rights);

/* keyadd.c: a new payload, where the caller may and the type can. */
int key_update_locked(struct task *task, struct key_ref ref, struct key_payload payload);

/* keyring.c */
int keyring_link_locked(struct key *keyring, struct key *key);
int keyring_unlink_locked(struct key *keyring, struct key *key);
int keyring_may_link_locked(struct key *keyring, struct key *key);
struct key *keyring_entry_locked(const struct key *keyring, const struct key_type *type,
                                 const char *description);
/*
 * Is the keyring still to be walked through at this depth? A walk comes to each keyring by many
 * ways and needs one of the shortest, or else its length would be exponential.
 */
bool keyring_visit_locked(struct key *keyring, uint64_t walk, int depth);
void keyring_sweep_locked(void);
void keyring_forget_locked(struct key *key);

/* keysearch.c */
struct key_search {
    const struct cred *cred;
    const struct key_type *type;
    const char *description;
    const struct key *wanted;  /* instead of type and description */
    bool any_state, unchecked; /* neither look at the state, nor at rights */
    bool skip_expired;
    uint64_t walk;
    int result; /* of what was met but may not be had */
};
/* The key, not referenced, or NULL with search->result (-EAGAIN: nothing met). */
struct key *key_search_keyring_locked(struct key_search *search, struct key_ref keyring);
struct key *key_search_all_locked(struct key_search *search);
bool key_possessed_locked(const struct cred *cred, struct key *key);

/* keyset.c: special keyrings that are missing are made, without the lock, before the look-up. */
int key_prepare(struct task *task, int32_t id, unsigned lookup);
int key_lookup_locked(struct task *task, int32_t id, unsigned lookup, unsigned rights,
                      struct key_ref *ret);
/* Looks the key up without asking for rights, and whatever its state. */
int key_lookup_any_locked(struct task *task, int32_t id, struct key_ref *ret);

/* Makes `keyring`, whose reference is taken over, the caller's session. -ENOMEM. */
int key_set_session(struct task *task, struct key *keyring);

#endif
