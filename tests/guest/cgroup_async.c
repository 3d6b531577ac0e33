/* A write to cgroup.procs that is done asynchronously means the process that asked, not a worker.
 */
#include <sched.h>
#include <sys/mount.h>

#include "uring.h"

static char top[128], path[300];

static const char *at(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", top, name);
    return path;
}

static bool is_in(const char *name, pid_t pid)
{
    char text[256] = "", line[16];
    int fd = open(at(name), O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    close(fd);
    snprintf(line, sizeof(line), "%d\n", pid);
    return n > 0 && strstr(text, line) != NULL;
}

static void move_by(unsigned flags)
{
    struct ring r;

    CHECK(make_ring(&r, 4, 0, 0));
    int fd = open(at("async/cgroup.procs"), O_WRONLY);
    add(&r, WRITE, fd, "0\n", 2, 0, 1)->flags = (uint8_t)flags;
    go(&r, 1);
    CHECK_EQ(RESULT(&r, 1), 2);
    CHECK(is_in("async/cgroup.procs", getpid()));
    close(fd);
    drop_ring(&r);
}

int main(void)
{
    int status;

    if (geteuid() != 0)
        check_skip("only root makes groups");
    need_uring();
    snprintf(top, sizeof(top), "/tmp/cgroup_async.%d", getpid());
    mkdir(top, 0700);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", top, "cgroup2", 0, NULL) < 0)
        check_skip("cgroup2 cannot be mounted here");
    CHECK_EQ(mkdir(at("async"), 0755), 0);
    for (unsigned flags = 0; flags <= ASYNC; flags += ASYNC) {
        pid_t pid = fork();

        if (pid == 0) {
            move_by(flags);
            _exit(check_failures != 0);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
    }
    CHECK_EQ(rmdir(at("async")), 0);
    CHECK_EQ(umount2(top, MNT_DETACH), 0);
    rmdir(top);
    return check_done();
}
