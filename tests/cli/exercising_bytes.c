/*
 * The bytes of a few files, by every call that writes, reads, maps, cuts, punches and copies them.
 * The model of a file is the array of its bytes.
 */
#include "tests/cli/exercising.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES     4
#define LIMIT     (768U << 10)
#define PIECE     (96U << 10)
#define PAGE      4096U
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

struct content {
    char name[16];
    int fd;
    bool append;
    size_t size;
    uint8_t *map; /* all of LIMIT, shared; touched only below `size` */
    uint8_t bytes[LIMIT];
};

static struct content contents[FILES];
static uint8_t buffer[LIMIT];

static void open_content(struct exercise *x, struct content *c)
{
    c->append = pick(x, 8) == 0;
    c->fd = open(c->name, O_RDWR | O_CREAT | (c->append ? O_APPEND : 0), 0644);
    if (c->fd < 0)
        wrong(x, "open %s: errno %d", c->name, errno);
    c->map = mmap(NULL, LIMIT, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
    if (c->map == MAP_FAILED)
        wrong(x, "mmap %s: errno %d", c->name, errno);
}

static void close_content(struct exercise *x, struct content *c)
{
    int fd = c->fd;

    c->fd = -1;
    if (pick(x, 2)) { /* the mapping goes last */
        close(fd);
        fd = -1;
    }
    munmap(c->map, LIMIT);
    if (fd >= 0)
        close(fd);
}

static void compare(struct exercise *x, struct content *c, size_t at, size_t size,
                    const uint8_t *got, const char *how)
{
    if (memcmp(got, c->bytes + at, size) == 0)
        return;
    for (size_t i = 0; i < size; i++)
        if (got[i] != c->bytes[at + i])
            wrong(x, "%s of %s: byte %#zx of %#zx is %02x, not %02x", how, c->name, at + i, c->size,
                  got[i], c->bytes[at + i]);
}

static void grow(struct content *c, size_t end)
{
    if (end > c->size) {
        memset(c->bytes + c->size, 0, end - c->size);
        c->size = end;
    }
}

/* A range that begins below LIMIT; rounded to pages now and then. */
static void range(struct exercise *x, size_t *ret_at, size_t *ret_size)
{
    size_t at = pick(x, LIMIT), size = 1 + pick(x, pick(x, 4) ? PIECE : 200);

    if (pick(x, 3) == 0)
        at -= at % PAGE;
    if (pick(x, 6) == 0)
        size = MAX(size - size % PAGE, PAGE);
    *ret_at = at;
    *ret_size = MIN(size, LIMIT - at);
}

/* A range with bytes of the file in it, else size 0. */
static void range_within(struct exercise *x, struct content *c, size_t *ret_at, size_t *ret_size)
{
    range(x, ret_at, ret_size);
    if (c->size == 0)
        *ret_size = 0;
    else
        *ret_at %= c->size;
    *ret_size = MIN(*ret_size, c->size - *ret_at);
}

static void do_write(struct exercise *x, struct content *c)
{
    size_t at, size, half;
    ssize_t done;

    range(x, &at, &size);
    if (c->append) {
        at = c->size; /* pwrite(2), BUGS */
        size = MIN(size, LIMIT - at);
    }
    half = size / 2;
    fill(buffer, size, x->operations);
    switch (pick(x, 3)) {
    case 0:
        done = pwrite(c->fd, buffer, size, (off_t)at);
        break;
    case 1:
        lseek(c->fd, (off_t)at, SEEK_SET);
        done = write(c->fd, buffer, size);
        break;
    default:
        done = pwritev(c->fd, (struct iovec[]){{buffer, half}, {buffer + half, size - half}}, 2,
                       (off_t)at);
    }
    if (done != (ssize_t)size)
        wrong(x, "write of %#zx at %#zx in %s: %zd, errno %d", size, at, c->name, done, errno);
    if (size > 0)
        grow(c, at + size);
    memcpy(c->bytes + at, buffer, size);
}

static void do_read(struct exercise *x, struct content *c)
{
    size_t at, size, want, half;
    ssize_t done;

    range(x, &at, &size);
    want = at < c->size ? MIN(size, c->size - at) : 0;
    half = size / 3;
    switch (pick(x, 3)) {
    case 0:
        done = pread(c->fd, buffer, size, (off_t)at);
        break;
    case 1:
        lseek(c->fd, (off_t)at, SEEK_SET);
        done = read(c->fd, buffer, size);
        break;
    default:
        done = preadv(c->fd, (struct iovec[]){{buffer, half}, {buffer + half, size - half}}, 2,
                      (off_t)at);
    }
    if (done != (ssize_t)want)
        wrong(x, "read of %#zx at %#zx in %s: %zd, not %zu", size, at, c->name, done, want);
    compare(x, c, at, want, buffer, "read");
}

static void do_map_read(struct exercise *x, struct content *c)
{
    size_t at, size;

    range_within(x, c, &at, &size);
    compare(x, c, at, size, c->map + at, "mapping");
    if (size > 0 && pick(x, 4) == 0) {
        size_t base = at - at % PAGE;
        uint8_t *own = mmap(NULL, at + size - base, PROT_READ, MAP_PRIVATE, c->fd, (off_t)base);

        if (own == MAP_FAILED)
            wrong(x, "private mmap: errno %d", errno);
        compare(x, c, at, size, own + (at - base), "private mapping");
        munmap(own, at + size - base);
    }
}

static void do_map_write(struct exercise *x, struct content *c)
{
    size_t at, size;

    range_within(x, c, &at, &size);
    fill(c->bytes + at, size, x->operations);
    if (pick(x, 16) == 0) { /* another process stores */
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            memcpy(c->map + at, c->bytes + at, size);
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            wrong(x, "the process that stores ended with %x", status);
    } else {
        memcpy(c->map + at, c->bytes + at, size);
    }
    if (size > 0 && pick(x, 4) == 0) {
        size_t base = at - at % PAGE;

        if (msync(c->map + base, at + size - base, pick(x, 2) ? MS_SYNC : MS_ASYNC) < 0)
            wrong(x, "msync: errno %d", errno);
    }
}

static void do_truncate(struct exercise *x, struct content *c)
{
    size_t size = pick(x, 6) == 0 ? 0 : pick(x, LIMIT);

    if (pick(x, 3) == 0)
        size -= size % PAGE;
    if ((pick(x, 2) ? ftruncate(c->fd, (off_t)size) : truncate(c->name, (off_t)size)) < 0)
        wrong(x, "truncate of %s: errno %d", c->name, errno);
    grow(c, size);
    c->size = size;
}

static void do_fallocate(struct exercise *x, struct content *c)
{
    static const int modes[] = {0,
                                FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_COLLAPSE_RANGE,
                                FALLOC_FL_INSERT_RANGE};
    int mode = modes[pick(x, 8)];
    size_t at, size, end;

    range(x, &at, &size);
    if (mode == FALLOC_FL_COLLAPSE_RANGE || mode == FALLOC_FL_INSERT_RANGE) {
        at -= at % PAGE;
        size = MAX(size - size % PAGE, PAGE);
        if (at >= c->size ||
            (mode == FALLOC_FL_COLLAPSE_RANGE ? at + size >= c->size : c->size + size > LIMIT))
            return;
    }
    if (fallocate(c->fd, mode, (off_t)at, (off_t)size) < 0) {
        if (errno != EOPNOTSUPP)
            wrong(x, "fallocate %#x of %#zx at %#zx in %s (%#zx): errno %d", mode, size, at,
                  c->name, c->size, errno);
        return;
    }
    end = MIN(at + size, c->size);
    if (mode == FALLOC_FL_COLLAPSE_RANGE) {
        memmove(c->bytes + at, c->bytes + at + size, c->size - at - size);
        c->size -= size;
    } else if (mode == FALLOC_FL_INSERT_RANGE) {
        memmove(c->bytes + at + size, c->bytes + at, c->size - at);
        memset(c->bytes + at, 0, size);
        c->size += size;
    } else {
        if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && end > at)
            memset(c->bytes + at, 0, end - at);
        if (!(mode & FALLOC_FL_KEEP_SIZE))
            grow(c, at + size);
    }
}

