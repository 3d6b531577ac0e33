/* Epoll files that watch epoll files: no circles, and not too deep. */
#include <errno.h>

#include "sentry/fs/event/epoll_internal.h"

#define NEST_MAX 4 /* epoll files that watch epoll files: EP_MAX_NESTS */

/*
 * Each walk over nested epoll files has a number, and each file is looked at once in a walk: a
 * guest can build many more paths than files. All under epoll_control_lock.
 */
static uint64_t last_walk;

/* How deep epoll files are nested below `f`; -ELOOP when `top` is among them or it is too deep. */
static int depth_below(struct file *f, struct file *top, int limit)
{
    struct epoll_item *item;
    struct epoll *e;
    int depth = 0;

    if (f == top || limit < 0)
        return -ELOOP;
    e = epoll_of(f);
    if (e->walk == last_walk)
        return e->walk_depth > limit ? -ELOOP : e->walk_depth;
    for (int i = 0; i < EPOLL_BUCKETS; i++) {
        list_for_each (item, &e->buckets[i], bucket) {
            int below;

            if (!epoll_is(item->file))
                continue;
            below = depth_below(item->file, top, limit - 1);
            if (below < 0)
                return below;
            depth = MAX(depth, below + 1);
        }
    }
    e->walk = last_walk;
    e->walk_depth = depth;
    return depth;
}

/* How many epoll files stand above `e`, in the longest line. */
static int height_above(struct epoll *e)
{
    struct file_watch *watch;
    int height = 0;

    if (e->walk == last_walk)
        return e->walk_depth;
    lock_acquire(&e->file.pos_lock);
    list_for_each (watch, &e->file.watches, node) {
        struct epoll_item *item = container_of(watch, struct epoll_item, watch);

        if (item->epoll)
            height = MAX(height, height_above(item->epoll) + 1);
    }
    lock_release(&e->file.pos_lock);
    e->walk = last_walk;
    e->walk_depth = height;
    return height;
}

int epoll_check_nesting(struct epoll *e, struct file *target)
{
    int depth;

    last_walk++;
    depth = depth_below(target, &e->file, NEST_MAX);
    if (depth < 0)
        return depth;
    last_walk++;
    return depth + 1 + height_above(e) > NEST_MAX ? -ELOOP : 0;
}
