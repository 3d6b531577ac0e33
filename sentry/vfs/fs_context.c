#include "sentry/vfs/fs_context.h"

#include <errno.h>
#include <stdlib.h>

struct fs_context {
    refcount_t refs;
    struct lock lock;
    struct path root __guarded_by(lock);
    struct path cwd __guarded_by(lock);
    uint32_t umask; /* atomic */
};

/* Takes over both paths. */
static int create(struct path root, struct path cwd, uint32_t umask, struct fs_context **ret)
{
    struct fs_context *fs = calloc(1, sizeof(*fs));

    if (!fs) {
        path_unref(&root);
        path_unref(&cwd);
        return -ENOMEM;
    }
    refcount_set(&fs->refs, 1);
    lock_init(&fs->lock);
    fs->root = root;
    fs->cwd = cwd;
    fs->umask = umask & 0777;
    *ret = fs;
    return 0;
}

int fs_context_create(struct mount_ns *ns, uint32_t umask, struct fs_context **ret)
{
    struct path root = mount_ns_top(ns);

    return create(path_ref(root), root, umask, ret);
}

int fs_context_clone(struct fs_context *fs, struct fs_context **ret)
{
    struct path root = fs_context_root(fs);
    struct path cwd = fs_context_cwd(fs);

    return create(root, cwd, fs_context_umask(fs), ret);
}

struct fs_context *fs_context_ref(struct fs_context *fs)
{
    refcount_get(&fs->refs);
    return fs;
}

uint32_t fs_context_users(const struct fs_context *fs)
{
    return refcount_read(&fs->refs);
}

bool fs_context_shared(const struct fs_context *fs)
{
    return refcount_read(&fs->refs) > 1;
}

struct fs_context *fs_context_unref(struct fs_context *fs)
{
    if (fs && refcount_put(&fs->refs)) {
        path_unref(&fs->root);
        path_unref(&fs->cwd);
        lock_destroy(&fs->lock);
        free(fs);
    }
    return NULL;
}

struct path fs_context_root(struct fs_context *fs)
{
    struct path path;

    lock_acquire(&fs->lock);
    path = path_ref(fs->root);
    lock_release(&fs->lock);
    return path;
}

struct path fs_context_cwd(struct fs_context *fs)
{
    struct path path;

    lock_acquire(&fs->lock);
    path = path_ref(fs->cwd);
    lock_release(&fs->lock);
    return path;
}

/* Takes over the reference in `path`. */
static void exchange(struct fs_context *fs, struct path *place, struct path path)
{
    struct path old;

    lock_acquire(&fs->lock);
    old = *place;
    *place = path;
    lock_release(&fs->lock);
    path_unref(&old);
}

void fs_context_set_cwd(struct fs_context *fs, struct path cwd)
{
    exchange(fs, &fs->cwd, path_ref(cwd));
}

void fs_context_set_root(struct fs_context *fs, struct path root)
{
    exchange(fs, &fs->root, path_ref(root));
}

uint32_t fs_context_umask(struct fs_context *fs)
{
    return __atomic_load_n(&fs->umask, __ATOMIC_RELAXED);
}

uint32_t fs_context_set_umask(struct fs_context *fs, uint32_t umask)
{
    return __atomic_exchange_n(&fs->umask, umask & 0777, __ATOMIC_RELAXED);
}