/* From one file to another, or within one where that cannot overlap. */
static void do_copy(struct exercise *x, struct content *c)
{
    struct content *from = &contents[pick(x, FILES)];
    size_t at, size, to = pick(x, LIMIT);
    off_t in, out = (off_t)to;
    ssize_t done;

    range_within(x, from, &at, &size);
    size = MIN(size, LIMIT - to);
    if (c->append || size == 0 || (from == c && MAX(at, to) - MIN(at, to) < size))
        return;
    in = (off_t)at;
    if (pick(x, 2)) {
        done = copy_file_range(from->fd, &in, c->fd, &out, size, 0);
    } else {
        lseek(c->fd, out, SEEK_SET);
        done = sendfile(c->fd, from->fd, &in, size);
    }
    if (done <= 0 || (size_t)done > size || in != (off_t)at + done)
        wrong(x, "copy of %#zx from %#zx in %s to %#zx in %s: %zd, errno %d", size, at, from->name,
              to, c->name, done, errno);
    grow(c, to + (size_t)done);
    memcpy(c->bytes + to, from->bytes + at, (size_t)done);
}

/* Where the file says that it has a hole it reads as zeros. */
static void do_holes(struct exercise *x, struct content *c)
{
    off_t at = 0;

    for (int i = 0; i < 8 && (size_t)at < c->size; i++) {
        off_t hole = lseek(c->fd, at, SEEK_HOLE), data;

        if (hole < at || (size_t)hole > c->size)
            wrong(x, "a hole of %s after %#lx at %#lx", c->name, at, hole);
        if ((size_t)hole == c->size)
            return;
        data = lseek(c->fd, hole, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            data = (off_t)c->size;
        if (data <= hole || (size_t)data > c->size)
            wrong(x, "data of %s after the hole at %#lx at %#lx", c->name, hole, data);
        for (off_t zero = hole; zero < data; zero++)
            if (c->bytes[zero])
                wrong(x, "a hole of %s from %#lx to %#lx, and %02x at %#lx", c->name, hole, data,
                      c->bytes[zero], zero);
        at = data;
    }
}

static void do_names(struct exercise *x, struct content *c)
{
    char old[16];

    memcpy(old, c->name, sizeof(old));
    switch (pick(x, 4)) {
    case 0: /* another file under this name */
        if (unlink(c->name) < 0)
            wrong(x, "unlink: errno %d", errno);
        if (pick(x, 2))
            do_map_read(x, c);
        close_content(x, c);
        c->size = 0;
        open_content(x, c);
        break;
    case 1:
        snprintf(c->name, sizeof(c->name), "%c%u", old[0], pick(x, 100));
        if (strcmp(c->name, old) != 0 && rename(old, c->name) < 0)
            wrong(x, "rename: errno %d", errno);
        break;
    default:
        close_content(x, c);
        open_content(x, c);
    }
}

static void do_sync(struct exercise *x, struct content *c)
{
    if ((pick(x, 2) ? fsync(c->fd) : fdatasync(c->fd)) < 0)
        wrong(x, "fsync: errno %d", errno);
}

static void check_all(struct exercise *x, struct content *c)
{
    int fd = open(c->name, O_RDONLY);
    struct stat st;
    ssize_t got;

    if (fstat(fd, &st) < 0 || (size_t)st.st_size != c->size)
        wrong(x, "%s has %#lx bytes, not %#zx", c->name, (long)st.st_size, c->size);
    got = pread(fd, buffer, sizeof(buffer), 0);
    if (got != (ssize_t)c->size)
        wrong(x, "all of %s: %zd of %zu", c->name, got, c->size);
    compare(x, c, 0, c->size, buffer, "all");
    compare(x, c, 0, c->size, c->map, "mapping of all");
    close(fd);
}

void exercise_bytes(struct exercise *x)
{
    static void (*const operations[])(struct exercise *, struct content *) = {
        do_write,    do_write,     do_write,     do_read,     do_read,      do_read,
        do_map_read, do_map_write, do_map_write, do_truncate, do_fallocate, do_fallocate,
        do_copy,     do_holes,     do_names,     do_sync,
    };

    if (x->goes_on)
        load_state(x, contents, sizeof(contents));
    for (int i = 0; i < FILES; i++) {
        if (!x->goes_on)
            snprintf(contents[i].name, sizeof(contents[i].name), "%c", 'a' + i);
        open_content(x, &contents[i]);
        if (x->goes_on && pick(x, 2))
            check_all(x, &contents[i]);
    }
    while (go_on(x)) {
        struct content *c = &contents[pick(x, FILES)];

        operations[pick(x, sizeof(operations) / sizeof(operations[0]))](x, c);
        if (pick(x, 32) == 0)
            check_all(x, c);
    }
    for (int i = 0; i < FILES; i++) {
        check_all(x, &contents[i]);
        close_content(x, &contents[i]);
    }
    lseek(x->state, 0, SEEK_SET);
    save_state(x, contents, sizeof(contents));
}
