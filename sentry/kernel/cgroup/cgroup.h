/*
 * Control groups, version 2 (Documentation/admin-guide/cgroup-v2.rst of Linux): a tree of groups in
 * which every task is in one. Programs see it as a file system (sentry/fs/cgroup).
 *
 * Controllers: `pids`, enforced when tasks are made; `memory`, which counts and limits nothing.
 * Processor time is counted in every group. Beside them each group can freeze and kill what is in
 * it.
 *
 *   task->cgroup        from birth (cgroup_join_locked) until the task is freed
 *   cgroup->members     tasks that have not ended
 *   cgroup->pids        tasks whose numbers are still taken, zombies among them
 *
 * One lock guards the tree, all memberships and all counters; it is taken inside kernel->lock and
 * process->lock, and inside it only those of wait queues.
 */
#ifndef SENTRY_KERNEL_CGROUP_H
#define SENTRY_KERNEL_CGROUP_H

#include "base/list.h"
#include "base/refcount.h"
#include "sentry/kernel/ns/ns.h"
#include "sentry/kernel/usage.h"
#include "sentry/wait/wait.h"

struct kernel;
struct task;

#define CGROUP_ROOT_ID  1
#define CGROUP_ID_FIRST 32 /* of the others: smaller numbers are free for those who list them */
#define CGROUP_NO_LIMIT UINT64_MAX

enum cgroup_controllers {
    CGROUP_MEMORY = 1,
    CGROUP_PIDS = 2,
    CGROUP_ALL = 3,
    CGROUP_THREADED = CGROUP_PIDS, /* those that tell threads of a process apart */
};

/* What can be given to somebody else, by chown(2) and chmod(2): the directory and its files. */
enum { CGROUP_ATTR_DIR, CGROUP_ATTR_PROCS, CGROUP_ATTR_THREADS, CGROUP_ATTR_CONTROL, CGROUP_ATTRS };
struct cgroup_attr {
    uint32_t mode, uid, gid; /* permissions only */
};

struct cgroup {
    refcount_t refs;
    uint64_t id;           /* its inode number; never used again */
    struct cgroup *parent; /* owned reference; NULL: the root */
    char *name;            /* owned; "" for the root */
    struct list hashed;
    struct list children, sibling;
    struct list members; /* struct task, by cgroup_node */
    bool removed, threaded;
    bool freeze, frozen_from_above; /* asked for here; here or above */
    uint32_t control;               /* cgroup.subtree_control */
    uint32_t child_count, threaded_children;
    uint64_t max_descendants, max_depth, descendants;
    uint64_t members_below, frozen_below; /* of itself and below */
    uint64_t pids, pids_max, pids_peak, pids_events, pids_events_local;
    struct usage gone; /* of tasks that were here: processor times alone */
    struct cgroup_attr attrs[CGROUP_ATTRS];
    struct usage cpu_told; /* cpu.stat does not go back */
    uint32_t told;         /* what cgroup.events says */
    uint32_t changes;      /* how often that has changed; atomic */
    struct wait_queue events;
};

struct cgroup_ns {
    struct ns ns;
    struct cgroup *root; /* owned reference */
};

static inline struct cgroup_ns *cgroup_ns_of(struct ns *ns)
{
    return container_of(ns, struct cgroup_ns, ns);
}

/* cgroup.c: the tree. */
void cgroup_init(void); /* before the first task, and before it is mounted; a second time is fine */
void cgroup_lock(void);
void cgroup_unlock(void);
struct cgroup *cgroup_root(void); /* borrowed: it stays for good */
struct cgroup *cgroup_ref(struct cgroup *cg);
struct cgroup *cgroup_unref(struct cgroup *cg); /* takes NULL, returns NULL */
/* By number: referenced, or NULL once it was removed. */
struct cgroup *cgroup_find(uint64_t id);
/* A child by name: its number; 0: there is none. The one with the smallest number from `from` on
 * writes its name as well. */
uint64_t cgroup_child(struct cgroup *cg, const char *name, size_t size);
uint64_t cgroup_next_child(struct cgroup *cg, uint64_t from, char *ret_name, size_t size);
/* -EEXIST, -EAGAIN (limits), -EINVAL (a line's end in the name), -ENODEV, -ENOMEM. */
int cgroup_make(struct cgroup *parent, const char *name, size_t size, const struct cgroup_attr *dir,
                uint64_t *ret_id);
