/*
 * Host descriptors handed to the guest as they are: stdin, stdout, stderr. Terminals, pipes,
 * sockets, files and devices keep what makes them themselves: their status, their position, which
 * other processes share, and their terminal settings.
 */
#ifndef SENTRY_FS_HOSTFD_HOSTFD_H
#define SENTRY_FS_HOSTFD_HOSTFD_H

#include "base/compiler.h"

struct file;
struct memfile;

/*
 * Takes over `fd`, also on failure. `name` is what /proc/self/fd shows ("": nothing); `memfile` is
 * for mmap(2) of regular files.
 */
int hostfd_create(int fd, const char *name, struct memfile *memfile, struct file **ret);
/* Whether it is a terminal: what /dev/tty may open. */
bool hostfd_is_tty(const struct file *f);
/* The process group that terminals report as their foreground one; the first program's. */
void hostfd_set_foreground(int32_t pgid);

#endif
