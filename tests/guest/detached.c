/*
 * Mounts that were taken out of the tree while somebody stands in them: a file of one is mapped and
 * written, a root and a working directory lie in one, and names are what they are from there. Root
 * only.
 */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static char base[64];

static void write_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT, 0644);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* What /proc/self/maps calls the mapping at `addr`. */
static const char *name_of(void *addr)
{
    static char line[PATH_MAX];
    FILE *maps = fopen("/proc/self/maps", "r");
    char *name = "none";

    while (maps && fgets(line, sizeof(line), maps)) {
        line[strcspn(line, "\n")] = '\0';
        if (strtoul(line, NULL, 16) == (unsigned long)addr) {
            name = strchr(line, '/');
            break;
        }
    }
    if (maps)
        fclose(maps);
    return name ? name : "no name";
}

/* `what` is mounted on base/m, a file of it is opened, and then the mount goes. */
static void test_mapping(const char *what, const char *source, const char *type,
                         unsigned long flags)
{
    char link[64], text[PATH_MAX], *shared, *private;
    ssize_t n;
    int fd;

    CHECK_EQ(mount(source, "m", type, flags, NULL), 0);
    write_file("m/file", "some text");
    fd = open("m/file", O_RDWR);
    CHECK_EQ(umount2("m", MNT_DETACH), 0);
    CHECK_ERRNO(open("m/file", O_RDWR), ENOENT);
    shared = mmap(NULL, 9, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    private = mmap(NULL, 9, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (!CHECK(shared != MAP_FAILED && private != MAP_FAILED))
        return;
    note("%s: %s, %s", what, shared, name_of(shared));
    shared[0] = 'S';
    private[1] = 'P';
    CHECK(pread(fd, text, 9, 0) == 9 && memcmp(text, "Some text", 9) == 0);
    CHECK(memcmp(private + 1, "Pme", 3) == 0);
    CHECK_EQ(msync(shared, 9, MS_SYNC), 0);
    CHECK_EQ(ftruncate(fd, 20000), 0);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    note("%s: fd is %s", what, text);
    close(fd);
    CHECK(shared[0] == 'S');
    munmap(shared, 9);
    munmap(private, 9);
}

static void test_root(void)
{
    char cwd[PATH_MAX];
    pid_t child;
    int status;

    CHECK_EQ(mount("root", "m", "tmpfs", 0, NULL), 0);
    CHECK_EQ(mkdir("m/new", 0755), 0);
    CHECK_EQ(mkdir("m/new/sub", 0755), 0);
    write_file("m/new/in", "in");
    child = fork();
    if (child == 0) {
        int old = open("/", O_PATH);

        CHECK_EQ(chroot("m/new"), 0);
        CHECK_EQ(chdir("/sub"), 0);
        CHECK_EQ(fchdir(old), 0);
        snprintf(cwd, sizeof(cwd), "%s/m", base + 1);
        CHECK_EQ(umount2(cwd, MNT_DETACH), 0);
        /* The root still is where it was; from it nothing leads outside. */
        CHECK_EQ(access("/in", R_OK), 0);
        CHECK_EQ(access("/../../in", R_OK), 0);
        CHECK_ERRNO(access("/m", F_OK), ENOENT);
        CHECK_EQ(chdir("/sub"), 0);
        CHECK(syscall(SYS_getcwd, cwd, sizeof(cwd)) > 0);
        note("cwd in a root that is out of the tree: %s", cwd);
        write_file("made", "made there");
        CHECK_EQ(rename("made", "/moved"), 0);
        CHECK_EQ(access("../moved", R_OK), 0);
        CHECK_EQ(symlink("/in", "link"), 0);
        CHECK_EQ(access("link", R_OK), 0);
        CHECK_EQ(fchdir(old), 0);
        CHECK_EQ(syscall(SYS_getcwd, cwd, sizeof(cwd)) > 0, 1);
        note("cwd that is outside: %s",
             strncmp(cwd, "(unreachable)", 13) == 0 ? "unreachable" : cwd);
        _exit(check_done());
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0)
        return CHECK_SKIPPED;
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    snprintf(base, sizeof(base), "/tmp/detached-%d", getpid());
    CHECK_EQ(mkdir(base, 0755), 0);
    CHECK_EQ(mount("base", base, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chdir(base), 0);
    CHECK_EQ(mkdir("m", 0755), 0);
    CHECK_EQ(mkdir("b", 0755), 0);
    test_mapping("tmpfs", "t", "tmpfs", 0);
    test_mapping("bind", "b", NULL, MS_BIND);
    test_root();
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(umount(base), 0);
    CHECK_EQ(rmdir(base), 0);
    return check_done();
}
