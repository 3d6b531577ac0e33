/* Mounts as objects: life, numbers, who covers what; crossing them (mount.h). */
#include "sentry/vfs/mount/mount_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "sentry/vfs/attr/handle.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/notify.h"

#define BUCKETS      256
#define NUMBERS_MAX  (1U << 17)
#define FIRST_UNIQUE (1UL << 31) /* fs/namespace.c:MNT_UNIQUE_ID_OFFSET */

static struct lock lock = LOCK_INIT;
static struct list buckets[BUCKETS] __guarded_by(lock);
static struct lock numbers_lock = LOCK_INIT;
static uint64_t numbers[NUMBER_KINDS][NUMBERS_MAX / 64] __guarded_by(numbers_lock);
static uint64_t last_unique = FIRST_UNIQUE; /* atomic */

void mount_lock(void) __no_lock_analysis
{
    lock_acquire(&lock);
}

void mount_unlock(void) __no_lock_analysis
{
    lock_release(&lock);
}

uint32_t mount_take_number(enum mount_number kind)
{
    uint64_t *words = numbers[kind];
    uint32_t found = 0;

    lock_acquire(&numbers_lock);
    words[0] |= 1; /* there is no number 0 */
    for (uint32_t i = 0; i < NUMBERS_MAX / 64 && !found; i++) {
        if (words[i] != UINT64_MAX) {
            uint32_t bit = (uint32_t)__builtin_ctzl(~words[i]);

            words[i] |= 1UL << bit;
            found = i * 64 + bit;
        }
    }
    lock_release(&numbers_lock);
    return found;
}

void mount_give_number(enum mount_number kind, uint32_t number)
{
    lock_acquire(&numbers_lock);
    numbers[kind][number / 64] &= ~(1UL << number % 64);
    lock_release(&numbers_lock);
}

/* ---- the kernel's own mounts ---------------------------------------------------------------- */

#define KERNEL_MOUNTS 32

static struct {
    uint64_t dev, unique_id;
    uint32_t id;
} kernel_mounts[KERNEL_MOUNTS] __guarded_by(lock);
static size_t kernel_mount_count __guarded_by(lock);

bool mount_kernel_id(uint64_t dev, uint32_t *ret_id, uint64_t *ret_unique)
{
    size_t i = 0;
    bool found;

    lock_acquire(&lock);
    while (i < kernel_mount_count && kernel_mounts[i].dev != dev)
        i++;
    if (i == kernel_mount_count && i < KERNEL_MOUNTS) {
        kernel_mounts[i].dev = dev;
        kernel_mounts[i].id = mount_take_number(NUMBER_MOUNT);
        kernel_mounts[i].unique_id = __atomic_add_fetch(&last_unique, 1, __ATOMIC_RELAXED);
        kernel_mount_count += kernel_mounts[i].id != 0;
    }
    found = i < kernel_mount_count;
    if (found) {
        *ret_id = kernel_mounts[i].id;
        *ret_unique = kernel_mounts[i].unique_id;
    }
    lock_release(&lock);
    return found;
}

#define DEV_FIRST 60 /* below are those that have a fixed one */

int super_take_minor(uint32_t *ret)
{
    uint32_t number = mount_take_number(NUMBER_DEV);

    if (!number)
        return -ENOSPC;
    *ret = DEV_FIRST + number;
    return 0;
}

void super_give_minor(uint32_t minor)
{
    mount_give_number(NUMBER_DEV, minor - DEV_FIRST);
}

int mount_new(struct super_block *sb, struct dentry *root, const char *source, uint32_t flags,
              struct mount **ret)
{
    struct mount *m = calloc(1, sizeof(*m));

