/*
 * Reads of files whose bytes may tell of a change outside. What was looked at in this tick is
 * believed as long as nothing has come from outside (host/news.h), and bytes of a file do come from
 * there. But those of a file that has been at rest since somebody looked at it say nothing new, and
 * whoever reads many files (a compiler its headers) would have every directory looked at anew after
 * each. So the read of a file that was at rest is only noted. Before the next look is spared, the
 * file itself is looked at: if it is not as it was, gofer_inode_update() says that there is news.
 */
#include "host/clock.h"
#include "host/news.h"
#include "sentry/fs/gofer/internal.h"

void readings_init(struct readings *r)
{
    lock_init(&r->lock);
}

/* Takes the last one out: a reference, or NULL. */
static struct gofer_inode *take(struct readings *r)
{
    struct gofer_inode *file = NULL;

    lock_acquire(&r->lock);
    if (r->count > 0) {
        file = r->files[r->count - 1];
        __atomic_add_fetch(&r->in_proof, 1, __ATOMIC_SEQ_CST); /* before nobody sees it here */
        __atomic_store_n(&r->count, r->count - 1, __ATOMIC_RELEASE);
    }
    lock_release(&r->lock);
    return file;
}

void readings_clear(struct readings *r)
{
    struct gofer_inode *file;

    while ((file = take(r)))
        inode_unref(&file->inode);
    lock_destroy(&r->lock);
}

static bool is_noted_locked(const struct readings *r, const struct gofer_inode *file)
    __must_hold(r->lock)
{
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->files[i] == file)
            return true;
    }
    return false;
}

/* False: there are too many. */
static bool note(struct readings *r, struct gofer_inode *file)
{
    bool noted;

    lock_acquire(&r->lock);
    noted = is_noted_locked(r, file);
    if (!noted && r->count < READINGS_MAX) {
        inode_ref(&file->inode);
        r->files[r->count] = file;
        __atomic_store_n(&r->count, r->count + 1, __ATOMIC_RELEASE);
        noted = true;
    }
    lock_release(&r->lock);
    return noted;
}

void reading_note(struct readings *r, struct gofer_inode *file)
{
    struct linux_stat before;
    struct stamp stamp;

    gofer_inode_last_seen(file, &before);
    stamp = stamp_of(&before);
    if (!stamp_at_rest(&stamp, host_clock_ns(CLOCK_REALTIME_COARSE)) || !note(r, file))
        host_news_note();
}

bool readings_prove(struct readings *r)
{
    struct gofer_inode *file;
    struct linux_stat now;

    while (__atomic_load_n(&r->count, __ATOMIC_ACQUIRE) && (file = take(r))) {
        if (!gofer_inode_ask_host(file, &now))
            host_news_note();
        __atomic_sub_fetch(&r->in_proof, 1, __ATOMIC_SEQ_CST);
        inode_unref(&file->inode);
    }
    return __atomic_load_n(&r->in_proof, __ATOMIC_SEQ_CST) == 0;
}
