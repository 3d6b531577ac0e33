/* process_madvise and process_mrelease: what a handle on a process allows with its memory. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096UL

static long advise(int fd, struct iovec *iov, size_t count, int advice, unsigned flags)
{
    return RAW(SYS_process_madvise, fd, iov, count, advice, flags);
}

int main(void)
{
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec iov[2] = {{p, PAGE}, {p + 2 * PAGE, 2 * PAGE}};
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0), child;
    pid_t pid = fork();

    if (pid == 0) {
        pause();
        _exit(0);
    }
    child = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK(self >= 0 && child >= 0);
    memset(p, 1, 4 * PAGE);
    CHECK_EQ(advise(self, iov, 2, MADV_COLD, 0), 3 * PAGE);
    CHECK_EQ(advise(child, iov, 2, MADV_WILLNEED, 0), 3 * PAGE);
    CHECK_EQ(advise(child, iov, 1, MADV_PAGEOUT, 0), PAGE);
    CHECK_EQ(p[0], 1);
    CHECK_EQ(advise(child, iov, 1, MADV_DONTNEED, 0), -EINVAL);
    CHECK_EQ(advise(child, iov, 1, MADV_COLD, 1), -EINVAL);
    CHECK_EQ(advise(child, iov, 1025, MADV_COLD, 0), -EINVAL);
    CHECK_EQ(advise(child, (void *)8, 1, MADV_COLD, 0), -EFAULT);
    CHECK_EQ(advise(-1, iov, 1, MADV_COLD, 0), -EBADF);
    CHECK_EQ(advise(STDOUT_FILENO, iov, 1, MADV_COLD, 0), -EBADF);
    iov[0].iov_base = p + 1;
    CHECK_EQ(advise(self, iov, 2, MADV_COLD, 0), -EINVAL);

    CHECK_EQ(RAW(SYS_process_mrelease, child, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_process_mrelease, child, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_process_mrelease, STDOUT_FILENO, 0), -EBADF);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    CHECK_EQ(RAW(SYS_process_mrelease, child, 0), -ESRCH);
    CHECK_EQ(advise(child, iov, 1, MADV_COLD, 0), -ESRCH);
    return check_done();
}
