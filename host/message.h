/*
 * Messages over a SOCK_SEQPACKET socket, with descriptors passed along (unix(7) SCM_RIGHTS): how
 * the Sentry and the gofer talk.
 */
#ifndef HOST_MESSAGE_H
#define HOST_MESSAGE_H

#include <sys/uio.h>

#include "base/compiler.h"

#define HOST_PASSED_MAX 17 /* descriptors with one message */

/*
 * Whoever sleeps for a message is woken by the other end, which takes several times as long as what
 * most requests ask for. So after this, before either end is started, a receiver looks for some
 * time before it sleeps, if there is another processor for the sender.
 */
void host_message_setup(void);

/* One message from `count` pieces; `passed` is a descriptor to send along, or -1. -EPIPE... */
int host_send_message(int socket, const struct iovec *iov, int count, int passed);
/* The same with `passed_count` descriptors, at most HOST_PASSED_MAX. */
int host_send_passing(int socket, const struct iovec *iov, int count, const int *passed,
                      int passed_count);
/*
 * Receives one message: its bytes, 0 when the other end is closed; -EMSGSIZE when it did not fit.
 * ret_passed is the descriptor that came along (close-on-exec), or -1. More than one is refused
 * with -EPROTO and leaves none open. -EMFILE when one came and this process can have no more; the
 * message is lost then, the conversation can go on.
 */
ssize_t host_receive_message(int socket, void *buf, size_t size, int *ret_passed);
/* The same with up to `room` (at most HOST_PASSED_MAX) descriptors; ret_count says how many came.
 */
ssize_t host_receive_passing(int socket, void *buf, size_t size, int room, int *ret_passed,
                             int *ret_count);

#endif
