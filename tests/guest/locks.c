/*
 * Locks on files: flock, POSIX and open-file-description locks; who is in whose way, what closing,
 * forking and exiting release, waiting, deadlocks. Below /tmp.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

static int set(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

    return fcntl(fd, cmd, &l);
}

/* What is in the way of a lock of this type: "W 10+5 of N", with N the process or the description.
 */
static const char *in_the_way(int fd, short type, off_t start, off_t len)
{
    static char text[100];
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

    if (fcntl(fd, F_GETLK, &l) < 0)
        return strerror(errno);
    if (l.l_type == F_UNLCK)
        return "nothing";
    snprintf(text, sizeof(text), "%c %ld+%ld of %s", l.l_type == F_RDLCK ? 'R' : 'W',
             (long)l.l_start, (long)l.l_len,
             l.l_pid == -1          ? "a description"
             : l.l_pid == getpid()  ? "this process"
             : l.l_pid == getppid() ? "its parent"
                                    : "a process");
    return text;
}

/* Runs `fn` in a child and gives its exit status. */
static int in_child(int (*fn)(int fd), int fd)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(fn(fd));
    CHECK_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int look(int fd)
{
    note("child sees: %s", in_the_way(fd, F_WRLCK, 0, 0));
    note("child reading sees: %s", in_the_way(fd, F_RDLCK, 0, 0));
    return 0;
}

static int try_lock(int fd)
{
    return set(fd, F_SETLK, F_WRLCK, 0, 1) == 0 ? 0 : errno;
}

static void test_posix(void)
{
    int fd = open("file", O_RDWR | O_CREAT, 0644), reader = open("file", O_RDONLY);

    CHECK_EQ(set(fd, F_SETLK, F_WRLCK, 10, 10), 0);
    note("own: %s", in_the_way(fd, F_WRLCK, 0, 0));
    in_child(look, fd);
    /* Cutting a hole, changing the type, joining. */
    CHECK_EQ(set(fd, F_SETLK, F_UNLCK, 13, 2), 0);
    in_child(look, fd);
    CHECK_EQ(set(fd, F_SETLK, F_RDLCK, 8, 4), 0);
    in_child(look, fd);
    CHECK_EQ(set(fd, F_SETLK, F_WRLCK, 8, 7), 0);
    in_child(look, fd);
    CHECK_EQ(set(fd, F_SETLK, F_UNLCK, 0, 0), 0);
    in_child(look, fd);
    CHECK_EQ(set(fd, F_SETLK, F_WRLCK, 0, 1), 0);
    CHECK_EQ(in_child(try_lock, fd), EAGAIN);
    /* Closing any descriptor of the file gives everything up. */
    CHECK_EQ(close(dup(reader)), 0);
    CHECK_EQ(in_child(try_lock, fd), 0);
    CHECK_EQ(set(fd, F_SETLK, F_WRLCK, 0, 1), 0);
    CHECK_EQ(dup2(fd, reader), reader);
    CHECK_EQ(in_child(try_lock, fd), 0);
    close(reader);
    reader = open("file", O_RDONLY);
    int writer = open("file", O_WRONLY);
    CHECK_ERRNO(set(reader, F_SETLK, F_WRLCK, 0, 1), EBADF);
    CHECK_ERRNO(set(writer, F_SETLK, F_RDLCK, 0, 1), EBADF);
    CHECK_EQ(set(writer, F_SETLK, F_WRLCK, 0, 1), 0);
    CHECK_EQ(set(reader, F_SETLK, F_RDLCK, 0, 1), 0); /* one owner: it becomes a read lock */
    in_child(look, fd);
    close(writer);
    close(reader);
    CHECK_ERRNO(set(fd, F_SETLK, 77, 0, 1), EINVAL);
    CHECK_ERRNO(set(fd, F_GETLK, F_UNLCK, 0, 1), EINVAL);
    CHECK_ERRNO(set(fd, F_SETLK, F_RDLCK, -1, 1), EINVAL);
    CHECK_ERRNO(set(fd, F_SETLK, F_RDLCK, 5, -6), EINVAL);
    CHECK_ERRNO(set(fd, F_SETLK, F_RDLCK, INT64_MAX, 2), EOVERFLOW);
    CHECK_ERRNO(fcntl(fd, F_SETLK, (void *)8), EFAULT);
    struct flock l = {.l_type = F_WRLCK, .l_whence = 7};
    CHECK_ERRNO(fcntl(fd, F_SETLK, &l), EINVAL);
    CHECK_EQ(write(fd, "0123456789", 10), 10);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -2, .l_len = 0};
    CHECK_EQ(fcntl(fd, F_SETLK, &l), 0);
    in_child(look, fd);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 0, .l_len = -10};
    CHECK_EQ(fcntl(fd, F_SETLK, &l), 0);
    in_child(look, fd);
    close(fd);
}

