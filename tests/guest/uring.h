/* io_uring(7) by raw calls: its structures, and a ring to fill and to empty. */
#ifndef TESTS_GUEST_URING_H
#define TESTS_GUEST_URING_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup    425
#define SYS_io_uring_enter    426
#define SYS_io_uring_register 427
#endif

struct sqe {
    uint8_t op, flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off, addr;
    uint32_t len, op_flags;
    uint64_t user_data;
    uint16_t buf_index, personality;
    uint32_t file_index;
    uint64_t addr3, pad;
};

struct cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

struct params {
    uint32_t sq_entries, cq_entries, flags, sq_cpu, sq_idle, features, wq_fd, resv[3];
    struct {
        uint32_t head, tail, mask, entries, flags, dropped, array, resv;
        uint64_t addr;
    } sq;
    struct {
        uint32_t head, tail, mask, entries, overflow, cqes, flags, resv;
        uint64_t addr;
    } cq;
};

enum {
    NOP,
    READV,
    WRITEV,
    FSYNC,
    READ_FIXED,
    WRITE_FIXED,
    POLL_ADD,
    POLL_REMOVE,
    SYNC_FILE_RANGE,
    SENDMSG,
    RECVMSG,
    TIMEOUT,
    TIMEOUT_REMOVE,
    ACCEPT,
    ASYNC_CANCEL,
    LINK_TIMEOUT,
    CONNECT,
    FALLOCATE,
    OPENAT,
    CLOSE,
    FILES_UPDATE,
    STATX,
    READ,
    WRITE,
    FADVISE,
    MADVISE,
    SEND,
    RECV,
    OPENAT2,
    EPOLL_CTL,
    SPLICE,
    PROVIDE_BUFFERS,
    REMOVE_BUFFERS,
    TEE,
};

enum { FIXED_FILE = 1, DRAIN = 2, LINK = 4, HARDLINK = 8, ASYNC = 16, SELECT = 32, SKIP = 64 };

struct ring {
    int fd;
    struct params p;
    uint8_t *mem;
    struct sqe *sqes;
    unsigned queued;
};

__attribute__((unused)) static const char *self;
__attribute__((unused)) static char buffer[65536];

static _Atomic uint32_t *word(struct ring *r, uint32_t offset)
{
    return (_Atomic uint32_t *)(void *)(r->mem + offset);
}

__attribute__((unused)) static bool make_ring(struct ring *r, unsigned entries, uint32_t flags,
                                              uint32_t cq_entries)
{
    memset(r, 0, sizeof(*r));
    r->p.flags = flags;
    r->p.cq_entries = cq_entries;
    r->fd = (int)RAW(SYS_io_uring_setup, entries, &r->p);
    if (r->fd < 0)
        return false;
    size_t sq = r->p.sq.array + r->p.sq_entries * 4, cq = r->p.cq.cqes + r->p.cq_entries * 16;
    r->mem = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    r->sqes = mmap(NULL, r->p.sq_entries * sizeof(struct sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
                   r->fd, 0x10000000);
    return CHECK(r->mem != MAP_FAILED && (void *)r->sqes != MAP_FAILED);
}

static void drop_ring(struct ring *r)
{
    size_t sq = r->p.sq.array + r->p.sq_entries * 4, cq = r->p.cq.cqes + r->p.cq_entries * 16;

    munmap(r->mem, sq > cq ? sq : cq);
    munmap(r->sqes, r->p.sq_entries * sizeof(struct sqe));
    close(r->fd);
}

/* The next free entry, filled in. */
static struct sqe *add(struct ring *r, int op, int fd, const void *addr, unsigned len, long off,
                       uint64_t name)
{
    uint32_t tail = *word(r, r->p.sq.tail), slot = tail & (r->p.sq_entries - 1);
    struct sqe *s = &r->sqes[slot];

    *s = (struct sqe){.op = (uint8_t)op,
                      .fd = fd,
                      .addr = (uintptr_t)addr,
                      .len = len,
                      .off = (uint64_t)off,
                      .user_data = name};
    *word(r, r->p.sq.array + slot * 4) = slot;
    *word(r, r->p.sq.tail) = tail + 1;
    r->queued++;
    return s;
}

static long enter(struct ring *r, unsigned submit, unsigned wait)
{
    return RAW(SYS_io_uring_enter, r->fd, submit, wait, wait ? 1 : 0, 0, 8);
}

__attribute__((unused)) static long go(struct ring *r, unsigned wait)
{
    unsigned queued = r->queued;

    r->queued = 0;
    return enter(r, queued, wait);
}

static bool take(struct ring *r, struct cqe *c)
{
    uint32_t head = *word(r, r->p.cq.head);

    if (head == *word(r, r->p.cq.tail))
        return false;
    *c = *(struct cqe *)(void *)(r->mem + r->p.cq.cqes + (head & (r->p.cq_entries - 1)) * 16);
    *word(r, r->p.cq.head) = head + 1;
    return true;
}

/* Waits for the next completion; its name has to be this. */
__attribute__((unused)) static int result_line(struct ring *r, uint64_t name, int line)
{
    struct cqe c = {0};

    if (!take(r, &c)) {
        check_equal(enter(r, 0, 1), 0, line, "waiting for a completion");
        take(r, &c);
    }
    check_equal((long long)c.user_data, (long long)name, line, "name of the completion");
    return c.res;
}

#define RESULT(r, name) result_line(r, name, __LINE__)

__attribute__((unused)) static bool none(struct ring *r)
{
    return *word(r, r->p.cq.head) == *word(r, r->p.cq.tail);
}

/* Ends the program where there is no io_uring to test. */
static void need_uring(void)
{
    struct params p = {0};
    int fd = (int)RAW(SYS_io_uring_setup, 1, &p);

    if (fd == -ENOSYS || fd == -EPERM)
        check_skip("no io_uring here");
    close(fd);
}

#endif
