/*
 * What a ring has registered, a file or a buffer, in one place of a table. The table holds it, and
 * each request that uses it: when the last of them lets go, its tag, if it has one, is told by a
 * completion (IORING_REGISTER_FILES2, IORING_REGISTER_BUFFERS2).
 */
#include <stdlib.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/uring.h"

struct uring_rsrc *uring_rsrc_create(uint64_t tag)
{
    struct uring_rsrc *rsrc = calloc(1, sizeof(*rsrc));

    if (!rsrc)
        return NULL;
    refcount_set(&rsrc->refs, 1);
    rsrc->tag = tag;
    return rsrc;
}

struct uring_rsrc *uring_rsrc_ref(struct uring_rsrc *rsrc)
{
    refcount_get(&rsrc->refs);
    return rsrc;
}

struct uring_rsrc *uring_rsrc_unref(struct uring *ring, struct uring_rsrc *rsrc)
{
    if (!rsrc || !refcount_put(&rsrc->refs))
        return NULL;
    file_unref(rsrc->file);
    if (rsrc->tag)
        uring_post(ring, rsrc->tag, 0, 0, false);
    free(rsrc);
    return NULL;
}

void uring_hold(struct uring_req *req, enum uring_use what, struct uring_rsrc *rsrc)
{
    struct uring_rsrc *old = req->uses[what];

    req->uses[what] = rsrc ? uring_rsrc_ref(rsrc) : NULL;
    uring_rsrc_unref(req->ring, old);
}

int uring_read_tag(struct task *task, uaddr_t tags, uint32_t i, uint64_t *ret)
{
    *ret = 0;
    return tags ? copy_struct_from_user(task->mm, ret, tags + i * sizeof(*ret)) : 0;
}

struct uring_rsrc **uring_table_create(uint32_t count)
{
    return calloc(count, sizeof(struct uring_rsrc *));
}

void uring_table_destroy(struct uring *ring, struct uring_rsrc **table, uint32_t count, bool tell)
{
    while (count-- > 0) { /* the last one first, as Linux tells it */
        if (table[count] && !tell)
            table[count]->tag = 0;
        uring_rsrc_unref(ring, table[count]);
    }
    free(table);
}