static int take_exit(int fd)
{
    return set(fd, F_SETLKW, F_WRLCK, 0, 0) == 0 ? 0 : 1;
}

static int hold_a_while(int fd)
{
    char byte = 'r';

    if (set(fd, F_SETLK, F_WRLCK, 0, 0) < 0 || write(STDERR_FILENO + 100, &byte, 1) != 1)
        return 1;
    if (read(STDERR_FILENO + 101, &byte, 1) != 1) /* the parent is ready to wait */
        return 2;
    usleep(30000);
    return 0;
}

static void on_alarm(int signo)
{
    (void)signo;
}

static void test_waiting(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    int fd = open("file", O_RDWR), pipes[2], go[2], status;
    char byte;

    sigaction(SIGALRM, &action, NULL);
    CHECK_EQ(pipe(pipes) | pipe(go), 0);
    CHECK_EQ(dup2(pipes[1], STDERR_FILENO + 100), STDERR_FILENO + 100);
    CHECK_EQ(dup2(go[0], STDERR_FILENO + 101), STDERR_FILENO + 101);
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(hold_a_while(fd));
        CHECK_EQ(read(pipes[0], &byte, 1), 1);
        CHECK_ERRNO(set(fd, F_SETLK, F_RDLCK, 5, 1), EAGAIN);
        if (i == 0) {
            ualarm(5000, 5000); /* again and again: the first may come too early */
            CHECK_ERRNO(set(fd, F_SETLKW, F_RDLCK, 5, 1), EINTR);
            ualarm(0, 0);
        }
        CHECK_EQ(write(go[1], "g", 1), 1);
        CHECK_EQ(set(fd, F_SETLKW, F_RDLCK, 5, 1), 0); /* until the child exits */
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        CHECK_EQ(set(fd, F_SETLK, F_UNLCK, 0, 0), 0);
    }
    CHECK_EQ(in_child(take_exit, fd), 0);
    close(pipes[0]);
    close(pipes[1]);
    close(go[0]);
    close(go[1]);
    close(STDERR_FILENO + 100);
    close(STDERR_FILENO + 101);
    close(fd);
}

