/* PR_SET_MM of prctl(2): a program tells anew where its parts are, and /proc follows. */
#include <elf.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"

#define GET_AUXV 0x41555856

static ssize_t read_file(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n;

    memset(buf, 0, size);
    n = read(fd, buf, size - 1);
    close(fd);
    return n;
}

/* Fields 26, 27, 28, 45 to 51 of /proc/self/stat, as they are in struct prctl_mm_map. */
static void current_map(struct prctl_mm_map *ret)
{
    static char text[2048];
    unsigned long f[60] = {0};
    int n = 3;
    char *at;

    read_file("/proc/self/stat", text, sizeof(text));
    at = strrchr(text, ')') + 4;
    for (; *at && n < 59; n++)
        f[n + 1] = strtoul(at, &at, 10);
    *ret = (struct prctl_mm_map){.exe_fd = (uint32_t)-1};
    ret->start_code = f[26];
    ret->end_code = f[27];
    ret->start_stack = f[28];
    ret->start_data = f[45];
    ret->end_data = f[46];
    ret->start_brk = f[47];
    ret->brk = (uint64_t)(uintptr_t)sbrk(0);
    ret->arg_start = f[48];
    ret->arg_end = f[49];
    ret->env_start = f[50];
    ret->env_end = f[51];
}

static long set_map(struct prctl_mm_map *map)
{
    return prctl(PR_SET_MM, PR_SET_MM_MAP, map, sizeof(*map), 0);
}

static void test_refusals(void)
{
    struct prctl_mm_map map, bad;
    uint32_t size = 0;

    current_map(&map);
    CHECK_EQ(prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0), 0);
    CHECK_EQ(size, sizeof(map));
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, 8, 0, 0), EFAULT);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map) - 8, 0), EINVAL);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 1), EINVAL);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_MAP, 8, sizeof(map), 0), EFAULT);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_BRK, map.brk, 1, 0), EINVAL);
    bad = map;
    bad.arg_start = 0;
    CHECK_ERRNO(set_map(&bad), EINVAL);
    bad = map;
    bad.env_end = 1UL << 63;
    CHECK_ERRNO(set_map(&bad), EINVAL);
    bad = map;
    bad.arg_end = bad.arg_start - 1;
    CHECK_ERRNO(set_map(&bad), EINVAL);
    bad = map;
    bad.end_code = bad.start_code;
    CHECK_ERRNO(set_map(&bad), EINVAL);
    bad = map;
    bad.brk = bad.start_brk - 1;
    CHECK_ERRNO(set_map(&bad), EINVAL);
    bad = map;
    bad.auxv_size = 16;
    CHECK_ERRNO(set_map(&bad), EINVAL);
    bad.auxv = (void *)8;
    CHECK_ERRNO(set_map(&bad), EFAULT);
    bad.auxv_size = 100000;
    CHECK_ERRNO(set_map(&bad), EINVAL);
    bad = map;
    bad.exe_fd = 999;
    CHECK_ERRNO(set_map(&bad), EBADF);
    CHECK_EQ(set_map(&map), 0);
}

