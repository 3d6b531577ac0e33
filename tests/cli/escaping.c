/*
 * Tries to get out of its tree in every way that names give: what tests/cli/attacks.py runs with a
 * prepared folder as its root and another one shared, while a neighbour on the host swaps folders,
 * links and FIFOs in both. A file that says "outside" must never be seen, nor changed.
 *
 *     escaping ROUNDS     0: what needs no neighbour
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/guest/check.h"

#define UP "../../../../../../../../../../../.."

/* Relative to each starting point, and absolute. */
static const char *const ways[] = {
    "secret",
    "../secret",
    UP "/secret",
    "out/secret",
    "out/../secret",
    "a/file",
    "a/../../secret",
    "a/b/../../../secret",
    "file",
    "absolute",
    "relative",
    "loop",
    "hard",
    "./a/./b/.././../out/secret",
    "/secret",
    "/" UP "/secret",
    "/proc/self/root/" UP "/secret",
    "/proc/self/root/secret",
    "/proc/1/root/secret",
    "/proc/1/root/" UP "/secret",
    "/proc/1/cwd/" UP "/secret",
    "/proc/self/cwd/" UP "/secret",
    "/proc/self/cwd/../secret",
    "/proc/thread-self/root/" UP "/secret",
    "/proc/self/task/1/root/secret",
    "/proc/self/fd/100/../secret",
    "/proc/self/fd/100/" UP "/secret",
    "/proc/self/fd/101/../secret",
    "/proc/self/fd/101/" UP "/secret",
    "/proc/self/exe/../secret",
    "/proc/self/map_files/../../../secret",
    "/shared/out/secret",
    "/shared/../secret",
    "/shared/absolute",
    "/shared/relative",
    "/shared/a/../out/secret",
    "/shared/file",
    "/shared/a/file",
};

static unsigned long seen, refused;

static void look(int fd)
{
    char text[16] = "";

    if (fd < 0) {
        refused++;
        return;
    }
    seen++;
    if (read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "outside"))
        CHECK(!"the file outside was read");
    close(fd);
}

static void try_path(int dir, const char *path)
{
    struct stat st;
    char text[PATH_MAX];
    int fd = openat(dir, path, O_PATH | O_NOFOLLOW);

    look(openat(dir, path, O_RDONLY | O_NONBLOCK));
    if (fd >= 0) {
        /* The same object by another way. */
        snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
        look(open(text, O_RDONLY | O_NONBLOCK));
        snprintf(text, sizeof(text), "/proc/self/fd/%d/../secret", fd);
        look(open(text, O_RDONLY | O_NONBLOCK));
        snprintf(text, sizeof(text), "/proc/%d/fd/%d/" UP "/secret", getpid(), fd);
        look(open(text, O_RDONLY | O_NONBLOCK));
        close(fd);
    }
    fd = openat(dir, path, O_WRONLY | O_NONBLOCK);
    /* What is there is copied first, where the host may have put a link or a FIFO meanwhile. */
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        CHECK(pwrite(fd, "inside", 6, 0) == 6 || errno == EROFS || errno == ELOOP ||
              errno == ENXIO);
    if (fd >= 0)
        close(fd);
    (void)truncate(path, 6);
    (void)readlinkat(dir, path, text, sizeof(text));
}

/* Names that lead to the outside are given to objects that are inside. */
static void try_names(const char *folder)
{
    char from[128], to[128];

    snprintf(from, sizeof(from), "%s/made", folder);
    snprintf(to, sizeof(to), "%s/out/made", folder);
    mkdir(from, 0755);
    rename(from, to); /* into what the link leads to, if that were anything */
    rmdir(to);
    rmdir(from);
    close(open(from, O_WRONLY | O_CREAT | O_EXCL, 0644));
    (void)link(from, to);
    (void)symlink("../secret", to);
    (void)mknod(to, S_IFIFO | 0644, 0);
    unlink(to);
    unlink(from);
    snprintf(from, sizeof(from), "%s/absolute", folder);
    snprintf(to, sizeof(to), "%s/linked", folder);
    (void)linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
    look(open(to, O_RDONLY | O_NONBLOCK));
    unlink(to);
}

/* No name in the shared folder for what is elsewhere, by whichever way it is said. */
static void try_links(void)
{
    char text[64];
    int fd = open("/hard", O_RDONLY), bare = open("/absolute", O_PATH | O_NOFOLLOW);

    snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
    CHECK_ERRNO(link("/hard", "/shared/linked"), EXDEV);
    CHECK_ERRNO(linkat(AT_FDCWD, text, AT_FDCWD, "/shared/linked", AT_SYMLINK_FOLLOW), EXDEV);
    CHECK_ERRNO(linkat(fd, "", AT_FDCWD, "/shared/linked", AT_EMPTY_PATH), EXDEV);
    CHECK_ERRNO(linkat(bare, "", AT_FDCWD, "/shared/linked", AT_EMPTY_PATH), EXDEV);
    CHECK_ERRNO(rename("/hard", "/shared/linked"), EXDEV);
    CHECK_ERRNO(link("/shared/file", "/inner/linked"), EXDEV);
    CHECK_ERRNO(access("/shared/linked", F_OK), ENOENT);
    close(fd);
    close(bare);
}

