/*
 * What the tests of fanotify share: a tmpfs of their own with a few files, groups, marks, and what
 * is read from a group as lines.
 */
#ifndef TESTS_GUEST_FANOTIFY_H
#define TESTS_GUEST_FANOTIFY_H

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

static char folder[100];

/* Things whose ids are told: by name. */
static struct known {
    char name[32];
    struct {
        struct file_handle head;
        unsigned char room[MAX_HANDLE_SZ];
    } h;
} known[32];
static size_t known_count;

static void learn(const char *path, const char *name)
{
    struct known *k = &known[known_count++];
    int mount_id;

    snprintf(k->name, sizeof(k->name), "%s", name);
    memset(&k->h, 0, sizeof(k->h));
    k->h.head.handle_bytes = MAX_HANDLE_SZ;
    CHECK_EQ(name_to_handle_at(AT_FDCWD, path, &k->h.head, &mount_id, 0), 0);
}

static const char *who(const void *handle)
{
    const struct file_handle *h = handle;

    for (size_t i = known_count; i-- > 0;) {
        if (known[i].h.head.handle_bytes == h->handle_bytes &&
            known[i].h.head.handle_type == h->handle_type &&
            memcmp((const char *)&known[i].h + 8, (const char *)handle + 8, h->handle_bytes) == 0)
            return known[i].name;
    }
    return "?";
}

static void show_info(char *line, const struct fanotify_event_metadata *e)
{
    size_t at = e->metadata_len;

    while (at < e->event_len) {
        const struct fanotify_event_info_header *head = (const void *)((const char *)e + at);
        const char *body = (const char *)head + 12;

        if (head->info_type == FAN_EVENT_INFO_TYPE_PIDFD) {
            int fd = *(const int *)((const char *)head + 4);

            sprintf(line + strlen(line), " pidfd %s",
                    fd >= 0    ? "yes"
                    : fd == -1 ? "none"
                               : "error");
            close(fd);
        } else {
            const struct file_handle *h = (const void *)body;
            size_t used = 12 + 8 + h->handle_bytes;

            sprintf(line + strlen(line), " type %d %s", head->info_type, who(body));
            if (head->len > used)
                sprintf(line + strlen(line), "/%s", body + 8 + h->handle_bytes);
        }
        at += head->len;
    }
}

__attribute__((unused)) static void show(int fd)
{
    static char buf[65536] __attribute__((aligned(8)));
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        const struct fanotify_event_metadata *e = (const void *)buf;

        for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
            char line[900], path[300] = "";

            sprintf(line, "  %llx", (unsigned long long)e->mask);
            CHECK_EQ(e->vers, FANOTIFY_METADATA_VERSION);
            if (e->pid != getpid())
                sprintf(line + strlen(line), " pid %s", e->pid ? "other" : "0");
            if (e->fd >= 0) {
                char name[40];
                ssize_t length;

                snprintf(name, sizeof(name), "/proc/self/fd/%d", e->fd);
                length = readlink(name, path, sizeof(path) - 1);
                path[length > 0 ? length : 0] = 0;
                sprintf(line + strlen(line), " fd %s flags %x",
                        strncmp(path, folder, strlen(folder)) == 0 ? path + strlen(folder) : path,
                        fcntl(e->fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
                close(e->fd);
            } else if (e->fd != FAN_NOFD) {
                sprintf(line + strlen(line), " fd error %d", e->fd);
            }
            show_info(line, e);
            note("%s", line);
        }
    }
    if (n < 0 && errno != EAGAIN)
        note("  read: errno %d", errno);
}

static void make(const char *path)
{
    close(open(path, O_CREAT | O_WRONLY, 0644));
}

static int group(unsigned flags, unsigned event_flags)
{
    int fd = fanotify_init(flags | FAN_NONBLOCK | FAN_CLOEXEC, event_flags);

    if (fd < 0)
        note("fanotify_init %x: errno %d", flags, errno);
    return fd;
}

static void mark(int fd, unsigned flags, uint64_t mask, const char *path)
{
    if (fanotify_mark(fd, flags, mask, AT_FDCWD, path) < 0)
        note("mark %x %llx %s: errno %d", flags, (unsigned long long)mask, path, errno);
}

/* In the folder from now on; false: this is not the place for such a test. */
static bool begin(void)
{
    snprintf(folder, sizeof(folder), "/tmp/kvmsentry-fanotify-XXXXXX");
    umask(022);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return false;
    CHECK(mkdtemp(folder) && chmod(folder, 0755) == 0);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL) + chdir(folder), 0);
    chmod(".", 0755);
    CHECK_EQ(mkdir("dir", 0755) + mkdir("other", 0755), 0);
    make("dir/file");
    make("open");
    make("closed");
    chmod("closed", 0600);
    int fd = open("prog", O_CREAT | O_WRONLY, 0755), self = open("/proc/self/exe", O_RDONLY);
    (void)self;
    CHECK_EQ(write(fd, "#!/bin/true\n", 12), 12);
    close(fd);
    close(self);
    learn(".", "root");
    learn("dir", "dir");
    learn("other", "other");
    learn("dir/file", "file");
    learn("open", "open");
    return true;
}

static int end(void)
{
    CHECK_EQ(chdir("/") + umount2(folder, MNT_DETACH) + rmdir(folder), 0);
    return check_done();
}

static int child_does(int what)
{
    char c;
    int fd;

    switch (what) {
    case 0:
        fd = open("dir/file", O_RDONLY);
        return fd < 0 ? errno : 0;
    case 1:
        fd = open("dir/file", O_RDONLY);
        if (fd < 0)
            return errno;
        return read(fd, &c, 1) < 0 ? errno : 0;
    case 2:
        execl("prog", "prog", NULL);
        return errno;
    default:
        fd = open("dir/made", O_CREAT | O_EXCL | O_WRONLY, 0600);
        return fd < 0 ? errno : 0;
    }
}

__attribute__((unused)) static pid_t start(int what)
{
    pid_t child = fork();

    if (child == 0) {
        close_range(3, ~0U, 0);
        _exit(child_does(what));
    }
    return child;
}

__attribute__((unused)) static int finish(pid_t child)
{
    int status;

    CHECK_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#endif
