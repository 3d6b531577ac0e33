/* What differs from the tree below: entries say it all. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/fs/overlay/overlay.h"

/* A directory on the way down, and how far it was listed. */
struct level {
    struct ov_inode *dir; /* borrowed: under tree_lock */
    int64_t next;
    size_t path_size; /* the path up to it */
};

struct walk {
    struct level *levels; /* no recursion: a tree may be deeper than our stack */
    size_t depth, room;
    char *path; /* terminated */
    size_t path_room;
};

static int enter(struct walk *w, struct ov_inode *dir)
{
    if (w->depth == w->room) {
        size_t room = w->room ? w->room * 2 : 64;
        struct level *levels = realloc(w->levels, room * sizeof(*levels));

        if (!levels)
            return -ENOMEM;
        w->levels = levels;
        w->room = room;
    }
    w->levels[w->depth++] = (struct level){.dir = dir, .path_size = strlen(w->path)};
    return 0;
}

/* The path of `name` in the directory whose path takes `size` bytes. */
static int set_path(struct walk *w, size_t size, struct name name)
{
    if (size + name.size + 2 > w->path_room) {
        size_t room = 2 * (size + name.size + 2);
        char *path = realloc(w->path, room);

        if (!path)
            return -ENOMEM;
        w->path = path;
        w->path_room = room;
    }
    w->path[size] = '/';
    memcpy(w->path + size + 1, name.text, name.size);
    w->path[size + 1 + name.size] = '\0';
    return 0;
}

/* Is the object what lower has at that very place? */
static bool in_place(const struct ov_inode *dir, const struct ov_entry *entry)
{
    const struct dentry *lower = entry->inode->lower;

    return entry->in_lower && lower && lower->parent == dir->lower &&
           lower->name_size == entry->named.name.size &&
           memcmp(lower->name, entry->named.name.text, entry->named.name.size) == 0;
}

static int walk_all(struct walk *w, struct ov_inode *root, ov_entry_fn fn, void *arg)
{
    int err = enter(w, root);

    while (!err && w->depth > 0) {
        struct level *level = &w->levels[w->depth - 1];
        struct ov_entry *entry = ov_entry_next(level->dir, level->next);

        if (!entry) {
            w->depth--;
            continue;
        }
        level->next = entry->named.cookie + 1;
        err = set_path(w, level->path_size, entry->named.name);
        if (!err)
            err = fn(arg, level->dir, entry, w->path);
        if (err < 0)
            break;
        if (entry->inode && ov_is_dir(entry->inode))
            err = enter(w, entry->inode);
    }
    return err;
}

int ov_walk_entries(struct ov_inode *root, ov_entry_fn fn, void *arg)
{
    struct walk w = {.path = calloc(1, 256), .path_room = 256};
    int err = w.path ? walk_all(&w, root, fn, arg) : -ENOMEM;

    free(w.levels);
    free(w.path);
    return err;
}

struct teller {
    overlay_change_fn fn;
    void *arg;
};

static int tell(void *arg, struct ov_inode *dir, const struct ov_entry *entry, const char *path)
{
    const struct teller *t = arg;
    uint8_t type = entry->inode ? IFTODT(inode_mode(&entry->inode->inode)) : entry->type;

    if (!entry->inode)
        t->fn(t->arg, OVERLAY_REMOVED, type, path);
    else if (!in_place(dir, entry))
        t->fn(t->arg, entry->in_lower ? OVERLAY_MODIFIED : OVERLAY_ADDED, type, path);
    else if (ov_upper(entry->inode))
        t->fn(t->arg, OVERLAY_MODIFIED, type, path);
    return 0;
}

int overlay_changes(struct super_block *sb, overlay_change_fn fn, void *arg)
{
    struct teller t = {fn, arg};
    int err;

    tree_lock(sb);
    err = ov_walk_entries(ov_of(sb->root), tell, &t);
    tree_unlock(sb);
    return err;
}
