/*
 * Reads of files whose bytes may tell of a change outside. What was looked at in this tick is
 * believed as long as nothing has come from outside (host/news.h), and bytes of a file do come from
 * there. But those of a file that has been at rest since before it was opened say nothing new, and
 * whoever reads many files (a compiler its headers) would have every directory looked at anew after
 * each. So the read of a file that was at rest is only noted; before the next look is spared, the
 * file itself is looked at: if it is still as it was, there was no news.
 */
#include "host/clock.h"
#include "host/news.h"
#include "sentry/fs/gofer/internal.h"

void readings_init(struct readings *r)
{
    lock_init(&r->lock);
}

/* Takes the first one out: a reference, or NULL. */
static struct gofer_inode *take(struct readings *r, struct stamp *ret_before)
{
    struct gofer_inode *file = NULL;

    lock_acquire(&r->lock);
    if (r->count > 0) {
        uint32_t last = r->count - 1;

        file = r->read[last].file;
        *ret_before = r->read[last].before;
        __atomic_store_n(&r->count, last, __ATOMIC_RELEASE);
    }
    lock_release(&r->lock);
    return file;
}

void readings_clear(struct readings *r)
{
    struct stamp before;
    struct gofer_inode *file;

    while ((file = take(r, &before)))
        inode_unref(&file->inode);
    lock_destroy(&r->lock);
}

static bool is_noted_locked(const struct readings *r, const struct gofer_inode *file,
                            const struct stamp *before) __must_hold(r->lock)
{
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->read[i].file == file && stamp_same(&r->read[i].before, before))
            return true;
    }
    return false;
}

void reading_note(struct readings *r, struct gofer_inode *file, const struct stamp *before)
{
    bool noted = false;

    if (stamp_at_rest(before, host_clock_ns(CLOCK_REALTIME_COARSE))) {
        lock_acquire(&r->lock);
        noted = is_noted_locked(r, file, before);
        if (!noted && r->count < READINGS_MAX) {
            inode_ref(&file->inode);
            r->read[r->count].file = file;
            r->read[r->count].before = *before;
            __atomic_store_n(&r->count, r->count + 1, __ATOMIC_RELEASE);
            noted = true;
        }
        lock_release(&r->lock);
    }
    if (!noted)
        host_news_note();
}

void readings_prove(struct readings *r)
{
    struct gofer_inode *file;
    struct stamp before;

    while (__atomic_load_n(&r->count, __ATOMIC_ACQUIRE) && (file = take(r, &before))) {
        struct linux_stat st;
        struct stamp now;
        bool seen = gofer_inode_ask_host(file, &st);

        if (seen)
            now = stamp_of(&st);
        if (!seen || !stamp_same(&before, &now))
            host_news_note();
        inode_unref(&file->inode);
    }
}
