/* process_vm_readv and process_vm_writev: another process's memory, whole, in parts, forbidden. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096UL

static char *shown, *hidden; /* the child's, at the same place as the parent's */

static pid_t start_child(int fds[2], uid_t uid)
{
    pid_t pid = fork();
    char c = 'x';

    if (pid != 0)
        return pid;
    strcpy(shown, "the child's bytes");
    memset(shown + PAGE, 'c', PAGE);
    if (uid && (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0))
        _exit(9);
    if (write(fds[1], &c, 1) != 1)
        _exit(9);
    pause();
    _exit(0);
}

static void test_copies(pid_t pid)
{
    static char buf[4 * PAGE], big[70000];
    struct iovec local[2] = {{buf, 10}, {buf + 10, sizeof(buf) - 10}};
    struct iovec remote[3] = {{shown, 5}, {shown + PAGE, 10}, {shown, 18}};

    strcpy(shown, "the parent's bytes");
    CHECK_EQ(process_vm_readv(pid, local, 2, remote, 3, 0), 33);
    CHECK_EQ(memcmp(buf, "the ccccccccccccthe child's bytes", 3), 0);
    CHECK_EQ(memcmp(buf + 5, "cccccccccc", 10), 0);
    CHECK_EQ(strcmp(buf + 15, "the child's bytes"), 0);
    /* As much as fits on either side. */
    local[0].iov_len = 4;
    CHECK_EQ(process_vm_readv(pid, local, 1, remote, 3, 0), 4);

    strcpy(buf, "written");
    local[0].iov_len = 8;
    remote[0] = (struct iovec){shown + 100, 8};
    CHECK_EQ(process_vm_writev(pid, local, 1, remote, 1, 0), 8);
    CHECK_EQ(shown[100], 0);
    memset(buf, 0, 8);
    CHECK_EQ(process_vm_readv(pid, local, 1, remote, 1, 0), 8);
    CHECK_EQ(strcmp(buf, "written"), 0);

    /* Up to the first page that cannot be. */
    local[0] = (struct iovec){buf, 4 * PAGE};
    remote[0] = (struct iovec){shown + PAGE, 3 * PAGE};
    CHECK_EQ(process_vm_readv(pid, local, 1, remote, 1, 0), PAGE);
    remote[0] = (struct iovec){hidden, 10};
    CHECK_ERRNO(process_vm_readv(pid, local, 1, remote, 1, 0), EFAULT);
    remote[0] = (struct iovec){(void *)test_copies, 10};
    CHECK_ERRNO(process_vm_writev(pid, local, 1, remote, 1, 0), EFAULT);
    /* More than one chunk. */
    local[0] = (struct iovec){big, sizeof(big)};
    remote[0] = (struct iovec){big, sizeof(big)};
    memset(big, 'b', sizeof(big));
    CHECK_EQ(process_vm_writev(pid, local, 1, remote, 1, 0), sizeof(big));
    memset(big, 0, sizeof(big));
    CHECK_EQ(process_vm_readv(pid, local, 1, remote, 1, 0), sizeof(big));
    CHECK_EQ(big[sizeof(big) - 1], 'b');
}

static void test_errors(pid_t pid)
{
    char buf[16];
    struct iovec local = {buf, 16}, remote = {shown, 16}, none = {buf, 0};

    CHECK_ERRNO(process_vm_readv(pid, &local, 1, &remote, 1, 1), EINVAL);
    CHECK_ERRNO(process_vm_readv(pid, &local, 1025, &remote, 1, 0), EINVAL);
    CHECK_ERRNO(process_vm_readv(pid, &local, 1, &remote, 1025, 0), EINVAL);
    CHECK_ERRNO(process_vm_readv(pid, (void *)8, 1, &remote, 1, 0), EFAULT);
    CHECK_ERRNO(process_vm_readv(pid, &local, 1, (void *)8, 1, 0), EFAULT);
    CHECK_ERRNO(process_vm_readv(0x7fffffff, &local, 1, &remote, 1, 0), ESRCH);
    CHECK_EQ(process_vm_readv(0x7fffffff, &none, 1, &remote, 1, 0), 0);
    CHECK_EQ(process_vm_readv(0x7fffffff, &local, 1, &none, 1, 0), 0);
    CHECK_EQ(process_vm_readv(pid, &local, 0, &remote, 1, 0), 0);
    local.iov_len = (size_t)-1;
    CHECK_ERRNO(process_vm_readv(pid, &local, 1, &remote, 1, 0), EINVAL);
    local = (struct iovec){buf, 16};
    remote.iov_base = (void *)0xffff800000000000;
    CHECK_ERRNO(process_vm_readv(pid, &local, 1, &remote, 1, 0), EFAULT);
    remote.iov_base = shown;
    local.iov_base = (void *)8;
    CHECK_ERRNO(process_vm_readv(pid, &local, 1, &remote, 1, 0), EFAULT);
    /* Oneself is allowed. */
    local.iov_base = buf;
    CHECK_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), 16);
}

static void test_forbidden(pid_t root_child)
{
    char buf[16];
    struct iovec local = {buf, 16}, remote = {shown, 16};
    int status = -1;

    if (geteuid() != 0)
        return;
    if (fork() == 0) {
        if (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0)
            _exit(9);
        CHECK_ERRNO(process_vm_readv(root_child, &local, 1, &remote, 1, 0), EPERM);
        _exit(check_failures != 0);
    }
    wait(&status);
    CHECK_EQ(status, 0);
}

int main(void)
{
    int fds[2];
    pid_t pid;
    char c;

    shown = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    hidden = shown + 2 * PAGE;
    mprotect(hidden, PAGE, PROT_NONE);
    if (pipe(fds) != 0)
        return 1;
    pid = start_child(fds, 0);
    CHECK_EQ(read(fds[0], &c, 1), 1);
    test_copies(pid);
    test_errors(pid);
    test_forbidden(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return check_done();
}
