/*
 * Names that a program gives to its anonymous memory, for /proc/PID/maps to show: PR_SET_VMA of
 * prctl(2), mm/madvise.c:madvise_set_anon_name(). VMAs that a split makes of one share its label.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/internal.h"

struct vma_label *vma_label_ref(struct vma_label *label)
{
    if (label)
        refcount_get(&label->refs);
    return label;
}

struct vma_label *vma_label_unref(struct vma_label *label)
{
    if (label && refcount_put(&label->refs))
        free(label);
    return NULL;
}

bool vma_labels_equal(const struct vma_label *a, const struct vma_label *b)
{
    return a == b || (a && b && strcmp(a->text, b->text) == 0);
}

static struct vma_label *label_create(const char *name)
{
    struct vma_label *label = calloc(1, sizeof(*label));

    if (!label)
        return NULL;
    refcount_set(&label->refs, 1);
    memcpy(label->text, name, strnlen(name, sizeof(label->text) - 1));
    return label;
}

static bool is_good_name(const char *name)
{
    for (; *name; name++) {
        if (*name < ' ' || *name > '~' || strchr("\\`$[]", *name))
            return false;
    }
    return true;
}

static int label_vma(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end,
                     struct vma_label *label)
{
    if (vma->object && !(vma->flags & VMA_SHARED_ANON))
        return -EBADF;
    if (vma_labels_equal(vma->label, label))
        return 0;
    vma = vma_isolate(mm, vma, start, end);
    if (!vma)
        return -EAGAIN;
    vma_label_unref(vma->label);
    vma->label = vma_label_ref(label);
    vma_merge(mm, vma);
    return 0;
}

static int label_range(struct mm *mm, uaddr_t start, uaddr_t end, struct vma_label *label)
{
    int unmapped = 0, err;

    while (start < end) {
        struct vma *vma = vma_find(mm, start);
        uaddr_t stop;

        if (!vma || vma->start > start)
            unmapped = -ENOMEM;
        if (!vma || vma->start >= end)
            break;
        stop = MIN(end, vma->end);
        err = label_vma(mm, vma, MAX(start, vma->start), stop, label);
        if (err)
            return err;
        start = stop;
    }
    return unmapped;
}

int mm_label(struct mm *mm, uaddr_t addr, uint64_t size, const char *name)
{
    uint64_t rounded = round_up(size, PAGE_SIZE);
    struct vma_label *label = NULL;
    int err;

    if (name) {
        if (!is_good_name(name))
            return -EINVAL;
        label = label_create(name);
        if (!label)
            return -ENOMEM;
    }
    if (!is_aligned(addr, PAGE_SIZE) || (size && !rounded) || addr + rounded < addr) {
        err = -EINVAL;
    } else {
        lock_acquire(&mm->lock);
        err = label_range(mm, addr, addr + rounded, label);
        lock_release(&mm->lock);
    }
    vma_label_unref(label);
    return err;
}
