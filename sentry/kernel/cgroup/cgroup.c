#include "sentry/kernel/cgroup/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS     64
#define CGROUPS_MAX 10000 /* in all: they are memory of the Sentry itself */
#define DEPTH_MAX   256

static struct lock tree_lock_ = LOCK_INIT;
static struct list buckets[BUCKETS];
static uint64_t last_id = CGROUP_ID_FIRST - 1;
static struct cgroup root;
void (*cgroup_changed)(uint64_t id);

void cgroup_init(void)
{
    const struct cgroup_attr dir = {0755, 0, 0}, file = {0644, 0, 0};

    if (root.id)
        return;
    refcount_set(&root.refs, 1);
    root.id = CGROUP_ROOT_ID;
    root.name = "";
    list_init(&root.hashed);
    list_init(&root.children);
    list_init(&root.sibling);
    list_init(&root.members);
    wait_queue_init(&root.events);
    root.max_descendants = root.max_depth = root.pids_max = CGROUP_NO_LIMIT;
    for (int i = 0; i < CGROUP_ATTRS; i++)
        root.attrs[i] = i == CGROUP_ATTR_DIR ? dir : file;
    for (int i = 0; i < BUCKETS; i++)
        list_init(&buckets[i]);
}

void cgroup_lock(void)
{
    lock_acquire(&tree_lock_);
}

void cgroup_unlock(void)
{
    lock_release(&tree_lock_);
}

struct cgroup *cgroup_root(void)
{
    return &root;
}

struct cgroup *cgroup_ref(struct cgroup *cg)
{
    refcount_get(&cg->refs);
    return cg;
}

/* A group keeps those above it: as deep as they are, and no recursion. */
struct cgroup *cgroup_unref(struct cgroup *cg)
{
    while (cg && refcount_put(&cg->refs)) {
        struct cgroup *parent = cg->parent;

        free(cg->name);
        free(cg);
        cg = parent;
    }
    return NULL;
}

static struct list *bucket_of(uint64_t id)
{
    return &buckets[id % BUCKETS];
}

struct cgroup *cgroup_find(uint64_t id)
{
    struct cgroup *cg, *found = NULL;

    if (id == CGROUP_ROOT_ID)
        return cgroup_ref(&root);
    cgroup_lock();
    list_for_each (cg, bucket_of(id), hashed) {
        if (cg->id == id) {
            found = cgroup_ref(cg);
            break;
        }
    }
    cgroup_unlock();
    return found;
}

static struct cgroup *child_locked(struct cgroup *cg, const char *name, size_t size)
{
    struct cgroup *child;

    list_for_each (child, &cg->children, sibling) {
        if (strlen(child->name) == size && memcmp(child->name, name, size) == 0)
            return child;
    }
    return NULL;
}

uint64_t cgroup_child(struct cgroup *cg, const char *name, size_t size)
{
    struct cgroup *child;
    uint64_t id;

    cgroup_lock();
    child = child_locked(cg, name, size);
    id = child ? child->id : 0;
    cgroup_unlock();
    return id;
}

/* Children are in the order of their numbers. */
uint64_t cgroup_next_child(struct cgroup *cg, uint64_t from, char *ret_name, size_t size)
{
    struct cgroup *child;
    uint64_t id = 0;

    cgroup_lock();
    list_for_each (child, &cg->children, sibling) {
        if (child->id < from)
            continue;
        id = child->id;
        snprintf(ret_name, size, "%s", child->name);
        break;
    }
    cgroup_unlock();
    return id;
}

/* ---- making and removing ------------------------------------------------------------------- */

static int check_limits_locked(const struct cgroup *parent)
{
    uint64_t depth = 1;

    if (root.descendants >= CGROUPS_MAX)
        return -EAGAIN;
    for (const struct cgroup *at = parent; at; at = at->parent, depth++) {
        if (at->descendants >= at->max_descendants || depth > at->max_depth || depth > DEPTH_MAX)
            return -EAGAIN;
    }
    return 0;
}

static struct cgroup *create(const char *name, size_t size, const struct cgroup_attr *dir)
{
    struct cgroup *cg = calloc(1, sizeof(*cg));

    if (!cg)
        return NULL;
    cg->name = strndup(name, size);
    if (!cg->name) {
        free(cg);
        return NULL;
    }
    refcount_set(&cg->refs, 1);
    list_init(&cg->children);
    list_init(&cg->members);
    list_init(&cg->hashed);
    list_init(&cg->sibling);
    wait_queue_init(&cg->events);
    cg->max_descendants = cg->max_depth = cg->pids_max = CGROUP_NO_LIMIT;
    cg->attrs[CGROUP_ATTR_DIR] = *dir;
    for (int i = CGROUP_ATTR_DIR + 1; i < CGROUP_ATTRS; i++)
        cg->attrs[i] = (struct cgroup_attr){0644, dir->uid, dir->gid};
    return cg;
}

