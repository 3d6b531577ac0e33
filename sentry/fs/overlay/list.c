/*
 * Listing the overlay's directories.
 *
 * One that has no entries when its listing begins is the lower directory's: names and positions
 * pass through; should it get entries meanwhile, names that are gone are left out. One that has is
 * merged:
 *
 *   positions   0, 1            "." and ".."
 *               2 + i           the i-th name of the lower directory, as it was when this began
 *               OV_MADE + c     the entry with cookie c that lower does not have
 *
 * An entry hides the lower name. So each position means the same name as long as the listing lasts,
 * whatever is made and removed, and no name comes twice.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/dirent.h"

#define OV_DOTS 2
#define OV_MADE (1L << 40)

struct ov_listed {
    uint64_t ino;
    uint8_t type;
    uint8_t size;
    char name[];
};

struct ov_dir_file {
    struct file file;
    struct file *lower;         /* owned; NULL: none */
    struct ov_listing *listing; /* owned reference; NULL: not merged. Under file.pos_lock */
    bool merged;                /* likewise */
};

static struct ov_dir_file *dir_file_of(struct file *f)
{
    return container_of(f, struct ov_dir_file, file);
}

static bool has_entries(const struct ov_inode *dir)
{
    return nametable_count(&dir->dir.entries) > 0;
}

static bool is_dots(const char *name, size_t size)
{
    return name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.'));
}

/* ---- what the lower directory lists -------------------------------------------------------- */

static void listing_free(struct ov_listing *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
    free(l);
}

static void listing_put(struct ov_inode *dir, struct ov_listing *l)
{
    bool last;

    if (!l)
        return;
    tree_lock(&dir->fs->sb);
    last = refcount_put(&l->refs);
    if (last && dir->dir.listing == l)
        dir->dir.listing = NULL;
    tree_unlock(&dir->fs->sb);
    if (last)
        listing_free(l);
}

struct collector {
    struct dirent_sink sink;
    struct ov_listing *listing;
    bool failed;
};

static bool collect(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                    int64_t next, uint8_t type)
{
    struct collector *c = container_of(sink, struct collector, sink);
    struct ov_listing *l = c->listing;
    struct ov_listed *item;

    if (is_dots(name, size) || size == 0 || size > VFS_NAME_MAX)
        return true;
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        struct ov_listed **items = realloc(l->items, room * sizeof(struct ov_listed *));

        if (!items) {
            c->failed = true;
            return false;
        }
        l->items = items;
        l->room = room;
    }
    item = malloc(sizeof(*item) + size);
    if (!item) {
        c->failed = true;
        return false;
    }
    item->ino = ino;
    item->type = type;
    item->size = (uint8_t)size;
    memcpy(item->name, name, size);
    l->items[l->count++] = item;
    return true;
}

/* Everything that `from` lists. */
static int listing_read(struct file *from, struct ov_listing **ret)
{
    struct collector c = {.sink.emit = collect, .listing = calloc(1, sizeof(struct ov_listing))};
    int64_t pos = 0;
    int err;

    if (!c.listing)
        return -ENOMEM;
    refcount_set(&c.listing->refs, 1);
    err = from ? from->ops->getdents(from, &c.sink, &pos) : 0;
    if (!err && c.failed)
        err = -ENOMEM;
    if (err < 0)
        listing_free(c.listing);
    else
        *ret = c.listing;
    return err;
}

/* A name that the host got after ours was made: it is one, and has its place in the lower part. */
static void mark_entries(struct ov_inode *dir, const struct ov_listing *l)
{
    for (size_t i = 0; i < l->count; i++) {
        struct ov_listed *item = l->items[i];
        struct ov_entry *entry = ov_entry_find(dir, (struct name){item->name, item->size});

        if (entry)
            entry->in_lower = true;
    }
}

