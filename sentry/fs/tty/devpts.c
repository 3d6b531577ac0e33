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

/* A reference, or NULL. */
static struct pty *find(uint64_t index)
{
    struct pty *pty;

    lock_acquire(&table_lock);
    pty = index < DEVPTS_MAX ? table[index] : NULL;
    if (pty)
        terminal_ref(&pty->terminal);
    lock_release(&table_lock);
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
                                          .status = pts_status};

static int find_entry(uint64_t key, struct name name, const struct tree_node **ret_node,
                      uint64_t *ret_key)
{
    char text[16], *end;
    struct pty *pty;

    if (name.size == 0 || name.size > 4 || (name.size > 1 && name.text[0] == '0') ||
        name.text[0] < '0' || name.text[0] > '9')
        return -ENOENT;
    memcpy(text, name.text, name.size);
    text[name.size] = '\0';
    *ret_key = strtoul(text, &end, 10);
    if (*end)
        return -ENOENT;
    if (*ret_key == console_index) {
        *ret_node = &console_node;
        return 0;
    }
    pty = find(*ret_key);
    if (!pty)
        return -ENOENT;
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
    {.name = "ptmx", .mode = S_IFCHR | 0666, .major = 5, .minor = 2, .open_object = ptmx_open},
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

    if (path && strncmp(path, dir, strlen(dir)) == 0) {
        unsigned long index = strtoul(path + strlen(dir), &end, 10);

        if (!*end && index < DEVPTS_MAX) {
            console = file_ref(tty);
            console_index = (uint32_t)index;
        }
    }
    return treefs_create(&pts_root, "devpts", DEVPTS_SUPER_MAGIC, PTS_DEV_MINOR, ret);
}