static int enter_locked(struct cgroup *parent, struct cgroup *cg)
{
    int err = parent->removed ? -ENODEV : 0;

    if (!err && child_locked(parent, cg->name, strlen(cg->name)))
        err = -EEXIST;
    if (!err)
        err = check_limits_locked(parent);
    if (err < 0)
        return err;
    cg->parent = cgroup_ref(parent);
    cg->id = ++last_id;
    cg->frozen_from_above = parent->frozen_from_above;
    cg->told = cgroup_state_locked(cg);
    list_add_tail(&parent->children, &cg->sibling);
    __atomic_fetch_add(&parent->child_count, 1, __ATOMIC_RELAXED);
    list_add(bucket_of(cg->id), &cg->hashed);
    for (struct cgroup *at = parent; at; at = at->parent)
        at->descendants++;
    return 0;
}

int cgroup_make(struct cgroup *parent, const char *name, size_t size, const struct cgroup_attr *dir,
                uint64_t *ret_id)
{
    struct cgroup *cg;
    int err;

    if (memchr(name, '\n', size))
        return -EINVAL;
    cg = create(name, size, dir);
    if (!cg)
        return -ENOMEM;
    cgroup_lock();
    err = enter_locked(parent, cg);
    if (!err)
        *ret_id = cg->id;
    cgroup_unlock();
    if (err < 0)
        cgroup_unref(cg);
    return err;
}

int cgroup_remove(struct cgroup *cg)
{
    int err = 0;

    cgroup_lock();
    if (cg->removed) {
        err = -ENODEV;
    } else if (!cg->parent || cg->members_below || !list_empty(&cg->children)) {
        err = -EBUSY;
    } else {
        cg->removed = true;
        list_del_init(&cg->hashed);
        list_del_init(&cg->sibling);
        cg->parent->threaded_children -= cg->threaded;
        __atomic_fetch_sub(&cg->parent->child_count, 1, __ATOMIC_RELAXED);
        for (struct cgroup *at = cg->parent; at; at = at->parent)
            at->descendants--;
        usage_add(&cg->parent->gone, &cg->gone);
        __atomic_fetch_add(&cg->changes, 1, __ATOMIC_RELAXED);
        wait_queue_wake(&cg->events, POLLPRI | POLLERR);
    }
    cgroup_unlock();
    if (!err)
        cgroup_unref(cg); /* the tree's */
    return err;
}

/* ---- where it is --------------------------------------------------------------------------- */

struct cgroup *cgroup_walk_locked(struct cgroup *top, struct cgroup *at)
{
    if (!list_empty(&at->children))
        return list_first(&at->children, struct cgroup, sibling);
    for (; at != top; at = at->parent) {
        if (at->sibling.next != &at->parent->children)
            return list_entry(at->sibling.next, struct cgroup, sibling);
    }
    return NULL;
}

bool cgroup_is_below(const struct cgroup *cg, const struct cgroup *top)
{
    while (cg && cg != top)
        cg = cg->parent;
    return cg == top;
}

/* Parents and names never change, so no lock is needed. */
static size_t put_names(const struct cgroup *cg, const struct cgroup *stop, char *buf, size_t size,
                        size_t at)
{
    const struct cgroup *chain[DEPTH_MAX + 2];
    int count = 0;

    for (; cg != stop; cg = cg->parent)
        chain[count++] = cg;
    while (count-- > 0)
        at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, "/%s",
                               chain[count]->name);
    return at;
}

size_t cgroup_path(struct cgroup *cg, struct cgroup *seen_from, char *buf, size_t size)
{
    struct cgroup *common = seen_from;
    size_t at = 0;

    if (size)
        buf[0] = 0;
    for (; !cgroup_is_below(cg, common); common = common->parent)
        at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, "/..");
    at = put_names(cg, common, buf, size, at);
    if (at == 0)
        at = (size_t)snprintf(buf, size, "/");
    return at;
}

/* ---- kinds and controllers ----------------------------------------------------------------- */

static bool has_members(const struct cgroup *cg)
{
    return !list_empty(&cg->members);
}

/* cgroup_is_thread_root() */
static bool roots_threads(const struct cgroup *cg)
{
    return !cg->threaded &&
           (cg->threaded_children || (has_members(cg) && (cg->control & CGROUP_THREADED)));
}

bool cgroup_valid_domain_locked(struct cgroup *cg)
{
    if (cg->threaded)
        return false;
    while ((cg = cg->parent)) {
        if (cg->threaded || (cg->parent && roots_threads(cg)))
            return false;
    }
    return true;
}