/* Nodes of devices, and what is in the tree of FIFOs and sockets: none is the host's. */
static void test_special(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/shared/socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), pipe_fd;
    char c;

    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0);
    close(fd);
    CHECK_ERRNO(open("/shared/socket", O_RDWR), ENXIO);
    pipe_fd = open("/shared/fifo", O_RDWR | O_NONBLOCK);
    if (CHECK(pipe_fd >= 0)) {
        /* Somebody on the host has the other end of that name open; it is not this one. */
        CHECK_ERRNO(read(pipe_fd, &c, 1), EAGAIN);
        CHECK(write(pipe_fd, "x", 1) == 1 && read(pipe_fd, &c, 1) == 1 && c == 'x');
        close(pipe_fd);
    }
    CHECK(mknod("/shared/null", S_IFCHR | 0666, makedev(1, 3)) < 0);
    CHECK(mknod("/shared/disk", S_IFBLK | 0666, makedev(8, 0)) < 0);
    if (mknod("/kmem", S_IFCHR | 0666, makedev(1, 1)) == 0)
        CHECK(open("/kmem", O_RDONLY) < 0);
    if (access("/device", F_OK) == 0)
        CHECK(open("/device", O_RDONLY | O_NONBLOCK) < 0);
    CHECK(mknod("/shared/own", S_IFIFO | 0600, 0) == 0 && unlink("/shared/own") == 0);
}

/* Names as long and odd as there are, in the overlay and in the share. */
static void test_long_names(const char *folder)
{
    char name[300], path[5000], *end = path;
    struct dirent *entry;
    int found = 0, fd;
    DIR *dir;

    CHECK_EQ(chdir(folder), 0);
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    CHECK_EQ(mkdir(name, 0755), 0);
    name[255] = 'n';
    name[256] = '\0';
    CHECK_ERRNO(mkdir(name, 0755), ENAMETOOLONG);
    name[255] = '\0';
    CHECK_EQ(mkdir("new\nline", 0755), 0);
    CHECK_EQ(mkdir("\x01\xff\xfe \t*?[\\", 0755), 0);
    dir = opendir(".");
    while (dir && (entry = readdir(dir)))
        found += strcmp(entry->d_name, name) == 0 || strcmp(entry->d_name, "new\nline") == 0 ||
                 strcmp(entry->d_name, "\x01\xff\xfe \t*?[\\") == 0;
    closedir(dir);
    CHECK_EQ(found, 3);
    CHECK_EQ(rmdir("\x01\xff\xfe \t*?[\\"), 0);
    CHECK_EQ(rmdir("new\nline"), 0);
    /* A path of 4,095 bytes: the longest that there is. */
    for (int i = 0; i < 15; i++) {
        CHECK(i <= 1 || mkdir(path, 0755) == 0);
        end += sprintf(end, "%s%s", i ? "/" : "", name);
    }
    CHECK_EQ(mkdir(path, 0755), 0);
    memset(end, '/', 4095 - (size_t)(end - path) - 1);
    path[4094] = 'f';
    path[4095] = '\0';
    fd = open(path, O_WRONLY | O_CREAT, 0644);
    CHECK(fd >= 0 && write(fd, "deep", 4) == 4);
    close(fd);
    CHECK_EQ(access(path, R_OK), 0);
    memmove(path + 1, path, 4096);
    path[0] = '.';
    path[1] = '/';
    path[4096] = '\0';
    CHECK_ERRNO(access(path, R_OK), ENAMETOOLONG);
    CHECK_EQ(chdir("/"), 0);
}

/* Folders deeper than any path can say, each below the other. */
static void test_depth(const char *folder)
{
    int depth = 0;

    CHECK_EQ(chdir(folder), 0);
    for (; depth < 1000 && mkdir("deeper-and-deeper", 0755) == 0; depth++)
        if (chdir("deeper-and-deeper") < 0)
            break;
    CHECK_EQ(depth, 1000);
    for (; depth > 0; depth--)
        if (chdir("..") < 0 || rmdir("deeper-and-deeper") < 0)
            break;
    CHECK_EQ(depth, 0);
    CHECK_EQ(chdir("/"), 0);
}

int main(int argc, char **argv)
{
    static const char *const starts[] = {"/", "/inner", "/shared", "/shared/a"};
    int rounds = argc > 1 ? atoi(argv[1]) : 1;

    if (rounds == 0) {
        test_special();
        try_links();
        test_long_names("/inner");
        test_long_names("/shared");
        test_depth("/inner");
        test_depth("/shared");
    }
    for (int round = 0; round < rounds; round++) {
        int dir;

        if (chdir(starts[round % 4]) < 0)
            continue;
        dir = open(".", O_PATH | O_DIRECTORY);
        dup2(open("/", O_PATH | O_DIRECTORY), 100);
        dup2(open("/shared", O_PATH | O_DIRECTORY), 101);
        for (size_t i = 0; i < ARRAY_COUNT(ways); i++)
            try_path(dir, ways[i]);
        try_names("/shared");
        try_names("/inner");
        for (int fd = 3; fd < 120; fd++)
            close(fd);
    }
    note("%s", seen > 0 && refused > 0 ? "tried" : "nothing was tried");
    return check_done();
}
