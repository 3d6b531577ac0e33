/*
 * The kernel's log: syslog(2) and /dev/kmsg. What stands in it is the kernel's own affair; how it
 * is asked for, and what we wrote ourselves, is not.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/klog.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static char text[1 << 20];

static void test_arguments(void)
{
    CHECK_ERRNO(klogctl(77, NULL, 0), EINVAL);
    CHECK_ERRNO(klogctl(-1, NULL, 0), EINVAL);
    CHECK_ERRNO(klogctl(3, NULL, 10), EINVAL);
    CHECK_ERRNO(klogctl(3, text, -1), EINVAL);
    CHECK_EQ(klogctl(3, text, 0), 0);
    CHECK_EQ(RAW(SYS_syslog, 3, 1UL << 63, 100), -EFAULT);
    CHECK_ERRNO(klogctl(8, NULL, 0), EINVAL);
    CHECK_ERRNO(klogctl(8, NULL, 9), EINVAL);
    CHECK_EQ(klogctl(0, NULL, 0), 0);
    CHECK_EQ(klogctl(1, NULL, 0), 0);
    int size = klogctl(10, NULL, 0);
    CHECK(size >= 4096);
    CHECK(klogctl(9, NULL, 0) >= 0);
    int n = klogctl(3, text, sizeof(text));
    CHECK(n > 0 && text[0] == '<' && text[n - 1] == '\n');
    n = klogctl(3, text, 200); /* whole lines only */
    CHECK(n >= 0 && n <= 200 && (n == 0 || (text[0] == '<' && text[n - 1] == '\n')));
}

static void test_no_right(void)
{
    int status;

    if (fork() == 0) {
        if (setuid(12345) != 0)
            _exit(9);
        CHECK_ERRNO(klogctl(5, NULL, 0), EPERM);
        CHECK_ERRNO(klogctl(2, text, 10), EPERM);
        CHECK_ERRNO(klogctl(77, NULL, 0), EPERM);
        _exit(check_failures != 0);
    }
    wait(&status);
    CHECK_EQ(status, 0);
}

/* What is written comes back as a record of its own, marked as a program's. */
static void test_device(void)
{
    int fd = open("/dev/kmsg", O_RDWR | O_NONBLOCK);
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    char line[8192], huge[2000] = "x", *body;
    unsigned priority = 0;

    CHECK(fd >= 0);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
    CHECK_ERRNO(read(fd, line, sizeof(line)), EAGAIN);
    CHECK_ERRNO(lseek(fd, 5, SEEK_SET), ESPIPE);
    CHECK_ERRNO(lseek(fd, 0, SEEK_CUR), EINVAL);
    CHECK_EQ(poll(&poller, 1, 0), 0);
    CHECK_EQ(write(fd, "<3>kernel_log test: tab\there\n", 29), 29);
    CHECK_EQ(poll(&poller, 1, 1000), 1);
    CHECK_ERRNO(read(fd, line, 4), EINVAL); /* and the record is lost for this reader */
    CHECK_ERRNO(read(fd, line, sizeof(line)), EAGAIN);
    CHECK_EQ(write(fd, "<3>kernel_log test: tab\there\n", 29), 29);
    ssize_t n = read(fd, line, sizeof(line) - 1);
    CHECK(n > 0);
    line[n > 0 ? n : 0] = 0;
    CHECK_EQ(sscanf(line, "%u,", &priority), 1);
    CHECK_EQ(priority, 1 << 3 | 3);
    body = strchr(line, ';');
    CHECK(body && strcmp(body, ";kernel_log test: tab\\x09here\n") == 0);
    CHECK_ERRNO(write(fd, huge, sizeof(huge)), EINVAL);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK(read(fd, line, sizeof(line)) > 0);
    close(fd);
    n = klogctl(3, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    CHECK(strstr(text, "<11>") && strstr(text, "kernel_log test: tab\there\n"));
}

int main(void)
{
    test_arguments();
    test_no_right();
    test_device();
    return check_done();
}
