/*
 * Who a task is: ids, groups, capabilities (credentials(7), capabilities(7)). Immutable once
 * published: a task changes identity by replacing its pointer, so readers need no lock.
 */
#ifndef SENTRY_KERNEL_CRED_H
#define SENTRY_KERNEL_CRED_H

#include "base/refcount.h"

struct key;
struct landlock_domain;
struct task;
struct user_ns;

#define CRED_CAPS_ALL ((1UL << 41) - 1) /* CAP_CHOWN to CAP_CHECKPOINT_RESTORE */

struct cred {
    refcount_t refs;
    struct user_ns *user_ns; /* owned reference: where the capabilities count (userns.h) */
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    uint64_t cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient;
    uint32_t securebits;
    bool no_new_privs;
    uint8_t default_keyring;          /* KEY_REQKEY_DEFL_*: where requested keys go */
    struct landlock_domain *landlock; /* owned reference, or NULL: rules it has laid on itself */
    /* Owned references, or NULL (key.h). */
    struct key *thread_keyring, *process_keyring, *session_keyring;
    uint32_t group_count;
    uint32_t groups[]; /* ascending */
};

/* A private copy to change, with room for `group_count` groups (copied up to that many). */
struct cred *cred_copy(const struct cred *cred, uint32_t group_count);
/* Root-like or plain ids with the capabilities that go with them; NULL without memory. */
struct cred *cred_create(uint32_t uid, uint32_t gid, const uint32_t *groups, uint32_t group_count);
/* After the groups of a copy were filled. */
void cred_sort_groups(struct cred *cred);
const struct cred *cred_ref(const struct cred *cred);
const struct cred *cred_unref(const struct cred *cred); /* takes NULL, returns NULL */
/* Over the whole machine: Linux's capable(). */
bool cred_has_cap(const struct cred *cred, int cap);
/* Over what belongs to that user namespace: ns_capable(). */
bool cred_has_ns_cap(const struct cred *cred, const struct user_ns *ns, int cap);
/* Over what belongs to its own. */
static inline bool cred_has_own_cap(const struct cred *cred, int cap)
{
    return cred->cap_effective >> cap & 1;
}
bool cred_in_group(const struct cred *cred, uint32_t gid);

/* Tells the file systems below who this thread asks for (sentry/vfs/attr/identity.h). */
void cred_use_for_files(const struct cred *cred);
/* The same with the real ids, as access(2) looks: until cred_use_for_files() is called again. */
void cred_use_real_ids(const struct cred *cred);
/* Makes `cred` the identity of the calling task; takes over the reference. */
void task_set_cred(struct task *task, const struct cred *cred);
bool task_has_cap(const struct task *task, int cap);
bool task_has_ns_cap(const struct task *task, const struct user_ns *ns, int cap);
bool task_has_own_cap(const struct task *task, int cap);

/* A user id as the programs of the namespace know it: ID_OVERFLOW when they do not. */
uint32_t cred_shown_uid(const struct cred *viewer, uint32_t uid);
uint32_t cred_shown_gid(const struct cred *viewer, uint32_t gid);
/* The kernel id that is meant; ID_NONE when it means nobody. */
uint32_t cred_kernel_uid(const struct cred *cred, uint32_t uid);
uint32_t cred_kernel_gid(const struct cred *cred, uint32_t gid);
/* With all capabilities in `ns`, which is taken over, and none elsewhere; of a private copy. */
void cred_enter_user_ns(struct cred *cred, struct user_ns *ns);

#endif
