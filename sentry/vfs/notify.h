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

struct mount_ns;

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
    /* Questions (notify_ask()); fanotify alone. */
    NOTIFY_OPEN_PERM = 0x10000,
    NOTIFY_ACCESS_PERM = 0x20000,
    NOTIFY_OPEN_EXEC_PERM = 0x40000,
    /* Both: it was moved. Only to notify_mount(). */
    NOTIFY_MOUNT_ATTACH = 0x1000000,
    NOTIFY_MOUNT_DETACH = 0x2000000,
    /* A name was changed: from and to in one. */
    NOTIFY_RENAME = 0x10000000,
    NOTIFY_ISDIR = 0x40000000,
};

struct notify_event {
    uint32_t mask;
    uint32_t cookie;  /* pairs MOVED_FROM with MOVED_TO */
    const char *name; /* in the watched directory; NULL: it is about what is watched itself */
    const struct path *path; /* of the object, where it is known; borrowed */
    bool unlinked;           /* `name` is what it had */
    /* Told to the listener alone; borrowed, NULL where it is not known. */
    struct dentry *object;        /* what it happened to */
    const struct inode *inode;    /* that; never NULL, but with NOTIFY_DELETE when it is gone */
    struct dentry *dir;           /* where its name is or was */
    const struct super_block *sb; /* with NOTIFY_DELETE_SELF alone */
    struct dentry *new_dir;       /* NOTIFY_RENAME */
    const char *new_name;
    bool stays; /* MOVED_FROM: to another name in the same directory */
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
/* The same on what is in no tree: by its numbers. */
void notify_mark_file_locked(struct notify_group *group, struct notify_mark *mark, uint64_t dev,
                             uint64_t ino, uint32_t mask);
void notify_unmark_locked(struct notify_mark *mark);
struct notify_mark *notify_find_locked(const struct notify_group *group, uint64_t dev,
                                       uint64_t ino);

extern uint32_t notify_mark_count; /* atomic */
static inline bool notify_active(void)
{
    return unlikely(__atomic_load_n(&notify_mark_count, __ATOMIC_RELAXED) > 0);
}

/*
 * Who hears of every event, once, without locks held, and may be asked for permission: fanotify
 * (kernel/fanotify). Set before the first program starts.
 */
struct notify_listener {
    void (*event)(const struct notify_event *event);
    /* May sleep. 0, -EPERM, -EINTR. */
    int (*ask)(const struct path *path, uint32_t mask);
    /* A mount came to a namespace or left it: NOTIFY_MOUNT_*. Under mount_lock(): short. */
    void (*mounts_changed)(const struct mount_ns *ns, uint64_t unique_id, uint32_t mask);
    /* Nothing of it can happen any more. */
    void (*super_gone)(const struct super_block *sb);
};
void notify_set_listener(const struct notify_listener *listener);
/* So many marks more or fewer has the listener, and of them so many that want to be asked. */
void notify_listener_marks(int by, int asking);

extern uint32_t notify_asking; /* atomic */
int notify_ask_slowly(const struct path *path, uint32_t mask);
/* May the caller do that with the object: NOTIFY_..._PERM. Before it is done, without locks. */
static inline int notify_ask(const struct path *path, uint32_t mask)
{
    if (likely(__atomic_load_n(&notify_asking, __ATOMIC_RELAXED) == 0))
        return 0;
    return path->mount ? notify_ask_slowly(path, mask) : 0;
}

void notify_path_slowly(const struct path *path, uint32_t mask);
void notify_self_slowly(struct dentry *dentry, uint32_t mask);
/* The same of an object that has no dentry at hand, to marks alone: under locks of others, too. */
void notify_inode_slowly(const struct inode *inode, uint32_t mask);
void notify_dir_slowly(struct dentry *dir, const char *name, uint32_t mask, bool is_dir,
                       struct dentry *child);

void notify_mount_slowly(const struct mount_ns *ns, uint64_t unique_id, uint32_t mask);
/* To who watches the namespace; under mount_lock(). */
static inline void notify_mount(const struct mount_ns *ns, uint64_t unique_id, uint32_t mask)
{
    if (notify_active())
        notify_mount_slowly(ns, unique_id, mask);
}

/* Something happened to the object at `path`: it and its directory are told. */
static inline void notify_path(const struct path *path, uint32_t mask)
{
    if (notify_active() && path->dentry)
        notify_path_slowly(path, mask);
}

extern uint32_t notify_file_marks; /* atomic */
void notify_file_slowly(struct file *f, uint32_t mask);
/* To a pipe or a socket, which no path leads to. */
static inline void notify_file(struct file *f, uint32_t mask)
{
    if (unlikely(__atomic_load_n(&notify_file_marks, __ATOMIC_RELAXED) > 0))
        notify_file_slowly(f, mask);
}

/* To the object alone. */
static inline void notify_self(struct dentry *dentry, uint32_t mask)
{
    if (notify_active())
        notify_self_slowly(dentry, mask);
}

/* To a name in the directory `dir`, which means or meant `child` (NULL: not known). */
static inline void notify_dir(struct dentry *dir, const char *name, uint32_t mask, bool is_dir,
                              struct dentry *child)
{
    if (notify_active())
        notify_dir_slowly(dir, name, mask, is_dir, child);
}

/*
 * NOTIFY_DELETE of what was `victim`, a reference that is taken over: the end of the object, if it
 * is that, comes before, as on Linux.
 */
void notify_removed(struct dentry *dir, const char *name, bool is_dir, struct dentry *victim);
/* rename(2) of `moved` from `from`; `replaced` is what had the new name, or NULL. */
void notify_move(struct dentry *from, const char *old_name, struct dentry *to, const char *new_name,
                 struct dentry *moved, struct dentry *replaced);
/* Its last name and its last user have gone. */
void notify_gone(const struct inode *inode);
/* The last mount of it has gone. */
void notify_super_gone(const struct super_block *sb);

#endif