/* A listing begins: merged or not? */
static int begin(struct ov_dir_file *df, struct ov_inode *dir)
{
    struct ov_listing *fresh = NULL, *use;
    int err;

    listing_put(dir, df->listing);
    df->listing = NULL;
    df->merged = has_entries(dir) || !df->lower;
    if (!df->merged)
        return 0;
    tree_lock(&dir->fs->sb);
    use = dir->dir.listing;
    if (use)
        refcount_get(&use->refs);
    tree_unlock(&dir->fs->sb);
    if (!use) {
        err = listing_read(df->lower, &fresh);
        if (err < 0)
            return err;
        tree_lock(&dir->fs->sb);
        mark_entries(dir, fresh);
        dir->dir.listing = use = fresh;
        tree_unlock(&dir->fs->sb);
    }
    df->listing = use;
    return 0;
}

/* ---- one position -------------------------------------------------------------------------- */

struct ov_shown {
    char name[VFS_NAME_MAX + 1];
    size_t size;
    uint64_t ino;
    int64_t next;
    uint8_t type;
};

static uint64_t parent_ino(struct file *f)
{
    struct dentry *parent = dentry_parent(f->at.dentry);
    uint64_t ino = parent ? parent->inode->ino : f->at.dentry->inode->ino;

    dentry_unref(parent);
    return ino;
}

static void show_dots(struct file *f, int64_t pos, struct ov_shown *ret)
{
    *ret = (struct ov_shown){.size = (size_t)pos + 1, .next = pos + 1, .type = DT_DIR};
    memcpy(ret->name, "..", ret->size);
    ret->ino = pos ? parent_ino(f) : f->at.dentry->inode->ino;
}

static void show_entry(const struct ov_entry *entry, struct ov_shown *ret)
{
    ret->size = entry->named.name.size;
    memcpy(ret->name, entry->named.name.text, entry->named.name.size);
    ret->ino = entry->inode->inode.ino;
    ret->type = IFTODT(entry->inode->inode.mode);
}

/* False: nothing there any more. */
static bool show_listed(struct ov_inode *dir, const struct ov_listed *item, struct ov_shown *ret)
{
    struct ov_entry *entry = ov_entry_find(dir, (struct name){item->name, item->size});

    if (entry && !entry->inode)
        return false;
    if (entry) {
        show_entry(entry, ret);
        return true;
    }
    ret->size = item->size;
    memcpy(ret->name, item->name, item->size);
    ret->ino = item->ino;
    ret->type = item->type;
    return true;
}

/* The first name at `pos` or behind it. */
static bool show_merged(struct ov_dir_file *df, int64_t pos, struct ov_shown *ret)
{
    struct ov_inode *dir = ov_of(df->file.at.dentry);
    struct ov_entry *entry = NULL;
    bool found = false;

    tree_lock(&dir->fs->sb);
    for (; !found && pos < OV_DOTS + (int64_t)df->listing->count; pos++) {
        found = show_listed(dir, df->listing->items[pos - OV_DOTS], ret);
        ret->next = pos + 1;
    }
    if (!found) {
        entry = ov_entry_next(dir, MAX(pos - OV_MADE, 0));
        while (entry && (entry->in_lower || !entry->inode))
            entry = ov_entry_next(dir, entry->named.cookie + 1);
    }
    if (entry) {
        show_entry(entry, ret);
        ret->next = OV_MADE + entry->named.cookie + 1;
        found = true;
    }
    tree_unlock(&dir->fs->sb);
    return found;
}

static int list_merged(struct ov_dir_file *df, struct dirent_sink *sink, int64_t *pos)
{
    struct ov_shown shown;

    for (;;) {
        if (*pos < OV_DOTS)
            show_dots(&df->file, *pos, &shown);
        else if (!show_merged(df, *pos, &shown))
            return 0;
        if (!sink->emit(sink, shown.name, shown.size, shown.ino, shown.next, shown.type))
            return 0;
        *pos = shown.next;
    }
}

/* ---- passing through ----------------------------------------------------------------------- */

struct filter {
    struct dirent_sink sink, *out;
    struct ov_dir_file *df;
};

static bool pass(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                 int64_t next, uint8_t type)
{
    struct filter *f = container_of(sink, struct filter, sink);
    struct ov_inode *dir = ov_of(f->df->file.at.dentry);
    struct ov_entry *entry;
    bool gone = false;

    if (size == 2 && is_dots(name, size))
        ino = parent_ino(&f->df->file); /* the directory may have been moved */
    if (has_entries(dir)) {
        tree_lock(&dir->fs->sb);
        entry = ov_entry_find(dir, (struct name){name, size});
        gone = entry && !entry->inode;
        if (entry && entry->inode) {
            ino = entry->inode->inode.ino;
            type = IFTODT(entry->inode->inode.mode);
        }
        tree_unlock(&dir->fs->sb);
    }
    return gone || f->out->emit(f->out, name, size, ino, next, type);
}

