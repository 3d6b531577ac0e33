/* execve(2) and execveat(2): strings out of the old address space, then exec_program(). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "sentry/kernel/exec.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/path/open.h"

#define STRING_MAX   131072UL     /* MAX_ARG_STRLEN */
#define STRINGS_MAX  0x7fffffffUL /* MAX_ARG_STRINGS */
#define TOTAL_MAX    (6UL << 20)  /* three quarters of the stack that Linux reckons with */
#define TOTAL_ALWAYS 131072UL     /* ARG_MAX: even with a small stack */

/* A NULL-terminated vector of strings in one growing block. */
struct strings {
    char **vector;
    size_t count;
    size_t room;
};

static void strings_free(struct strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->vector[i]);
    free(s->vector);
}

static int strings_add(struct strings *s, char *string)
{
    if (s->count + 1 >= s->room) {
        size_t room = s->room ? s->room * 2 : 32;
        char **vector = realloc(s->vector, room * sizeof(char *));

        if (!vector)
            return -ENOMEM;
        s->vector = vector;
        s->room = room;
    }
    s->vector[s->count++] = string;
    s->vector[s->count] = NULL;
    return 0;
}

/* One string of the guest, at most `left` bytes with its NUL. */
static int get_string(struct task *task, uaddr_t addr, uint64_t *left, char **ret)
{
    size_t limit = MIN(*left, STRING_MAX), size = MIN(limit, 256UL);

    for (;;) {
        char *string = malloc(size + 1);
        ssize_t length;

        if (!string)
            return -ENOMEM;
        length = strncpy_from_user(task->mm, string, addr, size);
        if (length >= 0) {
            *left -= (size_t)length + 1;
            *ret = string;
            return 0;
        }
        free(string);
        if (length != -ENAMETOOLONG)
            return (int)length;
        if (size == limit)
            return -E2BIG;
        size = MIN(limit, size * 8);
    }
}

/* A NULL vector is an empty one. `left`: how many bytes strings and pointers may still take. */
static int get_strings(struct task *task, uaddr_t addr, uint64_t *left, struct strings *ret)
{
    for (;;) {
        uaddr_t string_addr = 0;
        char *string = NULL;
        int error = 0;

        if (addr)
            error = copy_struct_from_user(task->mm, &string_addr, addr);
        if (error < 0 || !string_addr)
            return error;
        if (*left <= sizeof(uaddr_t) || ret->count >= STRINGS_MAX)
            return -E2BIG;
        *left -= sizeof(uaddr_t);
        error = get_string(task, string_addr, left, &string);
        if (error < 0)
            return error;
        error = strings_add(ret, string);
        if (error < 0) {
            free(string);
            return error;
        }
        addr += sizeof(uaddr_t);
    }
}

static int open_interpreter(void *arg, const char *path, struct file **ret)
{
    struct task *task = arg;

    return vfs_open_exec(task->fs, NULL, path, WALK_FOLLOW, ret);
}

static long run(struct task *task, struct file *exe, const char *path, uaddr_t argv, uaddr_t envp)
{
    static const char *const none[] = {NULL};
    static char empty[] = "";
    uint64_t left = MIN(task_rlimit(task, RLIMIT_STACK) / 4, TOTAL_MAX);
    struct strings args = {0}, env = {0};
    int error;

    left = MAX(left, TOTAL_ALWAYS);
    error = get_strings(task, argv, &left, &args);
    if (error == 0)
        error = get_strings(task, envp, &left, &env);
    if (error == 0) {
        /* A program always gets an argv[0] (Linux since 5.18). */
        const char *const lone[] = {empty, NULL};
        const struct exec_request request = {
            .exe = exe,
            .path = path,
            .argv = args.count ? (const char *const *)args.vector : lone,
            .envp = env.count ? (const char *const *)env.vector : none,
            .open = open_interpreter,
            .open_arg = task,
        };

        error = exec_program(task, &request);
    }
    strings_free(&args);
    strings_free(&env);
    return error;
}

/* AT_EXECFN: a name that leads to the file again, as far as /dev/fd does (Linux alloc_bprm()). */
static char *shown_path(int dirfd, const char *name)
{
    char *shown;

    if (dirfd == AT_FDCWD || name[0] == '/')
        return strdup(name);
    if (asprintf(&shown, "/dev/fd/%d%s%s", dirfd, name[0] ? "/" : "", name) < 0)
        return NULL;
    return shown;
}

static long exec_at(struct task *task, int dirfd, uaddr_t path_ptr, uaddr_t argv, uaddr_t envp,
                    int flags)
{
    unsigned walk = flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW;
    bool empty_ok = flags & AT_EMPTY_PATH;
    struct file *exe = NULL;
    struct at_path at;
    char *shown;
    long error = at_path_get(task, dirfd, path_ptr, empty_ok, &at);

    if (error < 0)
        return error;
    if (at.start && !at.start->dentry)
        error = -EACCES; /* a pipe, an eventfd: no regular file */
    else
        error =
            vfs_open_exec(task->fs, at.start, at.name, walk | (empty_ok ? WALK_EMPTY : 0), &exe);
    shown = shown_path(dirfd, at.name);
    at_path_put(&at);
    if (error == 0)
        error = shown ? run(task, exe, shown, argv, envp) : -ENOMEM;
    file_unref(exe);
    free(shown);
    return error;
}

SYSCALL_DEFINE3(execve, uaddr_t, path_ptr, uaddr_t, argv, uaddr_t, envp)
{
    return exec_at(task, AT_FDCWD, path_ptr, argv, envp, 0);
}

SYSCALL_DEFINE5(execveat, int, dirfd, uaddr_t, path_ptr, uaddr_t, argv, uaddr_t, envp, int, flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return exec_at(task, dirfd, path_ptr, argv, envp, flags);
}
