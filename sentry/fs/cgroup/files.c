/* What a group's files say and take: Documentation/admin-guide/cgroup-v2.rst, "Core Interface
 * Files", "PID", "Memory" and cpu.stat. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/cgroup/internal.h"

static const struct {
    uint32_t controller;
    const char *name;
} names[] = {{CGROUP_MEMORY, "memory"}, {CGROUP_PIDS, "pids"}};

static ssize_t put_controllers(uint32_t set, char *buf, size_t size)
{
    size_t at = 0;

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (set & names[i].controller)
            at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, "%s%s",
                                   at ? " " : "", names[i].name);
    }
    at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, "\n");
    return (ssize_t)at;
}

/* The text of a file, from an expression about `cg`. */
#define CGROUP_TEXT(name_, result_)                                                                \
    static ssize_t name_##_text(uint64_t key, char *buf, size_t size)                              \
    {                                                                                              \
        struct cgroup *cg;                                                                         \
        ssize_t n = cgroupfs_get(key, &cg);                                                        \
                                                                                                   \
        if (n < 0)                                                                                 \
            return n;                                                                              \
        n = result_;                                                                               \
        cgroup_unref(cg);                                                                          \
        return n;                                                                                  \
    }

static uint64_t load(const uint64_t *value)
{
    uint64_t now;

    cgroup_lock();
    now = *value;
    cgroup_unlock();
    return now;
}

static ssize_t put_limit(const uint64_t *limit, char *buf, size_t size)
{
    uint64_t value = load(limit);

    return value == CGROUP_NO_LIMIT ? snprintf(buf, size, "max\n")
                                    : snprintf(buf, size, "%lu\n", value);
}

static ssize_t put_stat(struct cgroup *cg, char *buf, size_t size)
{
    return snprintf(buf, size, "nr_descendants %lu\nnr_dying_descendants 0\n",
                    load(&cg->descendants));
}

static ssize_t put_cpu(struct cgroup *cg, char *buf, size_t size)
{
    struct usage usage;

    cgroup_cpu(cg, &usage);
    return snprintf(buf, size, "usage_usec %lu\nuser_usec %lu\nsystem_usec %lu\nnice_usec 0\n",
                    usage.user_ns / 1000 + usage.system_ns / 1000, usage.user_ns / 1000,
                    usage.system_ns / 1000);
}

static ssize_t put_memory(struct cgroup *cg, bool all, char *buf, size_t size)
{
    struct cgroup_memory m;
    int err = cgroup_memory(cg, &m);

    if (err < 0)
        return err;
    if (!all)
        return snprintf(buf, size, "%lu\n", m.anonymous + m.file + m.shared + m.tables);
    return snprintf(buf, size,
                    "anon %lu\nfile %lu\nkernel 0\nkernel_stack 0\npagetables %lu\nshmem %lu\n"
                    "file_mapped %lu\nfile_dirty 0\nfile_writeback 0\nswapcached 0\n"
                    "inactive_anon 0\nactive_anon %lu\ninactive_file 0\nactive_file %lu\n"
                    "unevictable 0\n",
                    m.anonymous, m.file + m.shared, m.tables, m.shared, m.file + m.shared,
                    m.anonymous + m.shared, m.file);
}

CGROUP_TEXT(type, snprintf(buf, size, "%s\n", cgroup_type(cg)))
CGROUP_TEXT(controllers, put_controllers(cgroup_controllers(cg), buf, size))
CGROUP_TEXT(control, put_controllers(__atomic_load_n(&cg->control, __ATOMIC_RELAXED), buf, size))
CGROUP_TEXT(max_depth, put_limit(&cg->max_depth, buf, size))
CGROUP_TEXT(max_descendants, put_limit(&cg->max_descendants, buf, size))
CGROUP_TEXT(stat, put_stat(cg, buf, size))
CGROUP_TEXT(cpu_stat, put_cpu(cg, buf, size))
CGROUP_TEXT(freeze, snprintf(buf, size, "%d\n", __atomic_load_n(&cg->freeze, __ATOMIC_RELAXED)))
CGROUP_TEXT(pids_current, snprintf(buf, size, "%lu\n", load(&cg->pids)))
CGROUP_TEXT(pids_peak, snprintf(buf, size, "%lu\n", load(&cg->pids_peak)))
CGROUP_TEXT(pids_max, put_limit(&cg->pids_max, buf, size))
CGROUP_TEXT(memory_current, put_memory(cg, false, buf, size))
CGROUP_TEXT(memory_stat, put_memory(cg, true, buf, size))

