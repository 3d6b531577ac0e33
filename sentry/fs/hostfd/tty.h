/* ioctl(2) on host descriptors: an explicit list, each request with its size and direction. */
#ifndef SENTRY_FS_HOSTFD_TTY_H
#define SENTRY_FS_HOSTFD_TTY_H

#include "base/compiler.h"

struct mm;

bool tty_is_terminal(int fd);
/* ioctl_tty(2) requests that only concern the terminal itself; -ENOTTY for the others. */
long tty_ioctl(int fd, struct mm *mm, uint32_t cmd, uint64_t arg);
/* What works on pipes, sockets and files: FIONREAD. */
long hostio_ioctl(int fd, struct mm *mm, uint32_t cmd, uint64_t arg);

#endif