static bool has_populated_domain_child(const struct cgroup *cg)
{
    const struct cgroup *child;

    list_for_each (child, &cg->children, sibling) {
        if (!child->threaded && child->members_below)
            return true;
    }
    return false;
}

bool cgroup_can_root_threads_locked(struct cgroup *cg)
{
    if (!cg->parent)
        return true;
    return !cg->threaded && !has_populated_domain_child(cg) &&
           !(cg->control & ~(uint32_t)CGROUP_THREADED);
}

struct cgroup *cgroup_domain_locked(struct cgroup *cg)
{
    while (cg->threaded)
        cg = cg->parent;
    return cg;
}

const char *cgroup_type(struct cgroup *cg)
{
    const char *type = "domain";

    cgroup_lock();
    if (cg->threaded)
        type = "threaded";
    else if (!cgroup_valid_domain_locked(cg))
        type = "domain invalid";
    else if (roots_threads(cg))
        type = "domain threaded";
    cgroup_unlock();
    return type;
}

int cgroup_make_threaded(struct cgroup *cg)
{
    struct cgroup *domain;
    int err = 0;

    cgroup_lock();
    domain = cgroup_domain_locked(cg->parent);
    if (cg->removed) {
        err = -ENODEV;
    } else if (!cg->threaded) {
        if (cg->members_below || (cg->control & ~(uint32_t)CGROUP_THREADED) ||
            !cgroup_valid_domain_locked(domain) || !cgroup_can_root_threads_locked(domain))
            err = -EOPNOTSUPP;
        cg->threaded = !err;
        cg->parent->threaded_children += cg->threaded;
    }
    cgroup_unlock();
    return err;
}

static uint32_t controllers_locked(const struct cgroup *cg)
{
    if (!cg->parent)
        return CGROUP_ALL;
    return cg->parent->control & (cg->threaded ? CGROUP_THREADED : CGROUP_ALL);
}

uint32_t cgroup_controllers(struct cgroup *cg)
{
    uint32_t set;

    cgroup_lock();
    set = controllers_locked(cg);
    cgroup_unlock();
    return set;
}

/* cgroup_vet_subtree_control_enable() */
static int vet_enable(struct cgroup *cg, uint32_t enable)
{
    if (!enable)
        return 0;
    if (!cgroup_valid_domain_locked(cgroup_domain_locked(cg)))
        return -EOPNOTSUPP;
    if (!cg->parent)
        return 0;
    if (enable & ~(uint32_t)CGROUP_THREADED) {
        if (roots_threads(cg) || cg->threaded)
            return -EOPNOTSUPP;
    } else if (cgroup_can_root_threads_locked(cg) || cg->threaded) {
        return 0;
    }
    return has_members(cg) ? -EBUSY : 0;
}

/* A child that is no longer controlled forgets what was set. */
static int disable_locked(struct cgroup *cg, uint32_t disable)
{
    struct cgroup *child;

    list_for_each (child, &cg->children, sibling) {
        if (child->control & disable)
            return -EBUSY;
    }
    if (disable & CGROUP_PIDS) {
        list_for_each (child, &cg->children, sibling)
            child->pids_max = CGROUP_NO_LIMIT;
    }
    return 0;
}

int cgroup_set_control(struct cgroup *cg, uint32_t enable, uint32_t disable)
{
    int err = 0;

    cgroup_lock();
    enable &= ~cg->control;
    disable &= cg->control;
    if (cg->removed)
        err = -ENODEV;
    else if (enable & ~controllers_locked(cg))
        err = -ENOENT;
    if (!err)
        err = vet_enable(cg, enable);
    if (!err)
        err = disable_locked(cg, disable);
    if (!err)
        cg->control = (cg->control | enable) & ~disable;
    cgroup_unlock();
    return err;
}

/* ---- cgroup.events ------------------------------------------------------------------------- */

uint32_t cgroup_state_locked(const struct cgroup *cg)
{
    bool frozen = cg->frozen_from_above && cg->frozen_below == cg->members_below;

    return (cg->members_below > 0) | (uint32_t)frozen << 1;
}

void cgroup_settle_locked(struct cgroup *cg)
{
    for (; cg->parent; cg = cg->parent) {
        uint32_t state = cgroup_state_locked(cg);

        if (cg->told == state)
            continue;
        cg->told = state;
        __atomic_fetch_add(&cg->changes, 1, __ATOMIC_RELAXED);
        wait_queue_wake(&cg->events, POLLPRI | POLLERR);
        if (cgroup_changed)
            cgroup_changed(cg->id);
    }
}
