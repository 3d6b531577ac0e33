/*
 * /proc/PID/mem: the memory of a program as a file, at its own addresses; and /proc/PID/pagemap:
 * eight bytes for each of its pages. Opening it needs the right to attach; after that it belongs to
 * the program that was there then, and is empty once that has ended or become another by execve.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"

#define CHUNK        4096
#define PAGEMAP_SIZE ((int64_t)((1UL << 47) / PAGE_SIZE * sizeof(uint64_t)))

struct mem_file {
    struct file file;
    struct task *task; /* owned reference */
    uint32_t exec_count;
};

static struct mem_file *mem_file_of(struct file *f)
{
    return container_of(f, struct mem_file, file);
}

/* NULL: the program is gone. */
static struct mm *get_memory(struct mem_file *m)
{
    struct process *process = m->task->process;
    struct mm *mm = NULL;

    lock_acquire(&process->lock);
    if (m->task->mm && process->exec_count == m->exec_count)
        mm = mm_ref(m->task->mm);
    lock_release(&process->lock);
    return mm;
}

static ssize_t move(struct mm *mm, struct uio *uio, uaddr_t addr, bool write)
{
    char chunk[CHUNK];
    size_t size = MIN(uio->left, CHUNK - addr % CHUNK), done;
    ssize_t n;

    if (write) {
        n = uio_copy_in(uio, chunk, size);
        if (n <= 0)
            return n;
        done = mm_remote_write(mm, addr, chunk, (size_t)n);
        return done ? (ssize_t)done : -EIO;
    }
    done = mm_remote_read(mm, addr, chunk, size);
    return done ? uio_copy_out(uio, chunk, done) : -EIO;
}

static ssize_t transfer(struct file *f, struct uio *uio, int64_t *pos, bool write)
{
    struct mm *mm = get_memory(mem_file_of(f));
    ssize_t n, done = 0;

    if (!mm)
        return 0;
    while (uio->left > 0) {
        n = move(mm, uio, (uaddr_t)*pos, write);
        if (n <= 0) {
            done = done ? done : n;
            break;
        }
        done += n;
        *pos += n;
    }
    mm_unref(mm);
    return done;
}

static ssize_t mem_read(struct file *f, struct uio *uio, int64_t *pos)
{
    return transfer(f, uio, pos, false);
}

static ssize_t mem_write(struct file *f, struct uio *uio, int64_t *pos)
{
    return transfer(f, uio, pos, true);
}

/* Addresses have no end; offsets of the upper half are addresses that are never mapped. */
static int64_t mem_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    if (whence == SEEK_SET)
        return offset;
    return whence == SEEK_CUR ? pos + offset : -EINVAL;
}

static void mem_release(struct file *f)
{
    struct mem_file *m = mem_file_of(f);

    file_fini(f);
    task_unref(m->task);
    free(m);
}

static const struct file_operations mem_operations = {
    .read = mem_read,
    .write = mem_write,
    .llseek = mem_llseek,
    .release = mem_release,
};

/* pagemap_read() */
static ssize_t pagemap_read(struct file *f, struct uio *uio, int64_t *pos)
{
    uint64_t entries[CHUNK / sizeof(uint64_t)];
    struct mm *mm = get_memory(mem_file_of(f));
    ssize_t n = 0, done = 0;

    if (!mm)
        return 0;
    if (*pos % (int64_t)sizeof(*entries) || uio->left % sizeof(*entries))
        n = -EINVAL;
    while (n >= 0 && uio->left > 0 && *pos < PAGEMAP_SIZE) {
        size_t count = MIN(uio->left / sizeof(*entries), ARRAY_COUNT(entries));

        count = MIN(count, (size_t)(PAGEMAP_SIZE - *pos) / sizeof(*entries));
        mm_pagemap(mm, (uaddr_t)*pos / sizeof(*entries) * PAGE_SIZE, count, entries);
        n = uio_copy_out(uio, entries, count * sizeof(*entries));
        if (n <= 0)
            break;
        done += n;
        *pos += n;
    }
    mm_unref(mm);
    return done ? done : n;
}

static long pagemap_ioctl(struct file *f, struct mm *caller, uint32_t cmd, uint64_t arg)
{
    struct mm *mm = get_memory(mem_file_of(f));
    long result = -ESRCH;

    if (mm)
        result = proc_pagemap_ioctl(mm, caller, cmd, arg);
    mm_unref(mm);
    return result;
}

static const struct file_operations pagemap_operations = {
    .read = pagemap_read,
    .ioctl = pagemap_ioctl,
    .llseek = mem_llseek,
    .release = mem_release,
};

static int open_memory(uint64_t tid, uint32_t flags, const struct file_operations *ops,
                       enum ptrace_mode access, struct file **ret)
{
    struct task *task = proc_find_task(tid);
    struct mem_file *m;

    if (!task)
        return -ESRCH;
    if (ptrace_may_access(task_current(), task, access) < 0) {
        task_unref(task);
        return -EACCES;
    }
    m = calloc(1, sizeof(*m));
    if (!m) {
        task_unref(task);
        return -ENOMEM;
    }
    file_init(&m->file, ops, flags);
    m->task = task;
    lock_acquire(&task->process->lock);
    m->exec_count = task->process->exec_count;
    lock_release(&task->process->lock);
    *ret = &m->file;
    return 0;
}

int proc_mem_open(uint64_t tid, uint32_t flags, struct file **ret)
{
    return open_memory(tid, flags, &mem_operations, PTRACE_ATTACH_FSCREDS, ret);
}

int proc_pagemap_open(uint64_t tid, uint32_t flags, struct file **ret)
{
    return open_memory(tid, flags, &pagemap_operations, PTRACE_READ_FSCREDS, ret);
}
