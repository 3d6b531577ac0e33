/*
 * One instance for the sandbox. The table knows a pair from pty_create() until its master is
 * closed; a pair takes itself out before it goes, so entries need no reference.
 */
#include "sentry/fs/tty/devpts.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/treefs.h"
#include "sentry/fs/tty/pty.h"

#define PTS_DEV_MINOR 24

static struct lock table_lock = LOCK_INIT;
static struct pty *table[DEVPTS_MAX] __guarded_by(table_lock);
static uint64_t last_serial __guarded_by(table_lock);
static struct own_attr ptmx_attr; /* of /dev/pts/ptmx; ready before the guest runs */
static bool ptmx_ready;
static struct file *console; /* owned; set before the guest runs, like its number */
static uint32_t console_index = DEVPTS_MAX;

int devpts_enter(struct pty *pty)
{
    int err = -ENOSPC;

    lock_acquire(&table_lock);
    for (uint32_t i = 0; i < DEVPTS_MAX; i++) {
        if (table[i] || i == console_index)
            continue;
        table[i] = pty;
        pty->index = i;
        pty->serial = ++last_serial;
        err = 0;
        break;
    }
    lock_release(&table_lock);
    return err;
}

void devpts_remove(struct pty *pty)
{
    lock_acquire(&table_lock);
    table[pty->index] = NULL;
    lock_release(&table_lock);
}

uint32_t devpts_count(void)
{
    uint32_t count = 0;

    lock_acquire(&table_lock);
    for (uint32_t i = 0; i < DEVPTS_MAX; i++)
        count += table[i] != NULL;
    lock_release(&table_lock);
    return count;
}

/*
 * The key of a terminal's name is its index and its serial, so that a name that somebody holds
 * never becomes that of the next one with this index.
 */
static uint64_t key_of(const struct pty *pty)
{
    return pty->serial * DEVPTS_MAX + pty->index;
}

/* A reference, or NULL. */
static struct pty *find_index(uint64_t index)
{
    struct pty *pty;

    lock_acquire(&table_lock);
    pty = index < DEVPTS_MAX ? table[index] : NULL;
    if (pty)
        terminal_ref(&pty->terminal);
    lock_release(&table_lock);
    return pty;
}

static struct pty *find(uint64_t key)
{
    struct pty *pty = find_index(key % DEVPTS_MAX);

    if (pty && key_of(pty) != key) {
        terminal_unref(&pty->terminal);
        pty = NULL;
    }
    return pty;
}

static int pts_open(uint64_t key, uint32_t flags, struct file **ret)
{
    struct pty *pty = find(key);
    int err = pty ? pty_open_slave(pty, flags, ret) : -EIO;

    if (pty)
        terminal_unref(&pty->terminal);
    return err;
}

static void pts_status(uint64_t key, struct linux_stat *st)
{
    struct pty *pty = find(key);

    if (!pty)
        return;
    pty_stat(pty, st);
    terminal_unref(&pty->terminal);
}

static void pts_get_attr(uint64_t key, int aspect, uint32_t *ret_mode, uint32_t *ret_uid,
                         uint32_t *ret_gid)
{
    struct pty *pty = find(key);

    if (!pty)
        return;
    own_attr_get(&pty->attr, ret_mode, ret_uid, ret_gid);
    terminal_unref(&pty->terminal);
}

static int pts_set_attr(uint64_t key, int aspect, const struct inode_attr *attr)
{
    struct pty *pty = find(key);
    int err = pty ? own_attr_apply(&pty->attr, attr) : -EIO;

    if (pty)
        terminal_unref(&pty->terminal);
    return err;
}

static void ptmx_get_attr(uint64_t key, int aspect, uint32_t *ret_mode, uint32_t *ret_uid,
                          uint32_t *ret_gid)
{
    own_attr_get(&ptmx_attr, ret_mode, ret_uid, ret_gid);
}