/* A has 0 and wants 1, the child has 1 and wants 0. */
static void test_deadlock(void)
{
    int fd = open("file", O_RDWR), to_child[2], to_parent[2], status;
    char byte = 'x';

    CHECK_EQ(pipe(to_child), 0);
    CHECK_EQ(pipe(to_parent), 0);
    CHECK_EQ(set(fd, F_SETLK, F_WRLCK, 0, 1), 0);
    pid_t child = fork();
    if (child == 0) {
        if (set(fd, F_SETLK, F_WRLCK, 1, 1) < 0 || write(to_parent[1], &byte, 1) != 1)
            _exit(1);
        _exit(set(fd, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 2);
    }
    CHECK_EQ(read(to_parent[0], &byte, 1), 1);
    usleep(200000); /* the child waits by now */
    CHECK_ERRNO(set(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
    CHECK_EQ(set(fd, F_SETLK, F_UNLCK, 0, 1), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(to_parent[i]);
    }
    close(fd);
}

static void test_ofd(void)
{
    int a = open("file", O_RDWR), b = open("file", O_RDWR), c = dup(a);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_pid = 5};

    CHECK_EQ(set(a, F_OFD_SETLK, F_WRLCK, 0, 10), 0);
    CHECK_ERRNO(set(b, F_OFD_SETLK, F_RDLCK, 9, 1), EAGAIN);
    CHECK_EQ(set(b, F_OFD_SETLK, F_RDLCK, 10, 1), 0);
    CHECK_EQ(set(c, F_OFD_SETLK, F_RDLCK, 0, 10), 0); /* the same description */
    CHECK_EQ(set(b, F_OFD_SETLK, F_RDLCK, 0, 1), 0);
    CHECK_ERRNO(set(b, F_OFD_SETLK, F_WRLCK, 0, 1), EAGAIN);
    note("POSIX sees: %s", in_the_way(b, F_WRLCK, 0, 0));
    CHECK_ERRNO(fcntl(a, F_OFD_SETLK, &l), EINVAL);
    CHECK_ERRNO(fcntl(a, F_OFD_GETLK, &l), EINVAL);
    l.l_pid = 0;
    CHECK_EQ(fcntl(b, F_OFD_GETLK, &l), 0);
    note("b sees: type %d from %ld, %ld, pid %d", l.l_type, (long)l.l_start, (long)l.l_len,
         l.l_pid);
    close(a); /* c keeps it */
    CHECK_ERRNO(set(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
    pid_t child = fork();
    if (child == 0) {
        close(b);
        usleep(20000);
        _exit(0); /* gives c's reference up, too late for the parent's close() */
    }
    close(c);
    CHECK_EQ(set(b, F_OFD_SETLKW, F_WRLCK, 5, 1), 0);
    waitpid(child, NULL, 0);
    close(b);
}

static int flock_nb(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

static void test_flock(void)
{
    int a = open("file", O_RDONLY), b = open("file", O_RDWR), c = dup(a), status;

    CHECK_EQ(flock(a, LOCK_SH), 0);
    CHECK_EQ(flock(b, LOCK_SH | LOCK_NB), 0);
    CHECK_ERRNO(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK_EQ(flock(b, LOCK_EX | LOCK_NB), 0); /* a has lost its own by trying */
    CHECK_EQ(flock(b, LOCK_UN), 0);
    CHECK_EQ(flock(a, LOCK_EX), 0);
    CHECK_EQ(flock(c, LOCK_EX | LOCK_NB), 0);
    CHECK_EQ(in_child(flock_nb, a), 0); /* inherited: the same description */
    CHECK_ERRNO(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    CHECK_EQ(set(b, F_SETLK, F_WRLCK, 0, 0), 0); /* another world */
    pid_t child = fork();
    if (child == 0) {
        close(a);
        close(c);
        _exit(flock(b, LOCK_EX) == 0 ? 0 : 1);
    }
    usleep(10000);
    CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
    close(a);
    CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
    close(c);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_ERRNO(flock(b, 0), EINVAL);
    CHECK_ERRNO(flock(b, LOCK_SH | LOCK_EX), EINVAL);
    CHECK_ERRNO(flock(b, 77), EINVAL);
    CHECK_ERRNO(flock(99, LOCK_SH), EBADF);
    close(b);
    int dir = open(".", O_RDONLY | O_DIRECTORY), path = open("file", O_PATH);
    CHECK_EQ(flock(dir, LOCK_EX), 0);
    CHECK_ERRNO(flock(path, LOCK_EX), EBADF);
    close(dir);
    close(path);
}

/* Many threads and processes, one counter in a file. */
static void *add_many(void *arg)
{
    int fd = open("counter", O_RDWR);

    (void)arg;
    for (int i = 0; i < 50; i++) {
        long value;

        if (set(fd, F_OFD_SETLKW, F_WRLCK, 0, 0) < 0 || pread(fd, &value, 8, 0) != 8)
            abort();
        value++;
        if (pwrite(fd, &value, 8, 0) != 8 || set(fd, F_OFD_SETLK, F_UNLCK, 0, 0) < 0)
            abort();
    }
    close(fd);
    return NULL;
}

static void test_counter(void)
{
    int fd = open("counter", O_RDWR | O_CREAT, 0644);
    pthread_t threads[3];
    long value = 0;

    CHECK_EQ(write(fd, &value, 8), 8);
    pid_t child = fork();
    if (child == 0) {
        add_many(NULL);
        _exit(0);
    }
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, add_many, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    waitpid(child, NULL, 0);
    CHECK_EQ(pread(fd, &value, 8, 0), 8);
    CHECK_EQ(value, 200);
    close(fd);
    unlink("counter");
}

int main(void)
{
    char top[] = "/tmp/locks-XXXXXX";

    if (!mkdtemp(top) || chdir(top) < 0)
        check_skip("no folder can be made in /tmp");
    test_posix();
    test_waiting();
    test_deadlock();
    test_ofd();
    test_flock();
    test_counter();
    CHECK_EQ(unlink("file"), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
