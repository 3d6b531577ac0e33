/* FIFOs: who waits for whom at open, what readers and writers see of each other, signals. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"
#include "child.h"

static pid_t in_child(int (*fn)(void))
{
    pid_t child = fork();

    if (child == 0)
        _exit(fn());
    return child;
}

static short polled(int fd)
{
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};

    CHECK(poll(&p, 1, 0) >= 0);
    return p.revents;
}

static void test_node(void)
{
    struct stat st;

    CHECK_EQ(mkfifo("fifo", 0622), 0);
    CHECK_EQ(stat("fifo", &st), 0);
    CHECK_EQ(st.st_mode, S_IFIFO | 0600); /* less the umask */
    CHECK_EQ(st.st_size, 0);
    CHECK_ERRNO(mkfifo("fifo", 0600), EEXIST);
    CHECK_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    CHECK_ERRNO(truncate("fifo", 0), EINVAL);
    int fd = open("fifo", O_RDONLY | O_NONBLOCK);
    CHECK(fd >= 0);
    struct stat by_fd;
    CHECK_EQ(fstat(fd, &by_fd), 0);
    CHECK(by_fd.st_ino == st.st_ino && by_fd.st_mode == st.st_mode);
    CHECK_ERRNO(lseek(fd, 0, SEEK_CUR), ESPIPE);
    CHECK_ERRNO(ftruncate(fd, 0), EINVAL);
    close(fd);
}

static void test_nonblock(void)
{
    char text[100];
    int r = open("fifo", O_RDONLY | O_NONBLOCK);

    CHECK_EQ(polled(r), 0); /* nobody has written yet: no hang-up */
    CHECK_EQ(read(r, text, 10), 0);
    int w = open("fifo", O_WRONLY | O_NONBLOCK);
    CHECK(w >= 0);
    CHECK_ERRNO(read(r, text, 10), EAGAIN);
    CHECK_EQ(polled(w), POLLOUT);
    CHECK_EQ(write(w, "hello", 5), 5);
    CHECK_EQ(polled(r), POLLIN);
    CHECK_EQ(read(r, text, 3), 3);
    int w2 = open("fifo", O_WRONLY);
    CHECK_EQ(close(w), 0);
    CHECK_EQ(write(w2, "!", 1), 1);
    CHECK_EQ(close(w2), 0);
    CHECK_EQ(polled(r), POLLIN | POLLHUP);
    CHECK_EQ(read(r, text, 10), 3);
    CHECK(memcmp(text, "lo!", 3) == 0);
    CHECK_EQ(read(r, text, 10), 0);
    CHECK_EQ(polled(r), POLLHUP);
    w = open("fifo", O_WRONLY);
    CHECK_EQ(polled(r), 0);
    CHECK_EQ(close(r), 0);
    CHECK_EQ(polled(w), POLLOUT | POLLERR);
    CHECK_ERRNO(write(w, "x", 1), EPIPE);
    CHECK_EQ(close(w), 0);

    /* Both sides at once; what is left at the last close is lost. */
    int both = open("fifo", O_RDWR);
    CHECK(both >= 0);
    CHECK_EQ(write(both, "lost", 4), 4);
    CHECK_EQ(polled(both), POLLIN | POLLOUT);
    CHECK_EQ(close(both), 0);
    both = open("fifo", O_RDWR | O_NONBLOCK);
    CHECK_ERRNO(read(both, text, 4), EAGAIN);
    CHECK_EQ(close(both), 0);
}

static int write_hello(void)
{
    int fd = open("fifo", O_WRONLY);

    return fd >= 0 && write(fd, "hello", 5) == 5 ? 0 : 1;
}

static int read_hello(void)
{
    char text[10];
    int fd = open("fifo", O_RDONLY);

    return fd >= 0 && read(fd, text, 10) == 5 && read(fd, text, 10) == 0 ? 0 : 1;
}

static void test_waiting(void)
{
    char text[10];
    int status;

    /* The reader waits for the writer, and the other way round. */
    for (int i = 0; i < 20; i++) {
        pid_t child = in_child(write_hello);
        int fd = open("fifo", O_RDONLY);

        CHECK_EQ(read(fd, text, 10), 5);
        CHECK_EQ(read(fd, text, 10), 0);
        close(fd);
        CHECK_EQ(exit_of(child), 0);

        child = in_child(read_hello);
        fd = open("fifo", O_WRONLY);
        CHECK_EQ(write(fd, "hello", 5), 5);
        close(fd);
        CHECK_EQ(exit_of(child), 0);
    }
    pid_t child = in_child(read_hello);
    usleep(20000);
    CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
    int fd = open("fifo", O_RDWR | O_NONBLOCK);
    CHECK_EQ(write(fd, "hello", 5), 5);
    usleep(1000);
    close(fd);
    CHECK_EQ(exit_of(child), 0);
}

static void on_alarm(int signo)
{
    (void)signo;
}

static void test_signals(void)
{
    struct sigaction action = {.sa_handler = on_alarm};

    sigaction(SIGALRM, &action, NULL);
    ualarm(20000, 20000); /* again and again: the first may come too early */
    CHECK_ERRNO(open("fifo", O_RDONLY), EINTR);
    CHECK_ERRNO(open("fifo", O_WRONLY), EINTR);
    ualarm(0, 0);
    /* The failed opens left no end behind. */
    CHECK_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    int fd = open("fifo", O_RDONLY | O_NONBLOCK);
    char byte;
    CHECK_EQ(read(fd, &byte, 1), 0);
    close(fd);
    /* With SA_RESTART the open goes on waiting. */
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    pid_t child = fork();
    if (child == 0) {
        /* The reader may just be starting again: then nobody reads this one. */
        do
            usleep(60000);
        while (write_hello() != 0);
        _exit(0);
    }
    ualarm(20000, 0);
    fd = open("fifo", O_RDONLY);
    CHECK(fd >= 0);
    CHECK_EQ(read(fd, &byte, 1), 1);
    close(fd);
    CHECK_EQ(exit_of(child), 0);
}

int main(void)
{
    char top[] = "/tmp/fifo-XXXXXX";

    signal(SIGPIPE, SIG_IGN);
    umask(022);
    if (!mkdtemp(top) || chdir(top) < 0)
        check_skip("no folder can be made in /tmp");
    test_node();
    test_nonblock();
    test_waiting();
    test_signals();
    CHECK_EQ(unlink("fifo"), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
