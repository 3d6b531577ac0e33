/*
 * Corners of file calls: PROCMAP_QUERY, requests of /dev/random, what can be mounted upon, when
 * copy_file_range(2) minds the file system, a hangup of no terminal, devices' alignment.
 */
#include <fcntl.h>
#include <linux/random.h>
#include <linux/stat.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "kernel.h"

/* Newer than Debian 12's headers. */
struct map_query {
    uint64_t size, flags, addr, start, end, rights, page_size, offset, inode;
    uint32_t dev_major, dev_minor, name_size, build_id_size;
    uint64_t name, build_id;
};
#define MAP_QUERY      _IOWR('f', 17, struct map_query)
#define MAP_READABLE   0x01
#define MAP_WRITABLE   0x02
#define MAP_SHARED_ONE 0x08
#define MAP_NEXT       0x10
#define MAP_OF_FILE    0x20

static void *pages;
static size_t page;

static int ask(int fd, struct map_query *q, uint64_t addr, uint64_t flags)
{
    *q = (struct map_query){.size = sizeof(*q), .addr = addr, .flags = flags};
    return ioctl(fd, MAP_QUERY, q);
}

static void test_query(void)
{
    int fd = open("/proc/self/maps", O_RDONLY), file = open("/proc/self/exe", O_RDONLY);
    uint64_t at = (uint64_t)pages;
    char name[256], exe[256] = "";
    struct map_query q;
    void *mapped = mmap(NULL, page, PROT_READ, MAP_PRIVATE, file, 0);

    munmap((char *)pages + 2 * page, page);
    CHECK_EQ(ask(fd, &q, at + page, 0), 0);
    CHECK_EQ(q.start, at);
    CHECK_EQ(q.end, at + 2 * page);
    CHECK_EQ(q.rights, MAP_READABLE | MAP_WRITABLE | MAP_SHARED_ONE);
    CHECK_EQ(q.page_size, page);
    CHECK_ERRNO(ask(fd, &q, at + 2 * page, 0), ENOENT);
    CHECK_EQ(ask(fd, &q, at + 2 * page, MAP_NEXT), 0);
    CHECK_EQ(q.start, at + 3 * page);
    CHECK_EQ(q.rights, MAP_READABLE);
    CHECK_EQ(q.inode, 0);
    CHECK_ERRNO(ask(fd, &q, at + 3 * page, MAP_WRITABLE), ENOENT);
    CHECK_EQ(ask(fd, &q, 0, MAP_NEXT | MAP_OF_FILE), 0);
    CHECK(q.inode != 0);
    CHECK_ERRNO(ask(fd, &q, at, 0x1000), EINVAL);
    CHECK_ERRNO(ask(fd, &q, UINT64_MAX, MAP_NEXT), ENOENT);
    q = (struct map_query){.size = sizeof(q), .addr = (uint64_t)mapped};
    q.name = (uint64_t)name;
    CHECK_ERRNO(ioctl(fd, MAP_QUERY, &q), EINVAL);
    q.name_size = 2;
    CHECK_ERRNO(ioctl(fd, MAP_QUERY, &q), ENAMETOOLONG);
    q.name_size = sizeof(name);
    CHECK_EQ(ioctl(fd, MAP_QUERY, &q), 0);
    CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
    CHECK(strcmp(name, exe) == 0);
    CHECK_EQ(q.name_size, strlen(exe) + 1);
    q.size = 16;
    CHECK_ERRNO(ioctl(fd, MAP_QUERY, &q), EINVAL);
    q.size = page + 8;
    CHECK_ERRNO(ioctl(fd, MAP_QUERY, &q), E2BIG);
    CHECK_ERRNO(ioctl(fd, MAP_QUERY, 8), EFAULT);
    CHECK_ERRNO(ioctl(fd, MAP_QUERY + 1, &q), ENOTTY);
    munmap(mapped, page);
    close(file);
    close(fd);
}

static void drop_root(void)
{
    if (setgid(65534) < 0 || setuid(65534) < 0)
        _exit(2);
}

