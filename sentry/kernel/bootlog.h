/* The first lines of the kernel's log (sentry/fs/dev/kmsg.h). */
#ifndef SENTRY_KERNEL_BOOTLOG_H
#define SENTRY_KERNEL_BOOTLOG_H

struct kernel;

void bootlog_write(struct kernel *kernel);
void bootlog_init_starts(const char *path, int pid);

#endif
