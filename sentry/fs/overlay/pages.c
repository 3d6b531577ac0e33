/*
 * Mapped files of the overlay that lie below, too: whoever maps one maps an object of ours, which
 * shows the pages of the half that has the bytes, lower's or upper's, each for its pieces. So what
 * was mapped before the first change sees what is written afterwards, as without an overlay.
 *
 * As long as a file is mapped its object is found by what it is below, so that the next one to open
 * it maps the same. A file that was made here, or copied up while nobody had it mapped, needs none
 * of this: its pages are upper's.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/path/namei.h"

struct ov_pages {
    struct mappable base;
    struct ov_inode *ov; /* owned reference; its file system as well */
    struct lock lock;
    char *name; /* owned; by which it was mapped last */
    /* Owned; atomic: set once. The views are in their lists from then on. */
    struct mappable *half[OV_HALVES];
    struct mappable_view view[OV_HALVES];
};

static struct ov_pages *pages_of(struct mappable *m)
{
    return container_of(m, struct ov_pages, base);
}

static int map_half(struct ov_inode *ov, enum ov_half which, struct mappable **ret)
{
    struct ov_pieces *pieces = __atomic_load_n(&ov->pieces, __ATOMIC_ACQUIRE);
    struct dentry *from;
    struct file *f;
    int err = 0;

    if (which == OV_LOWER && pieces)
        return pieces->lower->ops->mmap ? pieces->lower->ops->mmap(pieces->lower, ret) : -ENODEV;
    if (which == OV_LOWER)
        from = dentry_ref(ov->lower);
    else
        err = ov_bytes(ov, &from);
    if (err < 0)
        return err;
    err = ov_open_half(from, which == OV_LOWER ? O_RDONLY : O_RDWR, &f);
    dentry_unref(from);
    if (err < 0)
        return err;
    err = f->ops->mmap ? f->ops->mmap(f, ret) : -ENODEV;
    file_unref(f);
    return err;
}

static int half_of(struct ov_pages *p, enum ov_half which, struct mappable **ret)
{
    struct mappable *m = __atomic_load_n(&p->half[which], __ATOMIC_ACQUIRE), *fresh;
    int err = m ? 0 : map_half(p->ov, which, &fresh);

    if (!m && !err) {
        lock_acquire(&p->lock);
        m = p->half[which];
        if (!m) {
            m = fresh;
            mappable_view_add(m, &p->view[which], &p->base);
            __atomic_store_n(&p->half[which], m, __ATOMIC_RELEASE);
            fresh = NULL;
        }
        lock_release(&p->lock);
        mappable_unref(fresh);
    }
    *ret = m;
    return err;
}

/* Whose are the bytes at `offset`, and, at most *size, as many behind it? */
static enum ov_half owner_of(struct ov_inode *ov, uint64_t offset, uint64_t *size)
{
    struct ov_pieces *pieces;

    if (ov_copied(ov))
        return OV_UPPER;
    pieces = __atomic_load_n(&ov->pieces, __ATOMIC_ACQUIRE);
    return pieces && ov_pieces_run(pieces, offset, size) ? OV_UPPER : OV_LOWER;
}

static int get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                     struct memfile_range *ret_range)
{
    struct ov_pages *p = pages_of(m);
    enum ov_half which = owner_of(p->ov, offset, &want);
    struct mappable *half;
    int err = 0;

    if (write && which == OV_LOWER) {
        err = ov_take_mapped(p->ov, offset, PAGE_SIZE);
        if (err < 0)
            return err;
        which = owner_of(p->ov, offset, &want);
    }
    err = half_of(p, which, &half);
    return err < 0 ? err : half->ops->get_pages(half, offset, want, write, ret_range);
}

static void release(struct mappable *m)
{
    struct ov_pages *p = pages_of(m);
    struct overlay *fs = p->ov->fs;

    lock_acquire(&fs->links_lock);
    if (p->ov->pages == m)
        p->ov->pages = NULL;
    lock_release(&fs->links_lock);
    for (int i = 0; i < OV_HALVES; i++) {
        if (p->half[i])
            mappable_view_remove(p->half[i], &p->view[i]);
        mappable_unref(p->half[i]);
    }
    mappable_fini(m);
    __atomic_sub_fetch(&fs->mapped_count, 1, __ATOMIC_RELAXED);
    inode_unref(&p->ov->inode);
    super_unref(&fs->sb);
    lock_destroy(&p->lock);
    free(p->name);
    free(p);
}

static void show_name(struct mappable *m, char *buf, size_t size)
{
    struct ov_pages *p = pages_of(m);

    lock_acquire(&p->lock);
    snprintf(buf, size, "%s", p->name ? p->name : "");
    lock_release(&p->lock);
}

