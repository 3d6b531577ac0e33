/*
 * Host descriptors that inodes hold: O_PATH, from a walk, to see whether the object has changed; or
 * open for reading, kept when the program closes the file and shared by those who open it next. At
 * most `limit`, the last used.
 */
#include "host/io.h"
#include "sentry/fs/gofer/internal.h"

void handles_init(struct handles *h, uint32_t limit)
{
    lock_init(&h->lock);
    list_init(&h->lru);
    h->limit = limit;
}

/* Takes `g`'s handle away; the caller drops it without the lock. */
static struct host_file *take_locked(struct handles *h, struct gofer_inode *g)
{
    struct host_file *handle = g->handle;

    if (!list_empty(&g->handle_node)) {
        list_del_init(&g->handle_node);
        h->count--;
    }
    g->handle = NULL;
    g->readable = false;
    return handle;
}

/* Puts it in, its reference taken over; what has to make room for it is returned. */
static struct host_file *put_locked(struct handles *h, struct gofer_inode *g,
                                    struct host_file *handle)
{
    g->handle = handle;
    if (g->pinned)
        return NULL;
    list_add(&h->lru, &g->handle_node);
    if (++h->count <= h->limit)
        return NULL;
    return take_locked(h, list_entry(h->lru.prev, struct gofer_inode, handle_node));
}

static void touch_locked(struct handles *h, struct gofer_inode *g)
{
    if (!list_empty(&g->handle_node) && h->lru.next != &g->handle_node) {
        list_del_init(&g->handle_node);
        list_add(&h->lru, &g->handle_node);
    }
}

void handle_give(struct gofer_inode *g, int fd)
{
    struct host_file *fresh = host_file_create(fd, "");
    struct handles *h = &g->fs->handles;

    if (!fresh)
        return;
    lock_acquire(&h->lock);
    if (!g->handle)
        fresh = put_locked(h, g, fresh);
    lock_release(&h->lock);
    host_file_unref(fresh);
}

/* `fresh`, its reference taken over, in place of what `g` has. */
static void keep(struct gofer_inode *g, struct host_file *fresh, const struct stamp *opened_at)
{
    struct host_file *old, *out;
    struct handles *h = &g->fs->handles;

    lock_acquire(&h->lock);
    old = take_locked(h, g);
    out = put_locked(h, g, fresh);
    if (g->handle == fresh) {
        g->readable = true;
        g->opened_at = *opened_at;
    }
    lock_release(&h->lock);
    host_file_unref(old);
    host_file_unref(out);
}

void handle_keep(struct gofer_inode *g, struct host_file *host, const struct stamp *opened_at)
{
    keep(g, host_file_ref(host), opened_at);
}

void handle_give_readable(struct gofer_inode *g, int fd, const char *name,
                          const struct stamp *opened_at)
{
    struct host_file *fresh = host_file_create(fd, name);

    if (fresh)
        keep(g, fresh, opened_at);
}

struct host_file *handle_get(struct gofer_inode *g)
{
    struct handles *h = &g->fs->handles;
    struct host_file *handle = NULL;

    lock_acquire(&h->lock);
    if (g->handle) {
        touch_locked(h, g);
        handle = host_file_ref(g->handle);
    }
    lock_release(&h->lock);
    return handle;
}

struct host_file *handle_get_readable(struct gofer_inode *g, const struct stamp *now, bool alone)
{
    struct handles *h = &g->fs->handles;
    struct host_file *handle = NULL;

    lock_acquire(&h->lock);
    if (g->handle && g->readable && (!now || stamp_same(&g->opened_at, now)) &&
        (!alone || refcount_read(&g->handle->refs) == 1)) {
        touch_locked(h, g);
        handle = host_file_ref(g->handle);
    }
    lock_release(&h->lock);
    return handle;
}

bool handle_is(struct gofer_inode *g, const struct host_file *host)
{
    struct handles *h = &g->fs->handles;
    bool is;

    lock_acquire(&h->lock);
    is = g->handle == host;
    lock_release(&h->lock);
    return is;
}

bool handle_held(struct gofer_inode *g)
{
    struct handles *h = &g->fs->handles;
    bool held;

    lock_acquire(&h->lock);
    held = g->handle;
    lock_release(&h->lock);
    return held;
}

void handle_move(struct gofer_inode *from, struct gofer_inode *to)
{
    struct handles *h = &to->fs->handles;
    struct host_file *out = NULL;

    lock_acquire(&h->lock);
    if (!to->handle && from->handle) {
        bool readable = from->readable;

        out = put_locked(h, to, take_locked(h, from));
        if (to->handle) {
            to->readable = readable;
            to->opened_at = from->opened_at;
        }
    }
    lock_release(&h->lock);
    host_file_unref(out);
}

void handle_drop(struct gofer_inode *g)
{
    struct handles *h = &g->fs->handles;
    struct host_file *handle;

    lock_acquire(&h->lock);
    handle = take_locked(h, g);
    lock_release(&h->lock);
    host_file_unref(handle);
}

void handles_shrink(struct handles *h)
{
    struct host_file *handle;

    do {
        handle = NULL;
        lock_acquire(&h->lock);
        if (!list_empty(&h->lru))
            handle = take_locked(h, list_first(&h->lru, struct gofer_inode, handle_node));
        lock_release(&h->lock);
        host_file_unref(handle);
    } while (handle);
}