int cgroup_remove(struct cgroup *cg); /* -EBUSY, -ENODEV */
/* The next group at or below `top`, each before its children; NULL after the last. */
struct cgroup *cgroup_walk_locked(struct cgroup *top, struct cgroup *at);
bool cgroup_is_below(const struct cgroup *cg, const struct cgroup *top);
/* The path of `cg` as seen from `root`: "/", "/a/b", "/../c". snprintf(3)'s result. */
size_t cgroup_path(struct cgroup *cg, struct cgroup *root, char *buf, size_t size);
/* What the kernel may be told by files, in the words of their errors. */
const char *cgroup_type(struct cgroup *cg);
int cgroup_make_threaded(struct cgroup *cg); /* -EOPNOTSUPP */
uint32_t cgroup_controllers(struct cgroup *cg);
/* cgroup.subtree_control: -ENOENT, -EBUSY, -EOPNOTSUPP. */
int cgroup_set_control(struct cgroup *cg, uint32_t enable, uint32_t disable);

/* With the lock. */
bool cgroup_valid_domain_locked(struct cgroup *cg);
bool cgroup_can_root_threads_locked(struct cgroup *cg);
struct cgroup *cgroup_domain_locked(struct cgroup *cg);
/* cgroup.events: populated is bit 0, frozen bit 1. */
uint32_t cgroup_state_locked(const struct cgroup *cg);
/* Tells those who watch, from here up to the root. */
void cgroup_settle_locked(struct cgroup *cg);
/* The file system is told of each change of cgroup.events, under the lock: short. Set before the
 * first task. */
extern void (*cgroup_changed)(uint64_t id);

/* member.c: who is where. */
/*
 * A task that gets its number: in task->cgroup, where that was chosen (clone3(2)), else where its
 * maker is. kernel->lock and process->lock held. -EAGAIN: pids.max; -ENODEV.
 */
int cgroup_join_locked(struct task *task, struct task *maker);
/* It has ended: it is no member any more, but keeps counting as a pid; process->lock held. */
void cgroup_exit_locked(struct task *task, const struct usage *usage);
/* Its number is given back; kernel->lock held. */
void cgroup_release_locked(struct task *task);
/* execve(2): `task` takes the leader's place, whose number it has now; kernel->lock held. */
void cgroup_take_over_locked(struct task *task, struct task *leader);
struct cgroup *task_get_cgroup(struct task *task); /* a reference */
/*
 * Moves the task `pid` (as the caller numbers it; 0: the caller), or its whole process, to `to`.
 * -ESRCH, -EACCES, -EBUSY, -EOPNOTSUPP, -ENODEV.
 */
int cgroup_attach(struct cgroup *to, int32_t pid, bool process);
/* clone3(2): may the caller's child begin there? Errors as above. */
int cgroup_may_clone_into(struct cgroup *to);
/* References on all members here or, with `below`, below as well; free() the array. -ENOMEM. */
int cgroup_members(struct cgroup *cg, bool below, struct task ***ret, size_t *ret_count);
void cgroup_members_free(struct task **tasks, size_t count);

/* freeze.c */
int cgroup_set_freeze(struct cgroup *cg, bool freeze); /* -ENODEV, -ENOMEM */
int cgroup_thaw(struct cgroup *cg);                    /* it and all above; -ENOMEM */
int cgroup_kill(struct cgroup *cg);                    /* -EOPNOTSUPP, -ENOMEM */
/* On the way to the guest, process->lock held: sleeps for a while if the task is to be frozen, and
 * says so. */
bool cgroup_stay_frozen_locked(struct task *task);
/* Own thread only: it sleeps where nothing but its process's end can reach it (vfork(2)), and
 * counts as frozen there. */
void cgroup_mark_waiting(struct task *task, bool waits);

/* stat.c: what is here and below uses. */
void cgroup_cpu(struct cgroup *cg, struct usage *ret); /* processor times alone */
struct cgroup_memory {
    uint64_t anonymous, file, shared, tables; /* bytes */
};
int cgroup_memory(struct cgroup *cg, struct cgroup_memory *ret); /* -ENOMEM */

/* cgroupns.c */
struct ns *
cgroup_ns_create(struct task *task); /* whose root is where the task is; NULL: the root */
/* The root that the task sees; referenced. */
struct cgroup *task_cgroup_root(struct task *task);

#endif
