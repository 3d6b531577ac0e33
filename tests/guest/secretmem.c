/*
 * Files that are only memory: memfd_secret(2), whose pages nobody else reaches, and memfds of huge
 * pages where there are none.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"
#include "child.h"

#define NR_SECRET 447
#define PAGE      4096
#define HUGE      (2UL << 20)

static void on_bus(int signo)
{
    _exit(7);
}

static void test_secret(void)
{
    int fd = (int)syscall(NR_SECRET, O_CLOEXEC), pipes[2];
    char c = 0, link[64], name[64] = {0}, *memory;
    struct iovec local = {&c, 1}, remote;
    struct stat st;
    pid_t pid;

    CHECK(fd >= 0);
    CHECK_ERRNO(syscall(NR_SECRET, O_NONBLOCK), EINVAL);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0600);
    CHECK_EQ(st.st_size, 0);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    CHECK(readlink(link, name, sizeof(name) - 1) > 0);
    CHECK(strcmp(name, "/secretmem (deleted)") == 0);
    CHECK_ERRNO(read(fd, &c, 1), EINVAL);
    CHECK_ERRNO(write(fd, &c, 1), EINVAL);
    CHECK_ERRNO(lseek(fd, 0, SEEK_SET), ESPIPE);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EINVAL);
    memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(ftruncate(fd, PAGE), 0);
    CHECK_ERRNO(ftruncate(fd, 2 * PAGE), EINVAL);
    memory[0] = 's';
    /* The program's own calls use it, others' hands do not reach it. */
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(write(pipes[1], memory, 1), 1);
    CHECK_EQ(read(pipes[0], memory + 1, 1), 1);
    CHECK_EQ(memory[1], 's');
    remote = (struct iovec){memory, 1};
    CHECK_ERRNO(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), EFAULT);
    CHECK_ERRNO(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), EFAULT);
    pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        memory[0] = 't';
        raise(SIGSTOP);
        _exit(0);
    }
    CHECK(WIFSTOPPED(status_of(pid)));
    CHECK_EQ(memory[0], 't'); /* shared, as it must be */
    CHECK_ERRNO(ptrace(PTRACE_PEEKDATA, pid, memory, 0), EIO);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    CHECK_EQ(status_of(pid), 0);
    /* Locked for good, and nothing beyond its end. */
    CHECK_EQ(munlock(memory, PAGE), 0);
    pid = fork();
    if (pid == 0) {
        signal(SIGBUS, on_bus);
        memory[PAGE] = 1;
        _exit(0);
    }
    CHECK_EQ(status_of(pid), 7 << 8);
    CHECK_EQ(munmap(memory, 2 * PAGE), 0);
    pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};

        CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
        CHECK_EQ(setuid(4242), 0);
        CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EAGAIN);
        _exit(check_failures != 0);
    }
    CHECK_EQ(status_of(pid), 0);
    close(fd);
}

static void test_huge(void)
{
    int fd = memfd_create("large", MFD_HUGETLB | MFD_ALLOW_SEALING);
    char buf[16] = "full";
    struct stat st;

    if (fd < 0 && (errno == ENOSYS || errno == ENODEV))
        return;
    CHECK(fd >= 0);
    CHECK_ERRNO(memfd_create("odd", MFD_HUGETLB | 22U << MAP_HUGE_SHIFT), ENODEV);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_blksize, HUGE);
    CHECK_EQ(read(fd, buf, 1), 0);
    CHECK_ERRNO(write(fd, buf, 1), EINVAL);
    CHECK_ERRNO(ftruncate(fd, PAGE), EINVAL);
    CHECK_EQ(ftruncate(fd, HUGE), 0);
    CHECK_EQ(read(fd, buf, sizeof(buf)), sizeof(buf));
    CHECK(buf[0] == 0 && buf[3] == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_END), HUGE);
    CHECK(mmap(NULL, HUGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(NULL, HUGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(NULL, HUGE, PROT_READ, MAP_SHARED, fd, PAGE) == MAP_FAILED && errno == EINVAL);
    CHECK_ERRNO(fallocate(fd, 0, 0, HUGE), ENOSPC);
    CHECK_EQ(fcntl(fd, F_GET_SEALS), 0);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    CHECK_ERRNO(ftruncate(fd, 0), EPERM);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM);
    close(fd);
}

int main(void)
{
    int fd = (int)syscall(NR_SECRET, 0);
    int pages = open("/proc/sys/vm/nr_hugepages", O_RDONLY);
    char count = '0';

    if (fd < 0 && errno == ENOSYS)
        check_skip("no secret memory here");
    close(fd);
    test_secret();
    if (pages >= 0 && read(pages, &count, 1) == 1 && count != '0')
        return check_done(); /* a pool that is not empty */
    test_huge();
    return check_done();
}
