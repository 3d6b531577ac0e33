/* POSIX message queues: mq_overview(7). Results are those of the calls of these names. */
#ifndef SENTRY_KERNEL_MQUEUE_H
#define SENTRY_KERNEL_MQUEUE_H

#include <mqueue.h>
#include <signal.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

struct inode_make;
struct ipc_ns;
struct process;
struct super_block;
struct task;

/* /proc/sys/fs/mqueue, and what CAP_SYS_RESOURCE may go up to. */
#define MQ_QUEUES_MAX       256
#define MQ_MSG_MAX          10
#define MQ_MSGSIZE_MAX      8192
#define MQ_MSG_DEFAULT      10
#define MQ_MSGSIZE_DEFAULT  8192
#define MQ_MSG_HARD_MAX     65536
#define MQ_MSGSIZE_HARD_MAX (16L << 20)
#define MQ_PRIORITIES       32768U

/* All queues of a namespace. */
struct mq_table {
    struct lock lock;
    struct list all;       /* struct mqueue: those without a name too, while they are open */
    uint32_t named;        /* how many have one */
    uint64_t queued_bytes; /* atomic: in the messages of all queues */
    bool ended;            /* the namespace has gone */
    /* Where the queues are files (mqfs.c), as long as somebody has mounted it; borrowed. */
    struct super_block *sb;
};
void mq_table_init(struct mq_table *table);
/* The namespace goes: names are forgotten, at the latest with the file system of the queues. */
void mq_destroy_all(struct ipc_ns *ns);

/* `attr` may be NULL. `mode` without what the umask takes. The file: a reference for the caller. */
int mq_open_file(struct task *task, const char *name, int flags, uint32_t mode,
                 const struct mq_attr *attr, struct file **ret);
int mq_unlink_name(struct task *task, const char *name);

/*
 * mqfs.c: the file system of the caller's queues, one for each namespace: mq_overview(7). -EPERM:
 * the caller has not got CAP_SYS_ADMIN over the namespace; -ENOMEM.
 */
int mqfs_create(struct super_block **ret);

struct mq_msg {
    struct list node;
    uint32_t priority;
    size_t size;
    char text[];
};
/* False where the file is no queue. */
bool mq_is_queue(const struct file *file);
/* Bytes that a message may have, and a receiver's buffer must have. */
size_t mq_message_size(struct file *file);
/* Takes the message over unless it fails. Sleeps until `deadline_ns` on CLOCK_MONOTONIC. */
int mq_send_msg(struct task *task, struct file *file, struct mq_msg *msg, uint64_t deadline_ns);
/* A message for the caller to free. */
int mq_receive_msg(struct task *task, struct file *file, uint64_t deadline_ns, struct mq_msg **ret);
/*
 * SIGEV_THREAD: whoever waits on the netlink socket gets the cookie, its last byte saying why
 * (MQ_COOKIE_*); glibc's mq_notify(3) makes threads of it.
 */
#define MQ_COOKIE_SIZE    32
#define MQ_COOKIE_WOKEN   1 /* a message has come */
#define MQ_COOKIE_REMOVED 2 /* the registration was taken away */
struct mq_cookie {
    struct file *socket; /* owned; NULL: no SIGEV_THREAD */
    uint8_t bytes[MQ_COOKIE_SIZE];
};
/*
 * `event` NULL: takes the process's own registration away. The cookie's socket is taken over on
 * success.
 */
int mq_register(struct task *task, struct file *file, const struct sigevent *event,
                const struct mq_cookie *cookie);
void mq_get_attr(struct file *file, struct mq_attr *ret);

/* ---- inside: mqueue.c, mqmessage.c and mqfs.c --------------------------------------------- */

#define MQUEUE_MAGIC     0x19800202
#define MQUEUE_DEV_MINOR 20 /* st_dev of queues */
#define MQUEUE_TEXT_SIZE 80 /* st_size: Linux FILENT_SIZE */

struct mq_times {
    struct timespec atime, mtime, ctime;
};

struct mqueue {
    refcount_t refs;
    struct ipc_ns *ns;       /* a hold */
    struct list node;        /* in the table; `name` too under its lock */
    char *name;              /* NULL: unlinked */
    uint32_t mode, uid, gid; /* atomic */
    uint32_t account;        /* whose RLIMIT_MSGQUEUE counts it */
    uint64_t ino;
    long max_messages, max_size;
    struct wait_queue poll_queue;

    struct lock lock; /* guards what follows */
    struct mq_times times;
    struct list messages; /* struct mq_msg, highest priority first, oldest first */
    long count, bytes;
    struct list receivers, senders; /* sleepers, oldest first */
    struct process *owner;          /* who wants to be told; a reference */
    struct sigevent event;
    struct mq_cookie cookie;
    uint32_t owner_uid;
};

struct mqueue *mqueue_of(struct file *file);
struct mqueue *mqueue_unref(struct mqueue *q); /* takes NULL, returns NULL */
/* That name's queue, with the table's lock held; borrowed. NULL. */
struct mqueue *mq_find_locked(struct mq_table *table, struct name name);
/* A queue that nobody has described, referenced. -EACCES: the namespace has gone; else as mq_open.
 */
int mq_make(struct task *task, struct ipc_ns *ns, struct name name, const struct inode_make *make,
            struct mqueue **ret);
/* A file on it, which takes over the reference, also on failure; so too `path` (NULL: none). */
int mq_file_create(struct mqueue *q, uint32_t flags, char *path, struct file **ret);
/* The queue has no name any more: the reference that was the name's goes. */
void mq_forget_name(struct mqueue *q);
/* All of them have none; the namespace's memory must last. */
void mq_forget_all(struct mq_table *table);
void mq_stat(struct mqueue *q, struct linux_stat *ret);
/* Forgets the registration; what the caller shall give to mq_tell(). */
struct mq_registration {
    struct process *owner; /* NULL: there was none */
    struct mq_cookie cookie;
};
struct mq_registration mq_unregister_locked(struct mqueue *q);
/* Sends the cookie, if there is one, and drops the references; without the queue's lock. */
void mq_tell(struct mq_registration *registration, uint8_t why);
void mq_free_messages(struct mqueue *q);

#endif
