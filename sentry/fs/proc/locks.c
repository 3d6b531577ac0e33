/* /proc/locks: all locks and leases on files, as fs/locks.c of Linux prints them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/vfs/lock/filelock.h"
#include "sentry/vfs/lock/lease.h"

#define SLACK 64 /* what may come between counting and taking */

static const char *type_name(int type)
{
    switch (type) {
    case F_WRLCK:
        return "WRITE";
    case F_RDLCK:
        return "READ";
    default:
        return "UNLCK";
    }
}

/* With the number of the line, as one that is wanted follows the one in its way. */
void proc_put_lock(struct proc_text *text, uint64_t key, size_t number, const struct lock_view *v)
{
    static const char *const kinds[] = {
        [LOCK_FLOCK] = "FLOCK ", [LOCK_POSIX] = "POSIX ", [LOCK_OFD] = "OFDLCK"};
    int32_t pid = v->is.kind == LOCK_OFD ? -1 : proc_shown(key, v->is.pid);

    proc_printf(text, "%zu: %s%s ADVISORY  %s %d %02x:%02x:%lu ", number, v->waiting ? "-> " : "",
                kinds[v->is.kind], type_name(v->is.type), pid, major(v->dev), minor(v->dev),
                v->ino);
    if (v->is.kind == LOCK_FLOCK)
        proc_printf(text, "0 EOF\n");
    else if (v->is.end == INT64_MAX)
        proc_printf(text, "%ld EOF\n", v->is.start);
    else
        proc_printf(text, "%ld %ld\n", v->is.start, v->is.end);
}

int proc_take_locks(struct lock_view **ret, size_t *ret_count)
{
    size_t room = filelock_list(NULL, 0) + SLACK;

    *ret = calloc(room, sizeof(**ret));
    if (!*ret)
        return -ENOMEM;
    *ret_count = MIN(filelock_list(*ret, room), room);
    return 0;
}

static int put_leases(struct proc_text *text, uint64_t key, size_t number)
{
    size_t room = lease_list(NULL, 0) + SLACK, count;
    struct lease_view *views = calloc(room, sizeof(*views));

    if (!views)
        return -ENOMEM;
    count = MIN(lease_list(views, room), room);
    for (size_t i = 0; i < count; i++)
        proc_printf(text, "%zu: LEASE  %s %s %d %02x:%02x:%lu 0 EOF\n", number + i,
                    views[i].breaking ? "BREAKING " : "ACTIVE   ", type_name(views[i].type),
                    proc_shown(key, views[i].pid), major(views[i].dev), minor(views[i].dev),
                    views[i].ino);
    free(views);
    return 0;
}

/* locks_show() leaves out what belongs to processes that are not seen. */
static bool is_shown(uint64_t key, const struct lock_view *v)
{
    return v->is.kind == LOCK_OFD || proc_shown(key, v->is.pid) != 0;
}

ssize_t proc_locks_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct lock_view *views;
    size_t count, number = 0;
    int err = proc_take_locks(&views, &count);

    if (err < 0)
        return err;
    for (size_t i = 0; i < count; i++) {
        number += !views[i].waiting;
        if (is_shown(key, &views[i]))
            proc_put_lock(&text, key, number, &views[i]);
    }
    free(views);
    err = put_leases(&text, key, number + 1);
    return err < 0 ? err : (ssize_t)text.length;
}