static void wait_for(pid_t pid)
{
    int status = -1;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void test_random(void)
{
    struct {
        struct rand_pool_info info;
        char bytes[8];
    } pool = {.info = {.entropy_count = 8, .buf_size = 8}};
    int fd = open("/dev/urandom", O_RDWR), count = 0;
    pid_t pid;

    CHECK_EQ(ioctl(fd, RNDGETENTCNT, &count), 0);
    CHECK_EQ(count, 256);
    CHECK_EQ(ioctl(fd, RNDADDTOENTCNT, &count), 0);
    CHECK_EQ(ioctl(fd, RNDADDENTROPY, &pool), 0);
    pool.info.buf_size = -1;
    CHECK_ERRNO(ioctl(fd, RNDADDENTROPY, &pool), EFAULT);
    pool.info.entropy_count = -1;
    CHECK_ERRNO(ioctl(fd, RNDADDENTROPY, &pool), EINVAL);
    CHECK_ERRNO(ioctl(fd, RNDADDENTROPY, 8), EFAULT);
    count = -1;
    CHECK_ERRNO(ioctl(fd, RNDADDTOENTCNT, &count), EINVAL);
    CHECK_ERRNO(ioctl(fd, FIONREAD + 1, &count), EINVAL);
    pid = fork();
    if (pid == 0) {
        drop_root();
        CHECK_EQ(ioctl(fd, RNDGETENTCNT, &count), 0);
        CHECK_ERRNO(ioctl(fd, RNDADDTOENTCNT, &count), EPERM);
        CHECK_ERRNO(ioctl(fd, RNDADDENTROPY, &pool), EPERM);
        CHECK_ERRNO(ioctl(fd, RNDZAPENTCNT), EPERM);
        CHECK_ERRNO(open("/dev/kmsg", O_WRONLY), EACCES);
        _exit(check_failures != 0);
    }
    wait_for(pid);
    close(fd);
}

/* Where descriptors are shown nothing can be mounted. */
static void test_mounts(void)
{
    int fd = open("/proc/self/status", O_RDONLY), link;
    char path[64];

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        _exit(2);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    link = open(path, O_PATH | O_NOFOLLOW);
    CHECK(link >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", link);
    CHECK_ERRNO(mount("/proc/self/status", path, NULL, MS_BIND, NULL), ENOENT);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    CHECK_ERRNO(mount("/proc/self/status", path, NULL, MS_BIND, NULL), ENOENT);
    close(link);
    close(fd);
}

/* The file system counts even where there is nothing to copy. */
static void test_copy(void)
{
    int a = open("/proc/self/status", O_RDONLY), b = memfd_create("b", 0), c = memfd_create("c", 0);

    CHECK_EQ(copy_file_range(b, NULL, c, NULL, 100, 0), 0);
    CHECK_ERRNO(copy_file_range(a, NULL, b, NULL, 0, 0), EXDEV);
    CHECK_ERRNO(copy_file_range(a, NULL, b, NULL, 100, 0), EXDEV);
    close(a);
    close(b);
    close(c);
}

/* What changes nothing is no question of what the file can do. */
static void test_async(void)
{
    int fd = open("/dev/zero", O_RDONLY), on = 0;

    CHECK_EQ(ioctl(fd, FIOASYNC, &on), 0);
    on = 1;
    CHECK_ERRNO(ioctl(fd, FIOASYNC, &on), ENOTTY);
    CHECK_ERRNO(ioctl(fd, FIOASYNC, 8), EFAULT);
    close(fd);
}

static void test_hangup(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        CHECK(setsid() > 0);
        CHECK_EQ(RAW(SYS_vhangup), 0);
        drop_root();
        CHECK_EQ(RAW(SYS_vhangup), -EPERM);
        _exit(check_failures != 0);
    }
    wait_for(pid);
}

/* /dev takes what is made in it, by whom it belongs to. */
static void test_dev(void)
{
    char node[64], link[80];
    int fd;
    pid_t pid;

    snprintf(node, sizeof(node), "/dev/corner.%d", getpid());
    snprintf(link, sizeof(link), "%s.link", node);
    CHECK_EQ(mknod(node, S_IFCHR | 0600, makedev(1, 5)), 0);
    CHECK_EQ(symlink(node, link), 0);
    fd = open(link, O_RDWR);
    CHECK_EQ(read(fd, node, 0), 0);
    CHECK_EQ(write(fd, node, 5), 5);
    close(fd);
    pid = fork();
    if (pid == 0) {
        drop_root();
        CHECK_ERRNO(open(node, O_RDONLY), EACCES);
        CHECK_ERRNO(unlink(link), EACCES);
        CHECK_ERRNO(chown("/dev/null", 65534, 65534), EPERM);
        _exit(check_failures != 0);
    }
    wait_for(pid);
    CHECK_EQ(unlink(link), 0);
    CHECK_EQ(unlink(node), 0);
}

static void test_alignment(void)
{
    struct statx st;

    if (access("/dev/loop0", F_OK) < 0)
        return;
    CHECK_EQ(syscall(SYS_statx, AT_FDCWD, "/dev/loop0", 0, STATX_DIOALIGN, &st), 0);
    CHECK(st.stx_mask & STATX_DIOALIGN);
    CHECK_EQ(st.stx_dio_mem_align, 512);
    CHECK(st.stx_dio_offset_align >= 512);
    CHECK_EQ(syscall(SYS_statx, AT_FDCWD, "/dev/null", 0, STATX_DIOALIGN, &st), 0);
    CHECK(!(st.stx_mask & STATX_DIOALIGN));
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("wants to be root");
    need_kernel(6, 12);
    page = (size_t)sysconf(_SC_PAGESIZE);
    pages = mmap(NULL, 4 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mmap(pages, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == pages);
    test_query();
    test_random();
    test_mounts();
    test_copy();
    test_async();
    test_hangup();
    test_dev();
    test_alignment();
    return check_done();
}
