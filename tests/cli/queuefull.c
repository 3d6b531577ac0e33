/*
 * fanotify(7): a full queue says so, and with FAN_REPORT_FD_ERROR by an error for a descriptor. The
 * length of queues is a setting of the kernel's: never run natively.
 */
#include "tests/guest/fanotify.h"

#define REPORT_FD_ERROR 0x2000 /* FAN_REPORT_FD_ERROR, newer than Debian 12's headers */

static void set_limit(int limit)
{
    FILE *file = fopen("/proc/sys/fs/fanotify/max_queued_events", "w");

    CHECK(file && fprintf(file, "%d\n", limit) > 0);
    CHECK_EQ(fclose(file), 0);
}

static void check_overflow(unsigned flags, int fd_of_overflow)
{
    int fd = group(FAN_CLASS_NOTIF | flags, O_RDONLY);
    struct fanotify_event_metadata event = {0};
    char name[32];
    int told = 0;

    mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, ".");
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "full%d", i);
        make(name);
    }
    while (read(fd, &event, sizeof(event)) == sizeof(event) && event.fd >= 0) {
        told++;
        close(event.fd);
    }
    CHECK_EQ(told, 2);
    CHECK_EQ(event.mask, FAN_Q_OVERFLOW);
    CHECK_EQ(event.fd, fd_of_overflow);
    close(fd);
}

int main(void)
{
    CHECK(begin());
    set_limit(2);
    check_overflow(0, FAN_NOFD);
    check_overflow(REPORT_FD_ERROR, -EBADF);
    return end();
}
