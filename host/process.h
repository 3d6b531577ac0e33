/*
 * Processes, signals and limits of the host, as the runtime needs them around the sandbox's life.
 * All but host_die_by_signal(), host_exit() and host_signal_wait() are used before the jail closes.
 */
#ifndef HOST_PROCESS_H
#define HOST_PROCESS_H

#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/compiler.h"

/* fork(2): 0 in the child, which gets SIGKILL when the forking thread's process dies. */
pid_t host_fork_dying_with_us(void);
/*
 * The same in a pid namespace of its own, where the host permits one: the child sees no other
 * process. That the parent died before the child was told to die with it, the child must see
 * otherwise: its end of a socket is closed.
 */
pid_t host_fork_apart(void);
/*
 * Takes from the calling process what a gofer has no use for: core dumps, children, locked memory,
 * more than some memory; `writes` false: files that grow.
 */
void host_limit_self(bool writes);
__noreturn void host_exit(int status);
/*
 * Ends this process as the guest ended: by `signo` with its default action and no core dump of
 * ours; where the host refuses, exits with 128+signo.
 */
__noreturn void host_die_by_signal(int signo);

/* Blocks the signals of `set` in this thread and in threads it starts later. */
int host_signal_block(const sigset_t *set);
/*
 * Waits for one of `set` (blocked): the signal's number, or -errno. ret_from_kernel: nobody sent
 * it, the terminal (or another part of the host's kernel) did.
 */
int host_signal_wait(const sigset_t *set, bool *ret_from_kernel);
/* True when the caller of kvmsentry had this signal ignored (nohup(1)). */
bool host_signal_ignored(int signo);
/* Installs SIG_IGN. */
int host_signal_ignore(int signo);

/* Who runs kvmsentry: getresuid(2), getresgid(2), getgroups(2). */
struct host_ids {
    uid_t uid, euid, suid;
    gid_t gid, egid, sgid;
    int group_count;
    gid_t groups[NGROUPS_MAX];
};
void host_get_ids(struct host_ids *ret_ids);
/* Bytes of memory that this machine has. */
uint64_t host_total_memory(void);
/* Its name, uname(2) nodename. */
void host_get_hostname(char *buf, size_t size);

/* Raises the soft limit to the hard one. */
void host_raise_rlimit(int resource);
int host_get_rlimit(int resource, struct rlimit64 *ret_limit);
/* The working directory as a path; -errno of getcwd(2). */
int host_getcwd(char *buf, size_t size);
/* An appending log file, close-on-exec; the descriptor or -errno. */
int host_open_log(const char *path);
/* The same, emptied first. */
int host_open_list(const char *path);
/*
 * Moves descriptors 0, 1 and 2 (those that are open; -1 for the others) above 2, close-on-exec, and
 * puts /dev/null in their places, so that closing one later frees no number that means stdio.
 */
int host_stdio_detach(int ret_fds[3]);
pid_t host_getpid(void);
/* The caller's umask(2). */
uint32_t host_get_umask(void);
/* A pair of connected SOCK_SEQPACKET sockets, close-on-exec. */
int host_seqpacket_pair(int ret_fds[2]);

#endif
