/*
 * PROCMAP_QUERY, ioctl(2) on an open /proc/PID/maps: one mapping without the text of all.
 * do_procmap_query() of fs/proc/task_mmu.c. Build ids are not looked for in what is mapped.
 */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "abi/procmap.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/usercopy.h"

#define RIGHTS                                                                                     \
    (ABI_PROCMAP_READABLE | ABI_PROCMAP_WRITABLE | ABI_PROCMAP_EXECUTABLE | ABI_PROCMAP_SHARED)
#define KNOWN_FLAGS (RIGHTS | ABI_PROCMAP_COVERING_OR_NEXT | ABI_PROCMAP_FILE_BACKED)

struct query {
    struct abi_procmap_query q;
    bool found;
    char name[PROC_VMA_NAME_MAX];
};

static uint64_t rights_of(const struct vma_info *vma)
{
    return (vma->prot & PROT_READ ? ABI_PROCMAP_READABLE : 0) |
           (vma->prot & PROT_WRITE ? ABI_PROCMAP_WRITABLE : 0) |
           (vma->prot & PROT_EXEC ? ABI_PROCMAP_EXECUTABLE : 0) |
           (vma->flags & MAP_SHARED ? ABI_PROCMAP_SHARED : 0);
}

/* query_matching_vma(), for one VMA after the other. Nonzero ends the walk. */
static int look(const struct vma_info *vma, void *arg)
{
    struct query *query = arg;
    struct abi_procmap_query *q = &query->q;
    uint64_t wanted = q->query_flags & RIGHTS, dev = 0, ino = 0;
    bool next = q->query_flags & ABI_PROCMAP_COVERING_OR_NEXT;

    if (vma->end <= q->query_addr)
        return 0;
    if (vma->object) {
        dev = __atomic_load_n(&vma->object->label_dev, __ATOMIC_RELAXED);
        ino = __atomic_load_n(&vma->object->label_ino, __ATOMIC_RELAXED);
    }
    if (!next && vma->start > q->query_addr)
        return 1;
    if (((q->query_flags & ABI_PROCMAP_FILE_BACKED) && !ino) || (rights_of(vma) & wanted) != wanted)
        return !next;
    query->found = true;
    q->vma_start = vma->start;
    q->vma_end = vma->end;
    q->vma_flags = rights_of(vma);
    q->vma_page_size = PAGE_SIZE;
    q->vma_offset = ino ? vma->offset : 0;
    q->inode = ino;
    q->dev_major = major(dev);
    q->dev_minor = minor(dev);
    q->build_id_size = 0;
    proc_vma_name(vma, query->name, sizeof(query->name));
    return 1;
}

/* The structure of that size, checked. */
static int get_query(struct mm *mm, uaddr_t arg, struct abi_procmap_query *ret)
{
    uint64_t size;
    int err;

    if (copy_struct_from_user(mm, &size, arg) < 0)
        return -EFAULT;
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (size < offsetof(struct abi_procmap_query, vma_start))
        return -EINVAL;
    memset(ret, 0, sizeof(*ret));
    err = check_zero_from_user(mm, arg, sizeof(*ret), size);
    if (!err)
        err = copy_from_user(mm, ret, arg, MIN(size, sizeof(*ret)));
    if (err < 0)
        return err;
    ret->size = size;
    if ((ret->query_flags & ~(uint64_t)KNOWN_FLAGS) || !ret->vma_name_size != !ret->vma_name_addr ||
        !ret->build_id_size != !ret->build_id_addr)
        return -EINVAL;
    return 0;
}

static int put_answer(struct mm *mm, uaddr_t arg, struct query *query)
{
    struct abi_procmap_query *q = &query->q;
    size_t size = query->name[0] ? strlen(query->name) + 1 : 0;

    if (q->vma_name_size) {
        if (size > MIN(q->vma_name_size, (uint32_t)PATH_MAX))
            return -ENAMETOOLONG;
        if (size && copy_to_user(mm, q->vma_name_addr, query->name, size) < 0)
            return -EFAULT;
        q->vma_name_size = (uint32_t)size;
    }
    return copy_to_user(mm, arg, q, MIN(q->size, sizeof(*q)));
}

/* `mm` is the caller's, where the structure lies. */
long proc_maps_ioctl(uint64_t tid, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct mm *other = NULL;
    struct query *query;
    int err;

    if (cmd != ABI_PROCMAP_QUERY)
        return -ENOTTY;
    query = calloc(1, sizeof(*query));
    if (!query)
        return -ENOMEM;
    err = get_query(mm, arg, &query->q);
    if (!err)
        err = proc_look_into_memory(tid, &other);
    if (!err && !other)
        err = -ESRCH;
    if (!err)
        mm_for_each_vma(other, look, query);
    if (!err && !query->found)
        err = -ENOENT;
    mm_unref(other);
    if (!err)
        err = put_answer(mm, arg, query);
    free(query);
    return err;
}
