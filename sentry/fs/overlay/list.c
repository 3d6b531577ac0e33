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
 * whatever is made and removed in the sandbox, and no name comes twice. Of the lower names a block
 * is in memory, and for each block that was read where it begins: a folder of a million takes no
 * more.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/dirent.h"

#define OV_DOTS     2
#define OV_MADE     (1L << 40)

#define BLOCK_NAMES 1024U
#define BLOCK_BYTES (32U << 10)

struct ov_listed {
    uint64_t ino;
    uint16_t at; /* in the block's text */
    uint8_t type, size;
};
static_assert(BLOCK_BYTES - 1 <= UINT16_MAX, "a place in the text");

/* Names that follow each other in the lower directory. */
struct ov_block {
    int64_t first; /* which one the first of them is */
    int64_t next;  /* lower's position behind the last */
    uint32_t count, text_size;
    bool full; /* there was no room for one more */
    struct ov_listed names[BLOCK_NAMES];
    char text[BLOCK_BYTES];
};

/* Where a block begins. */
struct ov_place {
    int64_t first, pos;
};

struct ov_dir_file {
    struct file file;
    struct file *lower; /* owned; NULL: none */
    /* Under file.pos_lock: */
    bool merged;
    struct ov_block *block;  /* the one that was read last; owned; NULL: none since it began */
    struct ov_place *places; /* ascending; owned */
    size_t place_count, place_room;
    int64_t end; /* how many names lower has; INT64_MAX: not read so far */
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

struct collector {
    struct dirent_sink sink;
    struct ov_block *block;
};

static bool collect(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                    int64_t next, uint8_t type)
{
    struct ov_block *b = container_of(sink, struct collector, sink)->block;

    if (!is_dots(name, size) && size > 0 && size <= VFS_NAME_MAX) {
        b->full = b->count == BLOCK_NAMES || b->text_size + size > BLOCK_BYTES;
        if (b->full)
            return false;
        b->names[b->count++] = (struct ov_listed){
            .ino = ino, .at = (uint16_t)b->text_size, .type = type, .size = (uint8_t)size};
        memcpy(b->text + b->text_size, name, size);
        b->text_size += (uint32_t)size;
    }
    b->next = next;
    return true;
}

static int add_place(struct ov_dir_file *df, int64_t first, int64_t pos)
{
    if (df->place_count == df->place_room) {
        size_t room = df->place_room ? df->place_room * 2 : 4;
        struct ov_place *places = realloc(df->places, room * sizeof(*places));

        if (!places)
            return -ENOMEM;
        df->places = places;
        df->place_room = room;
    }
    df->places[df->place_count++] = (struct ov_place){first, pos};
    return 0;
}

/* Reads the block that begins at a place; the next place is known then, or the end. */
static int read_block(struct ov_dir_file *df, size_t which)
{
    struct collector c = {.sink.emit = collect, .block = df->block};
    struct ov_block *b = df->block;
    int64_t pos = df->places[which].pos;
    int err;

    b->first = df->places[which].first;
    b->next = pos;
    b->count = b->text_size = 0;
    b->full = false;
    err = df->lower->ops->getdents(df->lower, &c.sink, &pos);
    if (err < 0)
        b->count = 0;
    else if (!b->full)
        df->end = b->first + b->count;
    else if (which + 1 == df->place_count)
        err = add_place(df, b->first + b->count, b->next);
    else /* read once more, and the host may have added to it */
        b->count = MIN(b->count, (uint32_t)(df->places[which + 1].first - b->first));
    return err;
}

/* The block in which the name of that number is, or would be. */
static size_t place_of(const struct ov_dir_file *df, int64_t number)
{
    size_t low = 0, high = df->place_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (df->places[middle].first <= number)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/*
 * The lower name of that number; NULL: lower has no more, or the host took it away meanwhile, which
 * `df->end` tells apart.
 */
static int find_listed(struct ov_dir_file *df, int64_t number, const struct ov_listed **ret)
{
    *ret = NULL;
    while (number < df->end) {
        struct ov_block *b = df->block;
        size_t which;
        int err;

        if (number >= b->first && number < b->first + b->count) {
            *ret = &b->names[number - b->first];
            return 0;
        }
        which = place_of(df, number);
        if (which + 1 < df->place_count && b->count > 0 && b->first == df->places[which].first)
            return 0;
        err = read_block(df, which);
        if (err < 0)
            return err;
    }
    return 0;
}

static void forget_listing(struct ov_dir_file *df)
{
    free(df->block);
    free(df->places);
    df->block = NULL;
    df->places = NULL;
    df->place_count = df->place_room = 0;
}

/* A listing begins: merged or not? */
static int begin(struct ov_dir_file *df, struct ov_inode *dir)
{
    forget_listing(df);
    df->merged = has_entries(dir) || !df->lower;
    df->end = df->lower ? INT64_MAX : 0;
    if (!df->merged || !df->lower)
        return 0;
    df->block = malloc(sizeof(*df->block));
    if (!df->block || add_place(df, 0, 0) < 0) {
        forget_listing(df);
        return -ENOMEM;
    }
    df->block->count = 0;
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
static bool show_listed(struct ov_inode *dir, const struct ov_block *b,
                        const struct ov_listed *item, struct ov_shown *ret)
{
    const struct name name = {b->text + item->at, item->size};
    struct ov_entry *entry = ov_entry_find(dir, name);

    if (entry && !entry->inode)
        return false;
    if (entry) {
        /* If the host got the name after ours was made: it has its place among lower's. */
        entry->in_lower = true;
        show_entry(entry, ret);
        return true;
    }
    ret->size = name.size;
    memcpy(ret->name, name.text, name.size);
    ret->ino = item->ino;
    ret->type = item->type;
    return true;
}

/* The first of lower's names at `pos` or behind it that is there: 1, or 0. */
static int show_lower(struct ov_dir_file *df, int64_t pos, struct ov_shown *ret)
{
    struct ov_inode *dir = ov_of(df->file.at.dentry);

    for (; pos - OV_DOTS < df->end; pos++) {
        const struct ov_listed *item;
        int err = find_listed(df, pos - OV_DOTS, &item);
        bool found;

        if (err < 0)
            return err;
        if (!item)
            continue;
        tree_lock(&dir->fs->sb);
        found = show_listed(dir, df->block, item, ret);
        tree_unlock(&dir->fs->sb);
        ret->next = pos + 1;
        if (found)
            return 1;
    }
    return 0;
}

/* The same of what was made. */
static int show_made(struct ov_dir_file *df, int64_t pos, struct ov_shown *ret)
{
    struct ov_inode *dir = ov_of(df->file.at.dentry);
    struct ov_entry *entry;

    tree_lock(&dir->fs->sb);
    entry = ov_entry_next(dir, MAX(pos - OV_MADE, 0));
    while (entry && (entry->in_lower || !entry->inode))
        entry = ov_entry_next(dir, entry->named.cookie + 1);
    if (entry) {
        show_entry(entry, ret);
        ret->next = OV_MADE + entry->named.cookie + 1;
    }
    tree_unlock(&dir->fs->sb);
    return entry != NULL;
}

static int list_merged(struct ov_dir_file *df, struct dirent_sink *sink, int64_t *pos)
{
    struct ov_shown shown;
    int found;

    for (;;) {
        if (*pos < OV_DOTS) {
            show_dots(&df->file, *pos, &shown);
        } else {
            found = show_lower(df, *pos, &shown);
            if (!found)
                found = show_made(df, *pos, &shown);
            if (found <= 0)
                return found;
        }
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
    if (*pos == 0 || (df->merged && df->lower && !df->block))
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

    forget_listing(df);
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
