/*
 * fanotify: marks on a directory that do not watch what is in it, and descriptors that could not be
 * made, told by their error. On a tmpfs of its own. As root.
 */
#include "fanotify.h"
#include "kernel.h"

#define REPORT_FD_ERROR 0x2000 /* FAN_REPORT_FD_ERROR, newer than Debian 12's headers */

/* Another group watches children, so the event comes by; it is no business of this mark's. */
static void test_unwatched_children(void)
{
    int watching = group(FAN_CLASS_NOTIF, O_RDONLY), ignoring = group(FAN_CLASS_NOTIF, O_RDONLY);
    char path[64], text[1024] = "";
    const char *mask;
    int fd;

    mark(watching, FAN_MARK_ADD, FAN_MODIFY | FAN_EVENT_ON_CHILD, "dir");
    mark(ignoring, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, FAN_CLOSE_NOWRITE, "dir");
    fd = open("dir/file", O_WRONLY);
    CHECK_EQ(write(fd, "x", 1), 1);
    close(fd);
    show(watching);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ignoring);
    fd = open(path, O_RDONLY);
    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    mask = strstr(text, "ignored_mask:");
    note("%.15s", mask ? mask : "none");
    close(watching);
    close(ignoring);
}

static void show_errors(unsigned flags)
{
    int fd = group(FAN_CLASS_NOTIF | FAN_REPORT_PIDFD | flags, O_RDWR);
    struct {
        struct fanotify_event_metadata head;
        struct fanotify_event_info_pidfd pidfd;
    } event = {0};
    pid_t pid;

    mark(fd, FAN_MARK_ADD, FAN_OPEN, "dir/file");
    pid = fork();
    if (pid == 0)
        _exit(open("dir/file", O_RDONLY) < 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(read(fd, &event, sizeof(event)), sizeof(event));
    note("a gone process: pidfd %d", event.pidfd.pidfd);
    CHECK(event.head.fd >= 0);
    close(event.head.fd);
    close(fd);
}

int main(void)
{
    need_kernel(6, 14);
    if (!begin())
        return CHECK_SKIPPED;
    test_unwatched_children();
    show_errors(0);
    show_errors(REPORT_FD_ERROR);
    return end();
}