/* ---- what can be written ------------------------------------------------------------------- */

/* One word, white space around it. */
static bool is_word(const char *text, const char *word)
{
    text += strspn(text, " \t\n");
    return strncmp(text, word, strlen(word)) == 0 &&
           !text[strlen(word) + strspn(text + strlen(word), " \t\n")];
}

static int parse_limit(const char *text, uint64_t max, uint64_t *ret)
{
    char *end;
    long long value;

    if (is_word(text, "max")) {
        *ret = CGROUP_NO_LIMIT;
        return 0;
    }
    errno = 0;
    value = strtoll(text, &end, 0);
    if (end == text || end[strspn(end, " \t\n")])
        return -EINVAL;
    if (errno || value < 0 || (uint64_t)value > max)
        return max == INT32_MAX ? -ERANGE : -EINVAL;
    *ret = (uint64_t)value;
    return 0;
}

static int set_limit(uint64_t key, size_t offset, const char *text, uint64_t max)
{
    uint64_t value;
    struct cgroup *cg;
    int err = cgroupfs_get(key, &cg);

    if (err < 0)
        return err;
    err = parse_limit(text, max, &value);
    if (!err) {
        cgroup_lock();
        *(uint64_t *)((char *)cg + offset) = value;
        cgroup_unlock();
    }
    cgroup_unref(cg);
    return err;
}

#define LIMIT_WRITE(name_, max_)                                                                   \
    static int name_##_write(uint64_t key, const char *text, size_t size)                          \
    {                                                                                              \
        return set_limit(key, offsetof(struct cgroup, name_), text, max_);                         \
    }
LIMIT_WRITE(max_depth, INT32_MAX)
LIMIT_WRITE(max_descendants, INT32_MAX)
LIMIT_WRITE(pids_max, 1UL << 22)

/* "+name -name ..." */
static int parse_control(char *text, uint32_t *ret_enable, uint32_t *ret_disable)
{
    char *rest = text, *word;

    *ret_enable = *ret_disable = 0;
    while ((word = strsep(&rest, " \t\n")) != NULL) {
        uint32_t set = 0;

        if (!*word)
            continue;
        for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
            if (strcmp(word + 1, names[i].name) == 0)
                set = names[i].controller;
        }
        if (!set || (*word != '+' && *word != '-'))
            return -EINVAL;
        /* The last word about a controller stands. */
        *ret_enable = *word == '+' ? *ret_enable | set : *ret_enable & ~set;
        *ret_disable = *word == '-' ? *ret_disable | set : *ret_disable & ~set;
    }
    return 0;
}

static int control_write(uint64_t key, const char *text, size_t size)
{
    char *copy = strdup(text);
    uint32_t enable, disable;
    struct cgroup *cg;
    int err = copy ? parse_control(copy, &enable, &disable) : -ENOMEM;

    free(copy);
    if (!err)
        err = cgroupfs_get(key, &cg);
    if (err < 0)
        return err;
    err = cgroup_set_control(cg, enable, disable);
    cgroup_unref(cg);
    return err;
}

static int type_write(uint64_t key, const char *text, size_t size)
{
    struct cgroup *cg;
    int err = is_word(text, "threaded") ? cgroupfs_get(key, &cg) : -EINVAL;

    if (err < 0)
        return err;
    err = cgroup_make_threaded(cg);
    cgroup_unref(cg);
    return err;
}

/* kstrtoint() and a range of its own. */
static int parse_int(const char *text, int low, int high, int *ret)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (end == text || end[strspn(end, " \t\n")])
        return -EINVAL;
    *ret = (int)value;
    return value < low || value > high ? -ERANGE : 0;
}

static int freeze_write(uint64_t key, const char *text, size_t size)
{
    struct cgroup *cg;
    int value, err = parse_int(text, 0, 1, &value);

    if (!err)
        err = cgroupfs_get(key, &cg);
    if (err < 0)
        return err;
    err = cgroup_set_freeze(cg, value);
    cgroup_unref(cg);
    return err;
}

static int kill_write(uint64_t key, const char *text, size_t size)
{
    struct cgroup *cg;
    int value, err = parse_int(text, 1, 1, &value);

    if (!err)
        err = cgroupfs_get(key, &cg);
    if (err < 0)
        return err;
    err = cgroup_kill(cg);
    cgroup_unref(cg);
    return err;
}

/* ---- whose they are ------------------------------------------------------------------------ */