static int sync_pages(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct mappable *upper = __atomic_load_n(&pages_of(m)->half[OV_UPPER], __ATOMIC_ACQUIRE);

    return upper && upper->ops->sync ? upper->ops->sync(upper, offset, size) : 0;
}

static int punch(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct ov_pages *p = pages_of(m);
    struct mappable *upper;
    int err = ov_take_mapped(p->ov, offset, size);

    if (!err)
        err = half_of(p, OV_UPPER, &upper);
    if (err < 0)
        return err;
    return upper->ops->punch ? upper->ops->punch(upper, offset, size) : -EOPNOTSUPP;
}

static bool resident(struct mappable *m, uint64_t offset)
{
    struct ov_pages *p = pages_of(m);
    uint64_t size = PAGE_SIZE;
    struct mappable *half =
        __atomic_load_n(&p->half[owner_of(p->ov, offset, &size)], __ATOMIC_ACQUIRE);

    return half && half->ops->resident && half->ops->resident(half, offset);
}

/* The first byte that upper has makes it different, and that is told (ov_pages_changed). */
static bool is_stable(struct mappable *m)
{
    struct ov_pages *p = pages_of(m);
    struct mappable *lower = __atomic_load_n(&p->half[OV_LOWER], __ATOMIC_ACQUIRE);

    return !ov_copied(p->ov) && !__atomic_load_n(&p->ov->pieces, __ATOMIC_SEQ_CST) && lower &&
           lower->ops->text_is_stable && lower->ops->text_is_stable(lower);
}

static const struct mappable_ops pages_ops = {
    .get_pages = get_pages,
    .release = release,
    .name = show_name,
    .sync = sync_pages,
    .punch = punch,
    .resident = resident,
    .text_is_stable = is_stable,
    .wants_write_notice = true,
};

/* The object that has the file mapped, referenced; NULL: nobody has. */
static struct mappable *find(struct ov_inode *ov)
{
    struct mappable *found;

    lock_acquire(&ov->fs->links_lock);
    found = ov->pages;
    if (found && !refcount_get_unless_zero(&found->refs))
        found = NULL;
    lock_release(&ov->fs->links_lock);
    return found;
}

static struct mappable *create(struct ov_inode *ov)
{
    struct ov_pages *p = calloc(1, sizeof(*p));
    struct mappable *other = NULL;

    if (!p)
        return NULL;
    mappable_init(&p->base, &pages_ops);
    lock_init(&p->lock);
    inode_ref(&ov->inode);
    p->ov = ov;
    super_ref(&ov->fs->sb);
    ov_link_enter(ov);
    __atomic_add_fetch(&ov->fs->mapped_count, 1, __ATOMIC_RELAXED);
    lock_acquire(&ov->fs->links_lock);
    other = ov->pages;
    if (other && !refcount_get_unless_zero(&other->refs))
        other = NULL;
    if (!other)
        ov->pages = &p->base;
    lock_release(&ov->fs->links_lock);
    if (!other)
        return &p->base;
    mappable_unref(&p->base);
    return other;
}

bool ov_pages_wanted(struct ov_inode *ov)
{
    struct mappable *found;

    if (!ov->lower)
        return false;
    if (!ov_copied(ov))
        return true;
    found = find(ov);
    mappable_unref(found);
    return found != NULL;
}

int ov_pages_get(struct ov_inode *ov, char *name, struct mappable **ret)
{
    struct mappable *m = find(ov), *half;
    uint64_t size = PAGE_SIZE;
    char *old;
    int err;

    if (!m)
        m = create(ov);
    /* Now, so that mmap(2) says what is wrong. */
    err = m ? half_of(pages_of(m), owner_of(ov, 0, &size), &half) : -ENOMEM;
    if (err < 0) {
        free(name);
        mappable_unref(m);
        return err;
    }
    lock_acquire(&pages_of(m)->lock);
    old = pages_of(m)->name;
    if (name)
        pages_of(m)->name = name;
    lock_release(&pages_of(m)->lock);
    if (name)
        free(old);
    *ret = m;
    return 0;
}

void ov_pages_changed(struct ov_inode *ov, uint64_t offset, uint64_t size)
{
    struct mappable *m = find(ov);
    uint64_t start = round_down(offset, PAGE_SIZE);
    uint64_t end = offset + MIN(size, UINT64_MAX - PAGE_SIZE - offset);

    if (m)
        mappable_invalidate(m, start, round_up(end, PAGE_SIZE) - start, false);
    mappable_unref(m);
}
