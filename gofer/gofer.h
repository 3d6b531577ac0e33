/*
 * The gofer: a process of its own beside the Sentry, the only part of the sandbox that resolves
 * host paths. Confined to its tree by the kernel (openat2(2) beneath a directory descriptor),
 * jailed. An ordinary user's has no capabilities. Root's keeps CAP_DAC_READ_SEARCH, so that the
 * host lets it look at everything, and it is the Sentry that judges what the program may see.
 */
#ifndef GOFER_GOFER_H
#define GOFER_GOFER_H

#include "base/compiler.h"

struct gofer_config {
    const char *root; /* host directory that becomes the guest's "/"; NULL for the host's own */
    bool search_all;  /* keep CAP_DAC_READ_SEARCH, which the caller has */
    bool share;       /* serves host/share_protocol.h: a folder of the command line's */
    bool writable;    /* a share's: the folder can be changed */
    bool connects;    /* a share's: to the sockets in it */
};

/*
 * The life of the gofer, called in a freshly forked process: closes every other descriptor, enters
 * its jail, serves `socket` until the other end is closed. Returns the status to exit with at once;
 * a failure to start is logged, and the Sentry sees its end of the socket closed.
 */
int gofer_main(int socket, const struct gofer_config *config);

struct gofer {
    int socket;    /* to the Sentry */
    int root;      /* O_PATH: nothing above it is reachable */
    int proc_fds;  /* /proc/self/fd, for host_reopen() */
    bool writable; /* a share's folder can be changed */
    bool connects; /* its sockets can be connected to */
};

/*
 * Serves one received request of `size` bytes; the reply is sent to `socket`. -errno when the
 * conversation must end: a malformed request, a closed socket. For gofer_main() and for tests.
 */
struct gofer_request;
int gofer_serve(struct gofer *gofer, struct gofer_request *req, size_t size);
/* The same for a share. */
struct share_request;
int share_serve(struct gofer *gofer, struct share_request *req, size_t size);

#endif
