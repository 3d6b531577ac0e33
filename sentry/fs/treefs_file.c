/*
 * Open files of treefs. A text is made at its full length when it is read from the beginning, and
 * kept as it was then for whoever reads on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/treefs_internal.h"
#include "sentry/mm/uio.h"

#define WRITE_MAX 4095

/* A text as it was at one moment. */
struct snapshot {
    refcount_t refs;
    int64_t size;
    char text[];
};

static struct snapshot *snapshot_ref(struct snapshot *s)
{
    refcount_get(&s->refs);
    return s;
}

static struct snapshot *snapshot_unref(struct snapshot *s)
{
    if (s && refcount_put(&s->refs))
        free(s);
    return NULL;
}

static bool has_text(const struct tree_node *node)
{
    return node->text || node->fixed;
}

static ssize_t make_text(const struct tree_node *node, uint64_t key, char *buf, size_t size)
{
    size_t length;

    if (node->text)
        return node->text(key, buf, size);
    length = strlen(node->fixed);
    memcpy(buf, node->fixed, MIN(length, size));
    return (ssize_t)length;
}

/* Makes the text at its full length, however long it turns out to be. */
static int snapshot_make(const struct tree_node *node, uint64_t key, struct snapshot **ret)
{
    struct snapshot *s = NULL;
    size_t room = 4096;

    for (;;) {
        struct snapshot *larger = realloc(s, sizeof(*s) + room);
        ssize_t n;

        if (!larger) {
            free(s);
            return -ENOMEM;
        }
        s = larger;
        n = make_text(node, key, s->text, room);
        if (n < 0) {
            free(s);
            return (int)n;
        }
        if ((size_t)n <= room) {
            refcount_set(&s->refs, 1);
            s->size = n;
            *ret = s;
            return 0;
        }
        room = (size_t)n + 4096;
    }
}

/*
 * Whoever reads from the beginning sees what holds now, as with Linux's seq_file: that is how
 * programs watch a file that they keep open.
 */
static int snapshot_at(struct tree_file *t, int64_t pos, struct snapshot **ret)
{
    struct snapshot *renewed = NULL, *old = NULL;
    int err;

    lock_acquire(&t->lock);
    if (pos != 0 && t->snapshot)
        *ret = snapshot_ref(t->snapshot);
    else
        *ret = NULL;
    lock_release(&t->lock);
    if (*ret)
        return 0;
    err = snapshot_make(t->node, t->key, &renewed);
    if (err < 0)
        return err;
    *ret = snapshot_ref(renewed);
    lock_acquire(&t->lock);
    old = t->snapshot;
    t->snapshot = renewed;
    lock_release(&t->lock);
    snapshot_unref(old);
    return 0;
}

static ssize_t text_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct snapshot *s;
    ssize_t n;

    if (!has_text(tree_file_of(f)->node))
        return -EINVAL; /* it can only be written */
    n = snapshot_at(tree_file_of(f), *pos, &s);
    if (n < 0)
        return n;
    if (*pos < s->size)
        n = uio_copy_out(uio, s->text + *pos, (size_t)(s->size - *pos));
    snapshot_unref(s);
    if (n > 0)
        *pos += n;
    return n;
}

static ssize_t text_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct tree_file *t = tree_file_of(f);
    char buf[WRITE_MAX + 1];
    size_t size = MIN(uio->left, (size_t)WRITE_MAX);
    ssize_t n = uio_copy_in(uio, buf, size);
    int err;

    if (n < 0)
        return n;
    buf[n] = 0;
    err = t->node->write(t->key, buf, (size_t)n);
    if (err < 0)
        return err;
    *pos += n;
    return n;
}

/* seq_lseek(): a text has no end to count from. */
static int64_t text_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return whence == SEEK_END ? -EINVAL : file_seek_in(offset, whence, pos, 0);
}

static long text_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    const struct tree_file *t = tree_file_of(f);

    return t->node->ioctl ? t->node->ioctl(t->key, mm, cmd, arg) : -ENOTTY;
}

void tree_file_release(struct file *f)
{
    struct tree_file *t = tree_file_of(f);

    file_fini(f);
    lock_destroy(&t->lock);
    snapshot_unref(t->snapshot);
    free(t);
}

static const struct file_operations text_operations = {
    .read = text_read,
    .llseek = text_llseek,
    .ioctl = text_ioctl,
    .release = tree_file_release,
};

static const struct file_operations writable_operations = {
    .read = text_read,
    .write = text_write,
    .llseek = text_llseek,
    .release = tree_file_release,
};

static const struct file_operations *operations_of(const struct tree_node *node)
{
    if (node->write)
        return &writable_operations;
    return has_text(node) ? &text_operations : &tree_dir_operations;
}

/* What an open asks for, as access(2) says it. */
static int access_of(uint32_t flags)
{
    static const int wanted[4] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};

    return wanted[flags & O_ACCMODE] | (flags & O_TRUNC ? W_OK : 0);
}

int tree_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    const struct tree_node *node = tree_node_of(dentry);
    struct tree_file *t;
    char none;
    int err = 0;

    err = tree_access(dentry, access_of(flags));
    if (err < 0)
        return err;
    if (node->open)
        return node->open(node, flags, ret);
    if (node->open_object)
        return node->open_object(tree_inode_of(dentry)->key, flags, ret);
    if (!S_ISDIR(node->mode) && !has_text(node) && !node->write)
        return -ENXIO;
    if (((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) && !node->write)
        return -EACCES;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->node = node;
    t->key = tree_inode_of(dentry)->key;
    lock_init(&t->lock);
    file_init(&t->file, operations_of(node), flags);
    if (node->text && !node->text_at_read && (flags & O_ACCMODE) != O_WRONLY)
        err = (int)MIN(node->text(t->key, &none, 0), 0); /* may it be read at all? */
    if (err < 0) {
        file_unref(&t->file);
        return err;
    }
    *ret = &t->file;
    return 0;
}
