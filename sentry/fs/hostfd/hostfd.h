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
struct terminal;

/*
 * Takes over `fd`, also on failure. `name` is what /proc/self/fd shows ("": nothing); `memfile` is
 * for mmap(2) of regular files.
 */
int hostfd_create(int fd, const char *name, struct memfile *memfile, struct file **ret);
/* The host's number of our own process group: who else has the terminal shares it with us. */
void hostfd_set_group(pid_t group);
/* A terminal of hostfd_create()'s: it is the one that controls the caller's session. */
bool hostfd_controls_caller(struct terminal *t);

#endif
