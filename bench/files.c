/*
 * File benchmarks: what one call on a file costs. Run in a folder of the host with `big`, a file of
 * BIG_BYTES, and `many`, a folder of MANY_NAMES empty files (bench.py makes them); what is written
 * goes to /dev/shm, which is a tmpfs on either side. See measure.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/measure.h"

#define PAGE       4096UL
#define BLOCK      (1UL << 20)
#define LARGE      (8 * BLOCK)
#define BIG_BYTES  (32 * BLOCK)
#define MANY_NAMES 10000
#define KNOWN      "/etc/passwd"
#define SCRATCH    "/dev/shm/kvmsentry-bench"

static char *block;

static int open_or_die(const char *name, int flags)
{
    int fd = open(name, flags, 0600);

    if (fd < 0)
        die(name);
    return fd;
}

static uint64_t bench_stat(uint64_t count)
{
    struct stat st;
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        if (stat(KNOWN, &st) != 0)
            die(KNOWN);
    return now_ns() - begin;
}

static uint64_t bench_absent(uint64_t count)
{
    struct stat st;
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        if (stat("/etc/there-is-no-such-name", &st) == 0)
            die("absent");
    return now_ns() - begin;
}

static uint64_t bench_open_close(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        close(open_or_die(KNOWN, O_RDONLY));
    return now_ns() - begin;
}

static uint64_t bench_pread(uint64_t count)
{
    int fd = open_or_die("big", O_RDONLY);
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        if (pread(fd, block, PAGE, (off_t)(i * PAGE % BIG_BYTES)) != (ssize_t)PAGE)
            die("pread");
    begin = now_ns() - begin;
    close(fd);
    return begin;
}

/* A file is read from its beginning to its end, again and again. */
static uint64_t read_blocks(uint64_t count, size_t size)
{
    int fd = open_or_die("big", O_RDONLY);
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        if (i % (BIG_BYTES / size) == 0)
            lseek(fd, 0, SEEK_SET);
        if (read(fd, block, size) != (ssize_t)size)
            die("read");
    }
    begin = now_ns() - begin;
    close(fd);
    return begin;
}

static uint64_t bench_read_block(uint64_t count)
{
    return read_blocks(count, BLOCK);
}

static uint64_t bench_read_large(uint64_t count)
{
    return read_blocks(count, LARGE);
}

static uint64_t bench_write_block(uint64_t count)
{
    int fd = open_or_die(SCRATCH, O_RDWR | O_CREAT | O_TRUNC);
    uint64_t begin;

    if (ftruncate(fd, (off_t)BIG_BYTES) != 0)
        die("ftruncate");
    for (uint64_t at = 0; at < BIG_BYTES; at += BLOCK)
        if (write(fd, block, BLOCK) != (ssize_t)BLOCK)
            die("write");
    begin = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (i % (BIG_BYTES / BLOCK) == 0)
            lseek(fd, 0, SEEK_SET);
        if (write(fd, block, BLOCK) != (ssize_t)BLOCK)
            die("write");
    }
    begin = now_ns() - begin;
    close(fd);
    unlink(SCRATCH);
    return begin;
}

/* A file grows from nothing to BIG_BYTES, again and again. */
static uint64_t bench_write_new(uint64_t count)
{
    int fd = open_or_die(SCRATCH, O_RDWR | O_CREAT | O_TRUNC);
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        if (i % (BIG_BYTES / BLOCK) == 0 && (lseek(fd, 0, SEEK_SET) < 0 || ftruncate(fd, 0) != 0))
            die("ftruncate");
        if (write(fd, block, BLOCK) != (ssize_t)BLOCK)
            die("write");
    }
    begin = now_ns() - begin;
    close(fd);
    unlink(SCRATCH);
    return begin;
}

static uint64_t bench_create(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        close(open_or_die(SCRATCH, O_WRONLY | O_CREAT | O_EXCL));
        if (unlink(SCRATCH) != 0)
            die("unlink");
    }
    return now_ns() - begin;
}

static uint64_t bench_readdir(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        DIR *dir = opendir("many");
        int names = 0;

        if (!dir)
            die("many");
        while (readdir(dir))
            names++;
        closedir(dir);
        if (names < MANY_NAMES)
            die("readdir");
    }
    return now_ns() - begin;
}

/* One operation maps 1 MiB of a file and reads a byte of each page. */
static uint64_t bench_map_read(uint64_t count)
{
    int fd = open_or_die("big", O_RDONLY);
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        const volatile char *at =
            mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, fd, (off_t)(i * BLOCK % BIG_BYTES));

        if (at == MAP_FAILED)
            die("mmap");
        for (uint64_t page = 0; page < BLOCK; page += PAGE)
            (void)at[page];
        munmap((void *)at, BLOCK);
    }
    begin = now_ns() - begin;
    close(fd);
    return begin;
}

static const struct benchmark benchmarks[] = {
    {"stat", bench_stat},
    {"absent", bench_absent},
    {"open_close", bench_open_close},
    {"pread", bench_pread},
    {"read_block", bench_read_block},
    {"read_large", bench_read_large},
    {"write_block", bench_write_block},
    {"write_new", bench_write_new},
    {"create_unlink", bench_create},
    {"readdir", bench_readdir},
    {"map_read", bench_map_read},
};

int main(int argc, char **argv)
{
    block = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        die("mmap");
    memset(block, 1, LARGE);
    return measure_main(argc, argv, benchmarks, sizeof(benchmarks) / sizeof(benchmarks[0]));
}
