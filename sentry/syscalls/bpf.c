/*
 * bpf(2) for a program without CAP_BPF, where kernel.unprivileged_bpf_disabled is 2: no map,
 * program or link can come to be, so every call that takes one finds a descriptor of something
 * else. Each command's checks are those of kernel/bpf/syscall.c that come before the one for the
 * right.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

#define ATTR_SIZE 168 /* union bpf_attr of Linux 6.18 */

enum refusal {
    INVALID = 1, /* EINVAL without such an object */
    DENIED,      /* EPERM */
    OBJECT,      /* the descriptor is looked up: EBADF, or EINVAL as it is no such object */
    PINNED,      /* a path in a bpf file system */
};

/* What the command number does; `used`: bytes of the attributes after which all must be zero. */
static const struct command {
    uint8_t used, refusal;
    uint8_t fd_at; /* where OBJECT's descriptor lies */
} commands[] = {
    {76, DENIED, 0},        /* BPF_MAP_CREATE */
    {32, OBJECT, 0},        /* BPF_MAP_LOOKUP_ELEM */
    {32, OBJECT, 0},        /* BPF_MAP_UPDATE_ELEM */
    {16, OBJECT, 0},        /* BPF_MAP_DELETE_ELEM */
    {24, OBJECT, 0},        /* BPF_MAP_GET_NEXT_KEY */
    {ATTR_SIZE, DENIED, 0}, /* BPF_PROG_LOAD */
    {20, INVALID, 0},       /* BPF_OBJ_PIN */
    {20, PINNED, 0},        /* BPF_OBJ_GET */
    {32, OBJECT, 4},        /* BPF_PROG_ATTACH */
    {32, OBJECT, 0},        /* BPF_PROG_DETACH */
    {80, OBJECT, 0},        /* BPF_PROG_TEST_RUN */
    {8, DENIED, 0},         /* BPF_PROG_GET_NEXT_ID */
    {8, DENIED, 0},         /* BPF_MAP_GET_NEXT_ID */
    {16, DENIED, 0},        /* BPF_PROG_GET_FD_BY_ID */
    {12, DENIED, 0},        /* BPF_MAP_GET_FD_BY_ID */
    {16, OBJECT, 0},        /* BPF_OBJ_GET_INFO_BY_FD */
    {64, DENIED, 0},        /* BPF_PROG_QUERY */
    {16, OBJECT, 8},        /* BPF_RAW_TRACEPOINT_OPEN */
    {40, DENIED, 0},        /* BPF_BTF_LOAD */
    {12, DENIED, 0},        /* BPF_BTF_GET_FD_BY_ID */
    {48, DENIED, 0},        /* BPF_TASK_FD_QUERY */
    {32, OBJECT, 0},        /* BPF_MAP_LOOKUP_AND_DELETE_ELEM */
    {4, OBJECT, 0},         /* BPF_MAP_FREEZE */
    {8, DENIED, 0},         /* BPF_BTF_GET_NEXT_ID */
    {56, INVALID, 0},       /* BPF_MAP_LOOKUP_BATCH */
    {56, INVALID, 0},       /* BPF_MAP_LOOKUP_AND_DELETE_BATCH */
    {56, INVALID, 0},       /* BPF_MAP_UPDATE_BATCH */
    {56, INVALID, 0},       /* BPF_MAP_DELETE_BATCH */
    {64, OBJECT, 0},        /* BPF_LINK_CREATE */
    {16, OBJECT, 0},        /* BPF_LINK_UPDATE */
    {12, DENIED, 0},        /* BPF_LINK_GET_FD_BY_ID */
    {8, DENIED, 0},         /* BPF_LINK_GET_NEXT_ID */
    {4, DENIED, 0},         /* BPF_ENABLE_STATS */
    {8, OBJECT, 0},         /* BPF_ITER_CREATE */
    {4, OBJECT, 0},         /* BPF_LINK_DETACH */
    {12, OBJECT, 0},        /* BPF_PROG_BIND_MAP */
    {8, INVALID, 0},        /* BPF_TOKEN_CREATE */
};

static long look_up(struct task *task, int fd)
{
    struct file *file = task_file(task, fd);

    if (!file)
        return -EBADF;
    file_unref(file);
    return -EINVAL;
}

SYSCALL_DEFINE3(bpf, int, cmd, uaddr_t, ptr, unsigned, size)
{
    uint8_t attr[ATTR_SIZE] = {0};
    const struct command *command;
    int fd, err;

    if (size > PAGE_SIZE)
        return -E2BIG;
    err = check_zero_from_user(task->mm, ptr, sizeof(attr), size);
    if (err < 0)
        return err;
    if (copy_from_user(task->mm, attr, ptr, MIN(size, sizeof(attr))) < 0)
        return -EFAULT;
    if (cmd < 0 || (size_t)cmd >= ARRAY_COUNT(commands))
        return -EINVAL;
    command = &commands[cmd];
    for (size_t i = command->used; i < sizeof(attr); i++)
        if (attr[i])
            return -EINVAL;
    switch (command->refusal) {
    case DENIED:
        return -EPERM;
    case OBJECT:
        __builtin_memcpy(&fd, attr + command->fd_at, sizeof(fd));
        return look_up(task, fd);
    case PINNED: {
        uaddr_t path;

        __builtin_memcpy(&path, attr, sizeof(path));
        return path ? -EACCES : -EFAULT; /* no bpf file system is mounted anywhere */
    }
    default:
        return -EINVAL;
    }
}
