/*
 * /proc/PID/uid_map, gid_map, projid_map and setgroups: the user namespace of a task, as those see
 * it who opened the file. user_namespaces(7).
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"

#define TEXT_MAX  (ID_MAP_EXTENTS_MAX * 33 + 1)
#define SETGROUPS ID_KINDS /* the fourth kind of file */
#define ALLOW_MAX 7        /* bytes of a word that are written to setgroups */

struct map_file {
    struct file file;
    int kind;                  /* enum id_kind, or SETGROUPS */
    struct user_ns *ns;        /* owned reference */
    const struct cred *opener; /* owned reference: what may be written is his to say */
};

static struct map_file *map_file_of(struct file *f)
{
    return container_of(f, struct map_file, file);
}

static size_t map_text(const struct map_file *m, char *buf, size_t size)
{
    const struct user_ns *lower = m->opener->user_ns;
    const struct id_map *map = user_ns_map(m->ns, (enum id_kind)m->kind);
    struct proc_text text = {buf, size, 0};

    if (lower == m->ns && user_ns_parent(lower))
        lower = user_ns_parent(lower);
    for (size_t i = 0; map && i < map->count; i++) {
        const struct id_extent *e = &map->extents[i];

        proc_printf(&text, "%10u %10u %10u\n", e->first,
                    id_map_from_kernel(user_ns_map(lower, (enum id_kind)m->kind), e->kernel),
                    e->count);
    }
    return text.length;
}

static ssize_t map_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct map_file *m = map_file_of(f);
    char text[TEXT_MAX];
    size_t size;
    ssize_t n;

    if (m->kind == SETGROUPS)
        size = (size_t)snprintf(
            text, sizeof(text), "%s\n",
            __atomic_load_n(&m->ns->setgroups_allowed, __ATOMIC_RELAXED) ? "allow" : "deny");
    else
        size = map_text(m, text, sizeof(text));
    if (*pos < 0 || (uint64_t)*pos >= size)
        return 0;
    n = uio_copy_out(uio, text + *pos, size - (size_t)*pos);
    if (n > 0)
        *pos += n;
    return n;
}

/* "allow" or "deny", and nothing but blanks behind it. */
static int write_setgroups(struct map_file *m, const char *text)
{
    bool allow = strncmp(text, "allow", 5) == 0;

    if (!allow && strncmp(text, "deny", 4) != 0)
        return -EINVAL;
    text += allow ? 5 : 4;
    text += strspn(text, " \t\n\v\f\r");
    return *text ? -EINVAL : user_ns_set_setgroups(m->ns, allow);
}

static ssize_t map_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct map_file *m = map_file_of(f);
    char text[PAGE_SIZE];
    size_t limit = m->kind == SETGROUPS ? ALLOW_MAX : sizeof(text) - 1;
    ssize_t n;
    int err;

    if (*pos != 0 || uio->left > limit)
        return -EINVAL;
    n = uio_copy_in(uio, text, uio->left);
    if (n < 0)
        return n;
    text[n] = '\0';
    if (m->kind == SETGROUPS)
        err = write_setgroups(m, text);
    else
        err =
            user_ns_write_map(m->ns, (enum id_kind)m->kind, m->opener, task_current()->cred, text);
    if (err < 0)
        return err;
    *pos += n;
    return n;
}

static int64_t map_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return file_seek_in(offset, whence, pos, 0);
}

static void map_release(struct file *f)
{
    struct map_file *m = map_file_of(f);

    file_fini(f);
    user_ns_unref(m->ns);
    cred_unref(m->opener);
    free(m);
}

static const struct file_operations map_operations = {
    .read = map_read,
    .write = map_write,
    .llseek = map_llseek,
    .release = map_release,
};

static int map_open(uint64_t key, uint32_t flags, int kind, struct file **ret)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    struct task *task = proc_find_task(key);
    struct map_file *m;

    if (!task)
        return -ESRCH;
    m = calloc(1, sizeof(*m));
    if (!m) {
        task_unref(task);
        return -ENOMEM;
    }
    file_init(&m->file, &map_operations, flags);
    m->kind = kind;
    m->ns = user_ns_of(task_get_ns(task, NS_USER));
    m->opener = cred_ref(task_current()->cred);
    task_unref(task);
    if (writes && kind == SETGROUPS && !cred_has_ns_cap(m->opener, m->ns, CAP_SYS_ADMIN)) {
        file_unref(&m->file);
        return -EACCES;
    }
    *ret = &m->file;
    return 0;
}

int proc_uid_map_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return map_open(key, flags, ID_USER, ret);
}

int proc_gid_map_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return map_open(key, flags, ID_GROUP, ret);
}

int proc_projid_map_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return map_open(key, flags, ID_PROJECT, ret);
}

int proc_setgroups_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return map_open(key, flags, SETGROUPS, ret);
}