void cgroupfs_get_attr(uint64_t key, int aspect, uint32_t *ret_mode, uint32_t *ret_uid,
                       uint32_t *ret_gid)
{
    struct cgroup *cg;

    if (cgroupfs_get(key, &cg) < 0)
        return;
    cgroup_lock();
    *ret_mode = cg->attrs[aspect].mode;
    *ret_uid = cg->attrs[aspect].uid;
    *ret_gid = cg->attrs[aspect].gid;
    cgroup_unlock();
    cgroup_unref(cg);
}

int cgroupfs_set_attr(uint64_t key, int aspect, const struct inode_attr *attr)
{
    struct cgroup_attr *own;
    struct cgroup *cg;
    int err = cgroupfs_get(key, &cg);

    if (err < 0)
        return err;
    own = &cg->attrs[aspect];
    cgroup_lock();
    if (attr->mask & ATTR_MODE)
        own->mode = attr->mode & 07777;
    if (attr->mask & ATTR_UID)
        own->uid = attr->uid;
    if (attr->mask & ATTR_GID)
        own->gid = attr->gid;
    cgroup_unlock();
    cgroup_unref(cg);
    return 0;
}

/* Those who made the group: the other files go with the directory. */
static void owner(uint64_t key, uint32_t *ret_uid, uint32_t *ret_gid)
{
    uint32_t mode;

    cgroupfs_get_attr(key, CGROUP_ATTR_DIR, &mode, ret_uid, ret_gid);
}

#define READ(name_, symbol_)                                                                       \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0444, .text = symbol_##_text, .owner = owner              \
    }
#define WRITE(name_, symbol_)                                                                      \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = symbol_##_text, .write = symbol_##_write,   \
        .owner = owner                                                                             \
    }
#define GIVEN(name_, aspect_, text_, write_)                                                       \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = text_, .write = write_,                     \
        .text_at_read = true, .get_attr = cgroupfs_get_attr, .set_attr = cgroupfs_set_attr,        \
        .aspect = aspect_                                                                          \
    }
#define EVENTS(name_, open_)                                                                       \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0444, .open_object = open_, .owner = owner                \
    }

#define EVERYWHERE                                                                                 \
    READ("cgroup.controllers", controllers), WRITE("cgroup.max.depth", max_depth),                 \
        WRITE("cgroup.max.descendants", max_descendants),                                          \
        GIVEN("cgroup.procs", CGROUP_ATTR_PROCS, cgroupfs_procs_text, cgroupfs_procs_write),       \
        READ("cgroup.stat", stat),                                                                 \
        GIVEN("cgroup.subtree_control", CGROUP_ATTR_CONTROL, control_text, control_write),         \
        GIVEN("cgroup.threads", CGROUP_ATTR_THREADS, cgroupfs_threads_text,                        \
              cgroupfs_threads_write),                                                             \
        READ("cpu.stat", cpu_stat)

const struct tree_node cgroupfs_root_files[CGROUPFS_ROOT_FILES] = {EVERYWHERE};
const struct tree_node cgroupfs_files[CGROUPFS_FILES] = {
    EVERYWHERE,
    EVENTS("cgroup.events", cgroupfs_events_open),
    WRITE("cgroup.freeze", freeze),
    {.name = "cgroup.kill", .mode = S_IFREG | 0200, .write = kill_write, .owner = owner},
    WRITE("cgroup.type", type),
};

/* Nothing limits memory, and that is what memory.max says. */
const struct cgroupfs_controlled cgroupfs_controlled[CGROUPFS_CONTROLLED] = {
    {CGROUP_MEMORY, false, READ("memory.current", memory_current)},
    {CGROUP_MEMORY, false, {.name = "memory.max", .mode = S_IFREG | 0444, .fixed = "max\n"}},
    {CGROUP_MEMORY, true, READ("memory.stat", memory_stat)},
    {CGROUP_PIDS, false, READ("pids.current", pids_current)},
    {CGROUP_PIDS, false, EVENTS("pids.events", cgroupfs_pids_events_open)},
    {CGROUP_PIDS, false, EVENTS("pids.events.local", cgroupfs_pids_events_local_open)},
    {CGROUP_PIDS, false, WRITE("pids.max", pids_max)},
    {CGROUP_PIDS, false, READ("pids.peak", pids_peak)},
    {CGROUP_MEMORY, false, {.name = "memory.swap.max", .mode = S_IFREG | 0444, .fixed = "max\n"}},
};
