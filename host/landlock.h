/*
 * Landlock domains: one without file rules, for one of its side effects (whoever is in a domain can
 * ptrace only processes of the same domain: landlock(7), "Ptrace restrictions"), and one that lets
 * a process read below one directory and nothing else.
 */
#ifndef HOST_LANDLOCK_H
#define HOST_LANDLOCK_H

#include "base/compiler.h"

/*
 * Puts the calling thread, and all threads and processes that it starts from now on, into a domain
 * of their own. Needs no_new_privs, and sets it. -EOPNOTSUPP or -ENOSYS where the host has no
 * Landlock (Linux 5.13).
 */
int host_landlock_enclose(void);

/*
 * Takes from the calling thread, for good, every right to files but reading beneath the directory
 * `root` (an O_PATH descriptor). Needs no_new_privs. Errors as above.
 */
int host_landlock_read_only(int root);
/* The same, with the right to change what is beneath `root`, but to make no device. */
int host_landlock_beneath(int root);

#endif
