/*
 * A hundred mounts, each on the one before: at one place, and each in a folder of the last. Walks
 * go down and up through all of them, /proc shows them, and one call takes them away. Root only.
 */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define DEPTH 100

static char base[64];

static void put(const char *name, int number)
{
    char text[16];
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int n = snprintf(text, sizeof(text), "%d", number);

    CHECK(fd >= 0 && write(fd, text, (size_t)n) == n);
    close(fd);
}

static int get(const char *name)
{
    char text[16] = "";
    int fd = open(name, O_RDONLY);

    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        return -1;
    close(fd);
    return atoi(text);
}

/* How many mounts lie below base. */
static int count_mounts(void)
{
    char line[PATH_MAX + 200];
    FILE *mounts = fopen("/proc/self/mountinfo", "r");
    int count = 0;

    while (mounts && fgets(line, sizeof(line), mounts))
        count += strstr(line, base) != NULL;
    if (mounts)
        fclose(mounts);
    return count;
}

static void test_stacked(void)
{
    CHECK_EQ(mkdir("s", 0755), 0);
    for (int i = 0; i < DEPTH; i++) {
        CHECK_EQ(mount("x", "s", "tmpfs", 0, NULL), 0);
        put("s/number", i);
    }
    CHECK_EQ(count_mounts(), DEPTH + 1);
    CHECK_EQ(get("s/number"), DEPTH - 1);
    CHECK_EQ(get("s/../s/number"), DEPTH - 1);
    for (int i = DEPTH - 1; i > DEPTH / 2; i--) {
        CHECK_EQ(get("s/number"), i);
        CHECK_EQ(umount("s"), 0);
    }
    for (int i = DEPTH / 2; i >= 0; i--)
        CHECK_EQ(umount2("s", MNT_DETACH), 0);
    CHECK_ERRNO(umount("s"), EINVAL);
    CHECK_EQ(rmdir("s"), 0);
}

static void test_nested(void)
{
    char path[PATH_MAX], up[PATH_MAX] = "", cwd[PATH_MAX], *end = path;
    struct stat st, top;
    dev_t last = 0;
    int fd;

    for (int i = 0; i < DEPTH; i++) {
        end += sprintf(end, "%sd", i ? "/" : "");
        CHECK_EQ(mkdir(path, 0755), 0);
        CHECK_EQ(mount("x", path, "tmpfs", 0, NULL), 0);
        CHECK(stat(path, &st) == 0 && st.st_dev != last);
        last = st.st_dev;
        strcat(up, "../");
    }
    CHECK_EQ(count_mounts(), DEPTH + 1);
    CHECK_EQ(chdir(path), 0);
    put("here", 7);
    CHECK(syscall(SYS_getcwd, cwd, sizeof(cwd)) == (long)(strlen(base) + 1 + strlen(path) + 1));
    CHECK(stat(up, &st) == 0 && stat(base, &top) == 0 && st.st_ino == top.st_ino);
    CHECK_ERRNO(rename("here", "../here"), EXDEV);
    CHECK_ERRNO(link("here", "../here"), EXDEV);
    CHECK_ERRNO(rmdir("../d"), EBUSY);
    CHECK_EQ(chdir(base), 0);
    CHECK_ERRNO(umount("d"), EBUSY);
    /* A copy of all of it, and another namespace with all of it. */
    CHECK_EQ(mkdir("copy", 0755), 0);
    CHECK_EQ(mount("d", "copy", NULL, MS_BIND | MS_REC, NULL), 0);
    CHECK_EQ(count_mounts(), 2 * DEPTH + 1);
    if (fork() == 0) {
        _exit(unshare(CLONE_NEWNS) != 0 || count_mounts() != 2 * DEPTH + 1 ||
              umount2("copy", MNT_DETACH) != 0 || count_mounts() != DEPTH + 1);
    }
    int status;
    CHECK(wait(&status) > 0 && status == 0);
    CHECK_EQ(count_mounts(), 2 * DEPTH + 1);
    CHECK_EQ(umount2("copy", MNT_DETACH), 0);
    fd = open(path, O_PATH | O_DIRECTORY);
    CHECK_EQ(umount2("d", MNT_DETACH), 0);
    CHECK_EQ(count_mounts(), 1);
    CHECK_EQ(faccessat(fd, "here", R_OK, 0), 0);
    CHECK_EQ(close(fd), 0);
    CHECK(rmdir("d") == 0 && rmdir("copy") == 0);
}

int main(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0)
        return CHECK_SKIPPED;
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    snprintf(base, sizeof(base), "/tmp/deep-mounts-%d", getpid());
    CHECK_EQ(mkdir(base, 0755), 0);
    CHECK_EQ(mount("base", base, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chdir(base), 0);
    test_stacked();
    test_nested();
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(umount(base), 0);
    CHECK_EQ(rmdir(base), 0);
    return check_done();
}
