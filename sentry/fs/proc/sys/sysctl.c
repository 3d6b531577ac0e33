/* /proc/sys, and of it /proc/sys/fs: limits of files and their kin. */
#include <errno.h>

#include "sentry/fs/event/epoll.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/proc/sys/number.h"
#include "sentry/kernel/ipc/mqueue.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

CONSTANT_TEXT(zero, "%d", 0)
CONSTANT_TEXT(aio_max_nr, "%d", 65536)
CONSTANT_TEXT(max_user_watches, "%d", EPOLL_WATCHES_MAX)
CONSTANT_TEXT(file_max, "%lu", (unsigned long)INT64_MAX)
CONSTANT_TEXT(pipe_user_pages_soft, "%d", PIPE_PAGES_SOFT)

NUMBER(mq_queues_max, &proc_ipc_limits()->mq_queues, 0, INT32_MAX)
NUMBER(mq_msg_max, &proc_ipc_limits()->mq_messages, 1, MQ_MSG_HARD_MAX)
NUMBER(mq_msgsize_max, &proc_ipc_limits()->mq_size, 128, MQ_MSGSIZE_HARD_MAX)
NUMBER(mq_msg_default, &proc_ipc_limits()->mq_messages_default, 1, MQ_MSG_HARD_MAX)
NUMBER(mq_msgsize_default, &proc_ipc_limits()->mq_size_default, 128, MQ_MSGSIZE_HARD_MAX)
NUMBER(nr_open, &fdtable_nr_open, 64, FDTABLE_NR_OPEN_MAX)

/* pipe-max-size: round_pipe_size(). */
static ssize_t pipe_max_size_text(uint64_t key, char *buf, size_t size)
{
    return proc_number_text(&pipe_size_max, buf, size);
}

static int pipe_max_size_write(uint64_t key, const char *text, size_t size)
{
    uint64_t value, rounded = PAGE_SIZE;
    int err = proc_parse_numbers(text, 1, &value);

    if (err < 0)
        return err;
    if (value > 1UL << 31)
        return -EINVAL;
    while (rounded < value)
        rounded *= 2;
    __atomic_store_n(&pipe_size_max, rounded, __ATOMIC_RELAXED);
    return 0;
}

static const struct tree_node mqueue_nodes[] = {
    NUMBER_FILE("msg_default", mq_msg_default),         NUMBER_FILE("msg_max", mq_msg_max),
    NUMBER_FILE("msgsize_default", mq_msgsize_default), NUMBER_FILE("msgsize_max", mq_msgsize_max),
    NUMBER_FILE("queues_max", mq_queues_max),
};

static const struct tree_node epoll_nodes[] = {
    TREE_TEXT("max_user_watches", max_user_watches_text),
};

/* Open files; none are kept for later; how many there may be. */
static ssize_t file_nr_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%u\t0\t%ld\n", file_count(), INT64_MAX);
}

static const struct tree_node fs_nodes[] = {
    TREE_DIR("mqueue", mqueue_nodes),
    TREE_TEXT("aio-max-nr", aio_max_nr_text),
    TREE_DIR("epoll", epoll_nodes),
    TREE_FIXED("dir-notify-enable", "1\n"),
    TREE_TEXT("file-max", file_max_text),
    TREE_TEXT("file-nr", file_nr_text),
    TREE_DIR("fanotify", proc_fanotify_nodes),
    TREE_DIR("inotify", proc_inotify_nodes),
    {.name = "lease-break-time",
     .mode = S_IFREG | 0644,
     .text = proc_lease_break_time_text,
     .write = proc_lease_break_time_write},
    TREE_FIXED("leases-enable", "1\n"),
    {.name = "mount-max",
     .mode = S_IFREG | 0644,
     .text = proc_mount_max_text,
     .write = proc_mount_max_write},
    NUMBER_FILE("nr_open", nr_open),
    NUMBER_FILE("pipe-max-size", pipe_max_size),
    TREE_TEXT("pipe-user-pages-hard", zero_text),
    TREE_TEXT("pipe-user-pages-soft", pipe_user_pages_soft_text),
    TREE_FIXED("overflowgid", "65534\n"),
    TREE_FIXED("overflowuid", "65534\n"),
    TREE_FIXED("protected_fifos", "0\n"),
    TREE_FIXED("protected_hardlinks", "0\n"),
    TREE_FIXED("protected_regular", "0\n"),
    TREE_FIXED("protected_symlinks", "0\n"),
    TREE_FIXED("suid_dumpable", "0\n"),
};

const struct tree_node proc_sys_nodes[5] = {
    TREE_DIR("fs", fs_nodes),
    TREE_DIR("kernel", proc_sys_kernel_nodes),
    TREE_DIR("net", proc_sys_net_nodes),
    TREE_DIR("user", proc_sys_user_nodes),
    TREE_DIR("vm", proc_sys_vm_nodes),
};