    if (m && source)
        m->source = strdup(source);
    if (!m || (source && !m->source)) {
        free(m);
        return -ENOMEM;
    }
    m->id = mount_take_number(NUMBER_MOUNT);
    if (!m->id) {
        free(m->source);
        free(m);
        return -ENOSPC;
    }
    refcount_set(&m->refs, 1);
    m->unique_id = __atomic_add_fetch(&last_unique, 1, __ATOMIC_RELAXED);
    m->flags = flags;
    m->sb = super_ref(sb);
    __atomic_fetch_add(&sb->mounts, 1, __ATOMIC_RELAXED);
    m->root = dentry_ref(root);
    list_init(&m->hashed);
    list_init(&m->children);
    list_init(&m->sibling);
    list_init(&m->ns_node);
    list_init(&m->group_node);
    list_init(&m->slave_node);
    list_init(&m->work_node);
    list_init(&m->receiver_node);
    *ret = m;
    return 0;
}

struct mount *mount_ref(struct mount *mount)
{
    refcount_get(&mount->refs);
    return mount;
}

struct mount *mount_unref(struct mount *mount)
{
    if (mount && refcount_put(&mount->refs)) {
        dentry_unref(mount->root);
        if (__atomic_sub_fetch(&mount->sb->mounts, 1, __ATOMIC_ACQ_REL) == 0) {
            notify_super_gone(mount->sb);
            handles_super_gone(mount->sb);
        }
        super_unref(mount->sb);
        mount_give_number(NUMBER_MOUNT, mount->id);
        mount_map_unref(mount->map);
        free(mount->source);
        free(mount);
    }
    return NULL;
}

/* ---- which mount covers a place ------------------------------------------------------------ */

static struct list *bucket_of(const struct mount *parent, const struct dentry *at)
{
    const void *key[2] = {parent, at};
    struct list *bucket = &buckets[XXH3_64bits(key, sizeof(key)) % BUCKETS];

    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

struct mount *mount_covering_locked(const struct mount *parent, const struct dentry *at)
{
    struct list *bucket;
    struct mount *m;

    if (__atomic_load_n(&at->mount_count, __ATOMIC_RELAXED) == 0)
        return NULL;
    bucket = bucket_of(parent, at);
    list_for_each (m, bucket, hashed) {
        if (m->over.mount == parent && m->over.dentry == at)
            return m;
    }
    return NULL;
}

void mount_hang_locked(struct mount *m, const struct path *over)
{
    m->over = path_ref(*over);
    __atomic_fetch_add(&over->dentry->mount_count, 1, __ATOMIC_RELAXED);
    list_add(bucket_of(over->mount, over->dentry), &m->hashed);
    list_add_tail(&over->mount->children, &m->sibling);
}

void mount_unhang_locked(struct mount *m, struct path *ret_over)
{
    *ret_over = m->over;
    m->over = (struct path){NULL, NULL};
    list_del_init(&m->hashed);
    list_del_init(&m->sibling);
    if (ret_over->dentry)
        __atomic_fetch_sub(&ret_over->dentry->mount_count, 1, __ATOMIC_RELAXED);
}

void mount_to_top_locked(struct path *path)
{
    struct mount *m;

    while ((m = mount_covering_locked(path->mount, path->dentry)) != NULL)
        *path = (struct path){m, m->root};
}

void mount_cross_down(struct path *path)
{
    struct path top = *path;

    if (__atomic_load_n(&path->dentry->mount_count, __ATOMIC_RELAXED) == 0)
        return;
    mount_lock();
    mount_to_top_locked(&top);
    top = path_ref(top);
    mount_unlock();
    path_unref(path);
    *path = top;
}

int mount_cross_up(struct path *path, const struct path *stop)
{
    struct path at = *path;
    int crossed = 0;

    if (path->dentry != path->mount->root)
        return 0;
    mount_lock();
    while (crossed == 0 && at.dentry == at.mount->root) {
        at = at.mount->over;
        if (!at.mount || (stop && at.mount == stop->mount && at.dentry == stop->dentry))
            crossed = -ENOENT;
    }
    if (crossed == 0) {
        at = path_ref(at);
        crossed = 1;
    }
    mount_unlock();
    if (crossed > 0) {
        path_unref(path);
        *path = at;
    }
    return crossed;
}

bool mount_is_mountpoint(struct mount *mount, struct dentry *dentry)
{
    struct list *bucket;
    bool found = false;

    if (__atomic_load_n(&dentry->mount_count, __ATOMIC_RELAXED) == 0)
        return false;
    mount_lock();
    /* Whichever mount of the namespace shows it: fs/namespace.c:__is_local_mountpoint() */
    for (int i = 0; i < BUCKETS && !found; i++) {
        struct mount *m;

        bucket = &buckets[i];
        if (!bucket->next)
            continue;
        list_for_each (m, bucket, hashed) {
            if (m->over.dentry == dentry && m->ns == mount->ns)
                found = true;
        }
    }
    mount_unlock();
    return found;
}

static struct mount *any_covering_locked(const struct dentry *dentry)
{
    struct mount *m;