static int ptmx_set_attr(uint64_t key, int aspect, const struct inode_attr *attr)
{
    return own_attr_apply(&ptmx_attr, attr);
}

static void ptmx_status(uint64_t key, struct linux_stat *st)
{
    own_attr_stat(&ptmx_attr, st);
}

static int ptmx_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return pty_create(flags, ret);
}

/* The caller's terminal is a magic link, so that stat(2) says the same as fstat(2) on stdio. */
static ssize_t console_readlink(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "../tty");
}

static int console_follow(uint64_t key, struct link_target *ret)
{
    ret->file = file_ref(console);
    return 0;
}

static const struct tree_node console_node = {
    .name = "", .mode = S_IFLNK | 0777, .readlink = console_readlink, .follow = console_follow};
static const struct tree_node pts_node = {.name = "",
                                          .mode = S_IFCHR | 0666,
                                          .major = 136,
                                          .open_object = pts_open,
                                          .status = pts_status,
                                          .get_attr = pts_get_attr,
                                          .set_attr = pts_set_attr};

static int find_entry(uint64_t key, struct name name, const struct tree_node **ret_node,
                      uint64_t *ret_key)
{
    char text[16], *end;
    struct pty *pty;
    uint64_t index;

    if (name.size == 0 || name.size > 4 || (name.size > 1 && name.text[0] == '0') ||
        name.text[0] < '0' || name.text[0] > '9')
        return -ENOENT;
    memcpy(text, name.text, name.size);
    text[name.size] = '\0';
    index = strtoul(text, &end, 10);
    if (*end)
        return -ENOENT;
    if (index == console_index) {
        *ret_key = index;
        *ret_node = &console_node;
        return 0;
    }
    pty = find_index(index);
    if (!pty)
        return -ENOENT;
    *ret_key = key_of(pty);
    terminal_unref(&pty->terminal);
    *ret_node = &pts_node;
    return 0;
}

static int64_t list_entries(uint64_t key, int64_t from, char *ret_name, size_t size,
                            const struct tree_node **ret_node)
{
    int64_t found = -1;

    lock_acquire(&table_lock);
    for (int64_t i = from; i >= 0 && i < DEVPTS_MAX && found < 0; i++) {
        if (table[i] || i == console_index)
            found = i;
    }
    lock_release(&table_lock);
    if (found >= 0) {
        snprintf(ret_name, size, "%ld", found);
        *ret_node = found == console_index ? &console_node : &pts_node;
    }
    return found;
}

static const struct tree_node pts_fixed[] = {
    {.name = "ptmx",
     .mode = S_IFCHR | 0666,
     .major = 5,
     .minor = 2,
     .open_object = ptmx_open,
     .status = ptmx_status,
     .get_attr = ptmx_get_attr,
     .set_attr = ptmx_set_attr},
};
static const struct tree_node pts_root = {.name = "",
                                          .mode = S_IFDIR | 0755,
                                          .children = pts_fixed,
                                          .child_count = ARRAY_COUNT(pts_fixed),
                                          .find = find_entry,
                                          .list = list_entries};

int devpts_create(struct file *tty, struct super_block **ret)
{
    static const char dir[] = "/dev/pts/";
    const char *path = tty ? tty->path : NULL;
    char *end;
    int err;

    if (path && strncmp(path, dir, strlen(dir)) == 0) {
        unsigned long index = strtoul(path + strlen(dir), &end, 10);

        if (!*end && index < DEVPTS_MAX) {
            console = file_ref(tty);
            console_index = (uint32_t)index;
        }
    }
    if (!ptmx_ready)
        own_attr_init(&ptmx_attr, S_IFCHR | 0666, 0, 0);
    ptmx_ready = true;
    err = treefs_create(&pts_root, "devpts", DEVPTS_SUPER_MAGIC, PTS_DEV_MINOR, ret);
    if (!err)
        (*ret)->read_only = false;
    return err;
}
