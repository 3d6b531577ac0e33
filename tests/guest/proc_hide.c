/* What of processes /proc hides by its mount options; and titles that programs give themselves. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

#define STRANGER 4711
#define FRIENDS  4712

static char place[64];
static pid_t root_pid;

static const char *in(const char *format, int pid)
{
    static char path[128];
    char name[64];

    snprintf(name, sizeof(name), format, pid);
    snprintf(path, sizeof(path), "%s/%s", place, name);
    return path;
}

static bool listed(int pid)
{
    DIR *dir = opendir(place);
    bool found = false;

    CHECK(dir != NULL);
    for (struct dirent *e; dir && (e = readdir(dir));)
        found |= atoi(e->d_name) == pid;
    closedir(dir);
    return found;
}

/* A child that is nobody special looks around. */
static void as_stranger(void (*look)(void), bool friend)
{
    const gid_t groups[] = {FRIENDS};
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        check_failures = 0;
        CHECK_EQ(setgroups(friend, groups), 0);
        CHECK_EQ(setresgid(STRANGER, STRANGER, STRANGER), 0);
        CHECK_EQ(setresuid(STRANGER, STRANGER, STRANGER), 0);
        look();
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void sees_all(void)
{
    struct stat st;

    CHECK(listed(root_pid));
    CHECK_EQ(stat(in("%d/status", root_pid), &st), 0);
    CHECK_EQ(stat(in("%d/status", getpid()), &st), 0);
}

static void sees_closed(void)
{
    struct stat st;

    CHECK(listed(root_pid));
    CHECK_EQ(stat(in("%d", root_pid), &st), 0);
    CHECK_ERRNO(stat(in("%d/status", root_pid), &st), EPERM);
    CHECK_ERRNO(open(in("%d/cmdline", root_pid), O_RDONLY), EPERM);
    CHECK_ERRNO(open(in("%d", root_pid), O_RDONLY | O_DIRECTORY), EPERM);
    CHECK(listed(getpid()));
    CHECK_EQ(stat(in("self/status", 0), &st), 0);
}

static void sees_itself(void)
{
    struct stat st;

    CHECK(!listed(root_pid));
    CHECK_ERRNO(stat(in("%d", root_pid), &st), ENOENT);
    CHECK_ERRNO(stat(in("%d/status", root_pid), &st), ENOENT);
    CHECK(listed(getpid()));
    CHECK_EQ(stat(in("%d/status", getpid()), &st), 0);
    CHECK_EQ(stat(in("self/status", 0), &st), 0);
}

static void mount_with(const char *options)
{
    CHECK_EQ(mount("proc", place, "proc", 0, options), 0);
}

static bool shown(const char *options)
{
    char line[1024], want[128];
    bool found = false;
    FILE *f = fopen("/proc/self/mounts", "r");

    snprintf(want, sizeof(want), " %s proc rw,relatime%s 0 0\n", place, options);
    while (f && fgets(line, sizeof(line), f))
        found |= strstr(line, want) != NULL;
    if (f)
        fclose(f);
    return found;
}

static void test_hide(void)
{
    struct stat st;

    mount_with("hidepid=0");
    CHECK(shown(""));
    as_stranger(sees_all, false);
    CHECK_EQ(umount(place), 0);
    mount_with("hidepid=noaccess");
    CHECK(shown(",hidepid=noaccess"));
    as_stranger(sees_closed, false);
    sees_all();
    CHECK_EQ(umount(place), 0);
    mount_with("hidepid=2,gid=4712");
    CHECK(shown(",gid=4712,hidepid=invisible"));
    as_stranger(sees_itself, false);
    as_stranger(sees_all, true);
    sees_all();
    CHECK_EQ(umount(place), 0);
    mount_with("hidepid=4,gid=4712");
    as_stranger(sees_itself, true);
    CHECK_EQ(umount(place), 0);
    mount_with("subset=pid");
    CHECK(shown(",subset=pid"));
    CHECK_ERRNO(stat(in("meminfo", 0), &st), ENOENT);
    CHECK_EQ(stat(in("self/status", 0), &st), 0);
    sees_all();
    CHECK_EQ(umount(place), 0);
    CHECK_ERRNO(mount("proc", place, "proc", 0, "hidepid=3"), EINVAL);
    CHECK_ERRNO(mount("proc", place, "proc", 0, "subset=all"), EINVAL);
}

static size_t cmdline(char *buf, size_t size)
{
    int fd = open("/proc/self/cmdline", O_RDONLY);
    ssize_t n = read(fd, buf, size);

    close(fd);
    return n > 0 ? (size_t)n : 0;
}

/* sendmail's way: over the arguments, and on over the environment. */
static void test_title(char **argv)
{
    char buf[4096];
    size_t before = cmdline(buf, sizeof(buf));

    CHECK_EQ(before, strlen(argv[0]) + 1 + strlen(argv[1]) + 1);
    argv[0][0] = 'X';
    cmdline(buf, sizeof(buf));
    CHECK(buf[0] == 'X');
    memset(argv[0], 't', before + 20);
    argv[0][before + 20] = 0;
    CHECK_EQ(cmdline(buf, sizeof(buf)), before + 21);
    CHECK(buf[0] == 't' && buf[before + 19] == 't' && !buf[before + 20]);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        char *args[] = {argv[0], (char *)"title", NULL};
        char *environment[] = {(char *)"A=0123456789", (char *)"B=0123456789",
                               (char *)"C=0123456789", NULL};
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            execve("/proc/self/exe", args, environment);
            _exit(2);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
        root_pid = getpid();
        snprintf(place, sizeof(place), "/tmp/proc_hide.%d", getpid());
        if (geteuid() == 0 && mkdir(place, 0755) == 0 && unshare(CLONE_NEWNS) == 0) {
            CHECK_EQ(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
            test_hide();
            rmdir(place);
        }
        return check_done();
    }
    test_title(argv);
    return check_failures != 0;
}