    for (int i = 0; i < BUCKETS; i++) {
        if (!buckets[i].next)
            continue;
        list_for_each (m, &buckets[i], hashed) {
            if (m->over.dentry == dentry)
                return m;
        }
    }
    return NULL;
}

/* fs/namespace.c:__detach_mounts() */
void mount_leave_removed(struct dentry *dentry)
{
    struct list dead;
    struct mount *m;

    if (__atomic_load_n(&dentry->mount_count, __ATOMIC_RELAXED) == 0)
        return;
    list_init(&dead);
    mount_lock();
    while ((m = any_covering_locked(dentry)) != NULL) {
        struct mount_ns *ns = m->ns;

        mount_take_out_locked(m, false, &dead);
        if (ns)
            mount_changed_locked(ns);
    }
    mount_unlock();
    mount_bury(&dead);
}

bool mount_reaches(struct mount *mount, struct dentry *dentry)
{
    return mount->root == mount->sb->root || dentry_is_below(dentry, mount->root);
}

bool path_is_bindable(const struct path *path, const void *owner)
{
    struct mount *m = path->mount, *child;
    bool good;

    mount_lock();
    good = m->ns && m->ns->owner == owner;
    if (good) {
        list_for_each (child, &m->children, sibling) {
            if ((mount_get_flags(child) & MOUNT_LOCKED) &&
                dentry_is_below(child->over.dentry, path->dentry))
                good = false;
        }
    }
    mount_unlock();
    return good;
}

/* ---- what mounts forbid -------------------------------------------------------------------- */

int mount_get_write(struct mount *mount)
{
    /* First counted, then looked; who makes it read-only does it the other way round. */
    __atomic_fetch_add(&mount->writers, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&mount->sb->writers, 1, __ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(&mount->flags, __ATOMIC_SEQ_CST) & MOUNT_READ_ONLY) &&
        !super_read_only(mount->sb))
        return 0;
    mount_put_write(mount);
    return -EROFS;
}

void mount_put_write(struct mount *mount)
{
    __atomic_fetch_sub(&mount->writers, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_sub(&mount->sb->writers, 1, __ATOMIC_SEQ_CST);
}

enum atime_rule mount_atime(const struct mount *mount, bool directory)
{
    uint32_t flags = mount_get_flags(mount);

    if ((flags & (MOUNT_NOATIME | MOUNT_READ_ONLY)) || (directory && (flags & MOUNT_NODIRATIME)) ||
        super_read_only(mount->sb))
        return ATIME_NEVER;
    return flags & MOUNT_RELATIME ? ATIME_RELATIVE : ATIME_ALWAYS;
}

int64_t mount_statfs_flags(const struct mount *mount)
{
    static const struct {
        uint32_t flag;
        int64_t st;
    } pairs[] = {
        {MOUNT_READ_ONLY, 1},     {MOUNT_NOSUID, 2},           {MOUNT_NODEV, 4},
        {MOUNT_NOEXEC, 8},        {MOUNT_NOATIME, 0x400},      {MOUNT_NODIRATIME, 0x800},
        {MOUNT_RELATIME, 0x1000}, {MOUNT_NOSYMFOLLOW, 0x2000},
    };
    uint32_t flags = mount_get_flags(mount);
    int64_t st = 0x20; /* ST_VALID */

    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        st |= flags & pairs[i].flag ? pairs[i].st : 0;
    return super_read_only(mount->sb) ? st | 1 : st;
}
