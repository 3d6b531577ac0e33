/*
 * Mode, owner and times of what has no name in the tree: pipes and sockets let them be changed,
 * anonymous files do not. "terminals": those of a pseudo-terminal's name.
 */
#include <fcntl.h>
#include <pty.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

static const struct timespec past[2] = {{1000, 1}, {2000, 2}};

static uint32_t mode_of(int fd)
{
    struct stat st;

    CHECK_EQ(fstat(fd, &st), 0);
    return st.st_mode;
}

static void link_of(int fd, char name[64])
{
    snprintf(name, 64, "/proc/self/fd/%d", fd);
}

/* `other`: the other end, whose attributes are the same if `shared`. */
static void check_changes(int fd, int other, uint32_t type, uint32_t mode, bool shared)
{
    struct stat st;
    char name[64];

    CHECK_EQ(mode_of(fd), type | mode);
    CHECK_EQ(fchmod(fd, 0200), 0);
    CHECK_EQ(mode_of(fd), type | 0200);
    CHECK_EQ(mode_of(other), type | (shared ? 0200 : mode));
    link_of(fd, name);
    CHECK_EQ(chmod(name, 01640), 0);
    CHECK_EQ(mode_of(fd), type | 01640);
    CHECK_EQ(fchown(fd, geteuid(), getegid()), 0);
    CHECK_EQ(fchown(fd, (uid_t)-1, (gid_t)-1), 0);
    CHECK_EQ(fchownat(fd, "", geteuid(), (gid_t)-1, AT_EMPTY_PATH), 0);
    CHECK_EQ(futimens(fd, past), 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 1);
    CHECK(st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 2);
    CHECK(st.st_ctim.tv_sec > 2000);
    CHECK_EQ(futimens(fd, NULL), 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(st.st_atim.tv_sec > 2000 && st.st_mtim.tv_sec > 2000);
    CHECK_EQ(st.st_uid, geteuid());
    CHECK_ERRNO(fsetxattr(fd, "user.x", "x", 1, 0), EPERM);
}

static void check_pipes(void)
{
    int ends[2], again;
    char name[64];

    CHECK_EQ(pipe(ends), 0);
    check_changes(ends[1], ends[0], S_IFIFO, 0600, true);
    CHECK_EQ(write(ends[1], "through", 7), 7);
    link_of(ends[0], name);
    CHECK_EQ(access(name, R_OK | W_OK), 0);
    again = open(name, O_RDONLY | O_NONBLOCK);
    CHECK(again >= 0);
    CHECK_EQ(read(again, name, sizeof(name)), 7);
    close(again);
    close(ends[0]);
    close(ends[1]);
}

static void check_sockets(void)
{
    int ends[2], fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    check_changes(ends[0], ends[1], S_IFSOCK, 0777, false);
    check_changes(fd, fd, S_IFSOCK, 0777, true);
    CHECK_EQ(shutdown(ends[1], SHUT_RD), 0);
    CHECK_EQ(fchmod(ends[1], S_IWUSR), 0); /* how a shell makes a pipe of it */
    CHECK_EQ(write(ends[1], "x", 1), 1);
    close(fd);
    close(ends[0]);
    close(ends[1]);
}

static void check_fixed(int fd)
{
    char name[64];
    uint32_t mode = mode_of(fd);

    link_of(fd, name);
    CHECK_ERRNO(fchmod(fd, 0200), EOPNOTSUPP);
    CHECK_ERRNO(chmod(name, 0200), EOPNOTSUPP);
    CHECK_ERRNO(fchown(fd, geteuid(), getegid()), EOPNOTSUPP);
    CHECK_ERRNO(futimens(fd, past), EOPNOTSUPP);
    CHECK_EQ(mode_of(fd), mode);
    close(fd);
}

/* What others may do with a pipe, in a process that is somebody else; without the right to, itself.
 */
static void check_others(void)
{
    int ends[2], status;
    char name[64];
    pid_t pid;

    CHECK_EQ(pipe(ends), 0);
    link_of(ends[1], name);
    if (geteuid() == 0)
        CHECK_EQ(fchown(ends[1], 0, 4321), 0);
    pid = fork();
    if (pid == 0) {
        if (geteuid() == 0) {
            CHECK_EQ(setresgid(1234, 1234, 1234), 0);
            CHECK_EQ(setresuid(1234, 1234, 1234), 0);
            CHECK_ERRNO(fchmod(ends[1], 0666), EPERM);
            CHECK_ERRNO(fchown(ends[1], 1234, (gid_t)-1), EPERM);
            CHECK_ERRNO(futimens(ends[1], past), EPERM);
            CHECK_ERRNO(futimens(ends[1], NULL), EACCES);
            CHECK_ERRNO(access(name, W_OK), EACCES);
            CHECK_ERRNO(open(name, O_WRONLY), EACCES);
        }
        _exit(check_failures ? 1 : 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(ends[0]);
    close(ends[1]);
}

static void check_terminals(void)
{
    struct stat st, before;
    int master, slave, held, again;
    char name[64];

    CHECK_EQ(openpty(&master, &slave, name, NULL, NULL), 0);
    CHECK_EQ(fstat(slave, &before), 0);
    CHECK_EQ(before.st_uid, geteuid());
    CHECK_EQ(chmod(name, 0600), 0);
    CHECK_EQ(mode_of(slave), S_IFCHR | 0600);
    CHECK_EQ(fchmod(slave, 0622), 0);
    CHECK_EQ(stat(name, &st), 0);
    CHECK_EQ(st.st_mode, S_IFCHR | 0622);
    CHECK_EQ(chown(name, geteuid(), (gid_t)-1), 0);
    CHECK_EQ(utimensat(AT_FDCWD, name, past, 0), 0);
    CHECK_EQ(fstat(slave, &st), 0);
    CHECK_EQ(st.st_mtim.tv_sec, 2000);
    /* A name that is held is not that of the terminal that has its number afterwards. */
    held = open(name, O_PATH);
    CHECK(held >= 0);
    close(slave);
    close(master);
    CHECK_EQ(openpty(&master, &slave, name, NULL, NULL), 0);
    link_of(held, name);
    (void)chmod(name, 0666);
    CHECK_EQ(mode_of(slave), before.st_mode);
    again = open(name, O_RDWR | O_NOCTTY);
    CHECK(again < 0);
    close(held);
    close(slave);
    close(master);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "terminals") == 0) {
        check_terminals();
    } else {
        check_pipes();
        check_sockets();
        check_fixed(eventfd(0, 0));
        check_fixed(epoll_create1(0));
        check_others();
    }
    return check_done();
}
