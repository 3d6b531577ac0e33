/*
 * Who wants to know what happens to files: what inotify(7) and fanotify(7) stand on. Linux:
 * fs/notify. A mark names what is watched and belongs to a group, which gets the events.
 *
 * Marks are found by identity (device and inode number), so they neither keep an object nor lose it
 * when its last dentry goes. One lock guards all marks, innermost but for those of wait queues; an
 * event handler runs under it. While there is no mark at all, an event costs one load.
 */
#ifndef SENTRY_VFS_NOTIFY_H
#define SENTRY_VFS_NOTIFY_H

#include "sentry/vfs/inode.h"

/* Linux's numbers, inotify's and fanotify's alike. */
enum notify_event_mask {
    NOTIFY_ACCESS = 1,
    NOTIFY_MODIFY = 2,
    NOTIFY_ATTRIB = 4,
    NOTIFY_CLOSE_WRITE = 8,
    NOTIFY_CLOSE_NOWRITE = 0x10,
    NOTIFY_OPEN = 0x20,
    NOTIFY_MOVED_FROM = 0x40,
    NOTIFY_MOVED_TO = 0x80,
    NOTIFY_CREATE = 0x100,
    NOTIFY_DELETE = 0x200,
    NOTIFY_DELETE_SELF = 0x400,
    NOTIFY_MOVE_SELF = 0x800,
    NOTIFY_OPEN_EXEC = 0x1000,
    NOTIFY_UNMOUNT = 0x2000,
    NOTIFY_OVERFLOW = 0x4000,
    NOTIFY_IGNORED = 0x8000,
    NOTIFY_ISDIR = 0x40000000,
};

struct notify_event {
    uint32_t mask;
    uint32_t cookie;  /* pairs MOVED_FROM with MOVED_TO */
    const char *name; /* in the watched directory; NULL: it is about what is watched itself */
    const struct path *path; /* of the object, where it is known; borrowed */
    bool unlinked;           /* `name` is what it had */
    bool stays;              /* MOVED_FROM: to another name in the same directory */
};

struct notify_mark {
    struct list hashed, group_node;
    struct notify_group *group;
    uint64_t dev, ino;
    const struct super_block *sb; /* only compared */
    uint32_t mask;                /* under notify_lock() */
};

/* Embedded by who gets the events. */
struct notify_group {
    /* Under notify_lock(): short. May call notify_unmark_locked(). */
    void (*event)(struct notify_mark *mark, const struct notify_event *event);
    struct list marks;
};

void notify_lock(void);
void notify_unlock(void);
/* Both under the lock; memory is the group's. */
void notify_mark_locked(struct notify_group *group, struct notify_mark *mark,
                        const struct dentry *dentry, uint32_t mask);
void notify_unmark_locked(struct notify_mark *mark);
struct notify_mark *notify_find_locked(const struct notify_group *group, uint64_t dev,
                                       uint64_t ino);

extern uint32_t notify_mark_count; /* atomic */
static inline bool notify_active(void)
{
    return unlikely(__atomic_load_n(&notify_mark_count, __ATOMIC_RELAXED) > 0);
}

void notify_path_slowly(const struct path *path, uint32_t mask);
void notify_self_slowly(const struct inode *inode, uint32_t mask);
void notify_dir_slowly(const struct dentry *dir, const char *name, uint32_t mask, bool is_dir,
                       uint32_t cookie);

/* Something happened to the object at `path`: it and its directory are told. */
static inline void notify_path(const struct path *path, uint32_t mask)
{
    if (notify_active() && path->dentry)
        notify_path_slowly(path, mask);
}

/* To the object alone. */
static inline void notify_self(const struct inode *inode, uint32_t mask)
{
    if (notify_active())
        notify_self_slowly(inode, mask);
}

/* To a name in the directory `dir`. */
static inline void notify_dir(const struct dentry *dir, const char *name, uint32_t mask,
                              bool is_dir)
{
    if (notify_active())
        notify_dir_slowly(dir, name, mask, is_dir, 0);
}

/* rename(2) of `moved` from `from`; `replaced` is what had the new name, or NULL. */
void notify_move(const struct dentry *from, const char *old_name, const struct dentry *to,
                 const char *new_name, const struct inode *moved, const struct inode *replaced);
/* Its last name and its last user have gone. */
void notify_gone(const struct inode *inode);
/* The last mount of it has gone. */
void notify_super_gone(const struct super_block *sb);

#endif