static void test_follows(void)
{
    static const char words[] = "one\0two words\0three";
    static char text[4096];
    struct prctl_mm_map map, now;
    char *area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(area != MAP_FAILED);
    memcpy(area, words, sizeof(words));
    current_map(&map);
    map.arg_start = (uintptr_t)area;
    map.arg_end = map.arg_start + 14;
    map.env_start = map.arg_end;
    map.env_end = map.env_start + 6;
    CHECK_EQ(set_map(&map), 0);
    CHECK_EQ(read_file("/proc/self/cmdline", text, sizeof(text)), 14);
    CHECK_EQ(memcmp(text, words, 14), 0);
    CHECK_EQ(read_file("/proc/self/environ", text, sizeof(text)), 6);
    CHECK_EQ(strcmp(text, "three"), 0);
    current_map(&now);
    CHECK_EQ(memcmp(&map, &now, sizeof(map)), 0);
    /* A child inherits it. */
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(read_file("/proc/self/environ", text, sizeof(text)) != 6);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void test_auxv(void)
{
    const uint64_t words[4] = {AT_PLATFORM, 1234, AT_BASE, 99};
    static uint64_t whole[128], aux[128];
    struct prctl_mm_map map;
    long size = prctl(GET_AUXV, whole, sizeof(whole), 0, 0);

    CHECK(size >= 20 * 16 && size <= (long)sizeof(whole));
    CHECK_EQ(prctl(GET_AUXV, NULL, 0, 0, 0), size);
    current_map(&map);
    map.auxv = (void *)words;
    map.auxv_size = sizeof(words);
    CHECK_EQ(set_map(&map), 0);
    CHECK_EQ(read_file("/proc/self/auxv", (char *)aux, sizeof(aux)), 48);
    CHECK_EQ(memcmp(aux, words, sizeof(words)), 0);
    CHECK_EQ(aux[4], AT_NULL);
    /* All of it: the last entry ends it, whatever was given. */
    for (long i = 0; i < size / 8; i++)
        whole[i] = 77;
    map.auxv = (void *)whole;
    map.auxv_size = (uint32_t)size;
    CHECK_EQ(set_map(&map), 0);
    CHECK_EQ(read_file("/proc/self/auxv", (char *)aux, sizeof(aux)), size);
    CHECK_EQ(aux[size / 8 - 3], 77);
    CHECK_EQ(aux[size / 8 - 2], 0);
}

/* The break moves on from where it was said to be. */
static void test_brk(void)
{
    char *area = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct prctl_mm_map map;

    CHECK(area != MAP_FAILED);
    CHECK_EQ(munmap(area, 1 << 20), 0);
    current_map(&map);
    map.start_brk = map.brk = (uintptr_t)area;
    CHECK_EQ(set_map(&map), 0);
    CHECK_EQ((uintptr_t)sbrk(0) != 0, 1);
    CHECK_EQ(brk(area + 8192), 0);
    memset(area, 1, 8192);
    CHECK_EQ(brk(area), 0);
}

/* What takes CAP_SYS_RESOURCE: with it or refused. */
static void test_single(void)
{
    struct prctl_mm_map map;
    char *area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char text[64];

    current_map(&map);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_START_BRK, map.start_brk, 0, 1), EINVAL);
    if (prctl(PR_SET_MM, PR_SET_MM_START_BRK, map.start_brk, 0, 0) < 0) {
        CHECK_EQ(errno, EPERM);
        CHECK_ERRNO(prctl(PR_SET_MM, 999, map.start_brk, 0, 0), EPERM);
        return;
    }
    memcpy(area, "abc", 4);
    CHECK_ERRNO(prctl(PR_SET_MM, 999, map.start_brk, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_ARG_START, 0, 0, 0), EINVAL);
    if ((uintptr_t)area < map.arg_end)
        CHECK_EQ(prctl(PR_SET_MM, PR_SET_MM_ARG_START, area, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_MM, PR_SET_MM_ARG_END, area + 4, 0, 0), 0);
    CHECK_EQ(read_file("/proc/self/cmdline", text, sizeof(text)), 4);
    CHECK_EQ(strcmp(text, "abc"), 0);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, 999, 0, 0), EBADF);
    int fd = open("/bin/true", O_RDONLY);

    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, fd, 0, 0), EBUSY);
    close(fd);
    fd = open("/etc/passwd", O_RDONLY);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, fd, 0, 0), EACCES);
    close(fd);
    fd = open("/dev/null", O_RDONLY);
    CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, fd, 0, 0), EACCES);
    close(fd);
}

int main(void)
{
    test_refusals();
    test_follows();
    test_brk();
    test_single();
    test_auxv();
    return check_done();
}
