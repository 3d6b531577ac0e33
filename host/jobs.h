/* Job control as the caller's shell does it, to us (credentials(7), "Process groups"). */
#ifndef HOST_JOBS_H
#define HOST_JOBS_H

#include "base/compiler.h"

/* Before the jail closes. Our process group. */
pid_t host_process_group(void);
/*
 * Before the jail closes. Somebody outside our group, but in our session, is an ancestor: a shell
 * that would continue us if we stopped. False also where that cannot be found out.
 */
bool host_is_job(void);
/*
 * Stops this process by a stop signal with its default action, and tells its parent so; returns
 * when it was continued.
 */
void host_stop_self(int signo);
/* The foreground process group of our controlling terminal; -ENOTTY when `fd` is not that. */
int host_terminal_group(int fd);

#endif
