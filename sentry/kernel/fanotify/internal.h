/*
 * Inside fanotify:
 *
 *   group.c   groups: how they are made, and their descriptors
 *   talk.c    what is read from a descriptor and written to it
 *   mark.c    marks, and which groups an event is for
 *   event.c   queues: from an event to what a group is told; questions and those who wait for an
 *             answer
 *
 *   event -> fan_match(): which groups -> fan_queue() for each -> read(2)
 *   question -> queued, not told -> read(2) tells it, with a descriptor -> write(2) answers
 *
 * One lock guards all of it, taken for moments: nothing that could end an object is given back
 * under it.
 */
#ifndef SENTRY_KERNEL_FANOTIFY_INTERNAL_H
#define SENTRY_KERNEL_FANOTIFY_INTERNAL_H

#include <linux/fanotify.h>

#include "sentry/fs/event/account.h"
#include "sentry/kernel/fanotify/fanotify.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/notify.h"
#include "sentry/wait/wait.h"

/* Newer than Debian 12's headers. */
#define FAN_FLAG_FD_ERROR 0x2000U
#define FAN_FLAG_MOUNTS   0x4000U   /* FAN_REPORT_MNT */
#define FAN_FLAG_NS       0x110U    /* FAN_MARK_MNTNS: both of the other kinds */
#define FAN_INFO_MOUNT    7U        /* FAN_EVENT_INFO_TYPE_MNT */
#define FAN_BEFORE_ACCESS 0x100000U /* FAN_PRE_ACCESS */
#define FAN_BIT_INFO      0x20U

#define FAN_ID_MODES      (FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME | FAN_REPORT_TARGET_FID)
#define FAN_CLASSES       (FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT)
#define FAN_DIRENT        (FAN_CREATE | FAN_DELETE | FAN_MOVE | FAN_RENAME)
#define FAN_QUESTIONS     (FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM)
#define FAN_MOUNTS        (NOTIFY_MOUNT_ATTACH | NOTIFY_MOUNT_DETACH)
#define FAN_EVENT_FLAGS   (FAN_ONDIR | FAN_EVENT_ON_CHILD)

#define FAN_RECORDS_MAX   3
#define FAN_ID_BYTES      20

/* Of whom a program is told: a file handle. */
struct fan_id {
    int32_t type;
    uint32_t size;
    uint8_t bytes[FAN_ID_BYTES];
};

/* FAN_EVENT_INFO_TYPE_*: an id, with a name where there is one. */
struct fan_record {
    uint8_t type;
    struct fan_id id;
    char *name; /* in the event's memory; NULL */
};

struct fan_event {
    struct list node;
    uint64_t mask;
    int32_t pid; /* in the first pid namespace; the thread's with FAN_REPORT_TID */
    uint64_t serial;
    struct path path;         /* owned; empty in the modes with ids */
    struct fan_question *ask; /* who waits; NULL: nobody */
    uint64_t mount;           /* the unique number of the mount it is about; 0: of none */
    int32_t fsid[2];
    uint32_t record_count;
    struct fan_record records[FAN_RECORDS_MAX];
    char names[]; /* each terminated */
};

struct fan_question {
    struct fan_event event; /* on the group's events, then on its asked */
    struct fan_group *group;
    struct task *task; /* borrowed: it waits; NULL: it has gone, and nobody minds the answer */
    uint64_t number;
    int fd;    /* by which it is answered; -1: not told yet */
    bool told; /* read: it is on `asked` */
    bool answered, denied;
};

enum fan_mark_kind { FAN_KIND_INODE, FAN_KIND_MOUNT, FAN_KIND_SUPER, FAN_KIND_NS };

struct fan_mark {
    struct list hashed, group_node;
    struct fan_group *group;
    enum fan_mark_kind kind;
    /* Of an inode; of a mount its unique number in ino, of a namespace its id, and in dev the inode
     * number that its file has. */
    uint64_t dev, ino;
    const struct super_block *sb; /* only compared */
    uint32_t mask, ignored;
    bool survives;   /* FAN_MARK_IGNORED_SURV_MODIFY */
    bool with_flags; /* FAN_MARK_IGNORE: event flags count in `ignored` */
    bool evictable;
};

struct fan_group {
    struct file file;
    uint32_t flags, event_flags; /* of fanotify_init(2) */
    bool unprivileged;
    struct wait_queue queue;
    struct watch_account *account;
    struct list node; /* of all groups, those that are asked first before the others */
    struct list marks, events, asked;
    uint32_t mark_count, event_count, asking_count;
    struct fan_event *overflow; /* queued, or NULL */
    /* Of use while one event is looked at. */
    uint32_t matched, ignored, match_kinds;
    bool touched;
};

void fan_lock(void);
void fan_unlock(void);
extern struct list fan_groups; /* under the lock */

static inline struct fan_group *fan_group_of(struct file *f)
{
    return container_of(f, struct fan_group, file);
}

/* talk.c: read(2) and write(2) of a group */
ssize_t fan_group_read(struct file *f, struct uio *uio, int64_t *pos);
ssize_t fan_group_write(struct file *f, struct uio *uio, int64_t *pos);
/* Bytes that read(2) gives for it. */
size_t fan_event_size(const struct fan_group *group, const struct fan_event *e);

/* mark.c */
void fan_marks_clear_locked(struct fan_group *group, int kind); /* -1: all */
/* Which kinds of marks matched, in group->match_kinds: for FAN_RENAME. */
enum { FAN_MATCH_OLD = 1, FAN_MATCH_NEW = 2, FAN_MATCH_OTHER = 4 };
/* Sets matched and ignored of the groups that have marks for it, which are then `touched`. */
void fan_match_locked(const struct notify_event *event);
void fan_match_ns_locked(const struct mount_ns *ns, uint32_t mask);
/* What of the event is for this group; forgets that it was touched. */
uint32_t fan_take_match_locked(struct fan_group *group, uint32_t mask);
void fan_inode_gone(const struct inode *inode);
void fan_super_gone(const struct super_block *sb);

/* event.c */
void fan_mounts_changed(const struct mount_ns *ns, uint64_t unique_id, uint32_t mask);
void fan_event_happened(const struct notify_event *event);
int fan_ask(const struct path *path, uint32_t mask);
void fan_event_free(struct fan_event *event); /* takes NULL; not of a question */
/* Its answer came, or nobody will give one. */
void fan_answer_locked(struct fan_question *question, bool denied);

#endif