static int dir_getdents(struct file *file, struct dirent_sink *sink, int64_t *pos)
{
    struct ov_dir_file *df = dir_file_of(file);
    struct ov_inode *dir = ov_of(file->at.dentry);
    struct filter filter = {.sink.emit = pass, .out = sink, .df = df};
    int err = 0;

    if (ov_is_dead(dir))
        return -ENOENT;
    if (*pos == 0 || (df->merged && !df->listing))
        err = begin(df, dir);
    if (err < 0)
        return err;
    if (df->merged)
        return list_merged(df, sink, pos);
    return df->lower->ops->getdents(df->lower, &filter.sink, pos);
}

static int64_t dir_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    struct ov_dir_file *df = dir_file_of(f);
    int64_t target;

    if (!df->merged)
        return df->lower->ops->llseek(df->lower, offset, whence, pos);
    if (whence > SEEK_CUR || __builtin_add_overflow(whence == SEEK_CUR ? pos : 0, offset, &target))
        return -EINVAL;
    return target < 0 ? -EINVAL : target;
}

static int dir_stat(struct file *f, struct linux_stat *ret)
{
    struct ov_dir_file *df = dir_file_of(f);
    struct ov_inode *ov = ov_of(f->at.dentry);
    int err;

    if (ov_upper(ov) || !df->lower)
        return ov_stat(f->at.dentry, false, ret);
    err = df->lower->ops->stat(df->lower, ret);
    if (!err)
        ov_complete_stat(ov, ret);
    return err;
}

static int dir_sync(struct file *f)
{
    struct overlay *fs = ov_of(f->at.dentry)->fs;

    return fs->journal ? ov_journal_sync(fs->journal) : 0; /* else names are kept in memory */
}

static void dir_release(struct file *f)
{
    struct ov_dir_file *df = dir_file_of(f);

    if (f->at.dentry)
        listing_put(ov_of(f->at.dentry), df->listing);
    file_unref(df->lower);
    file_fini(f);
    free(df);
}

static const struct file_operations dir_operations = {
    .llseek = dir_llseek,
    .stat = dir_stat,
    .getdents = dir_getdents,
    .sync = dir_sync,
    .release = dir_release,
};

int ov_dir_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct ov_inode *ov = ov_of(dentry);
    struct ov_dir_file *df = calloc(1, sizeof(*df));
    int err = 0;

    if (!df)
        return -ENOMEM;
    file_init(&df->file, &dir_operations, flags);
    df->merged = !ov->lower;
    if (ov->lower)
        err = ov_open_half(ov->lower, flags, &df->lower);
    if (err < 0)
        file_unref(&df->file);
    else
        *ret = &df->file;
    return err;
}

/* ---- is there anything ----------------------------------------------------------------------- */

struct searcher {
    struct dirent_sink sink;
    struct ov_inode *dir;
    bool found;
};

static bool search(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                   int64_t next, uint8_t type)
{
    struct searcher *s = container_of(sink, struct searcher, sink);

    /* Entries that are there were counted: what is hidden is a whiteout. */
    s->found = !is_dots(name, size) && !ov_entry_find(s->dir, (struct name){name, size});
    return !s->found;
}

int ov_dir_empty(struct ov_inode *dir)
{
    struct searcher s = {.sink.emit = search, .dir = dir};
    struct file *lower;
    int64_t pos = 0;
    int err;

    if (dir->dir.live_count > 0)
        return -ENOTEMPTY;
    if (!dir->lower)
        return 0;
    err = ov_open_half(dir->lower, O_RDONLY | O_DIRECTORY, &lower);
    if (err < 0)
        return err;
    err = lower->ops->getdents(lower, &s.sink, &pos);
    file_unref(lower);
    return err < 0 ? err : s.found ? -ENOTEMPTY : 0;
}
