/* The gofer's process: starting, locking itself in, and the loop. */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>

#include "base/log.h"
#include "gofer/gofer.h"
#include "host/gofer_protocol.h"
#include "host/io.h"
#include "host/jail.h"
#include "host/landlock.h"
#include "host/message.h"
#include "host/path.h"

/* Low, fixed numbers: whatever else the process had open can then be closed in one range. */
enum { SOCKET_FD = 3, ROOT_FD, PROC_FD, FIRST_FREE_FD };

static int take_descriptors(int socket, const struct gofer_config *config, struct gofer *ret)
{
    int root = host_open_root(config->root ? config->root : "/");
    int proc = host_open_proc_fds();

    if (root < 0) {
        log_error("%s: %s", config->root ? config->root : "/", strerror(-root));
        return root;
    }
    if (proc < 0) {
        log_error("/proc/self/fd: %s", strerror(-proc));
        return proc;
    }
    /* First out of the way of the fixed numbers, each of which may be another's now. */
    socket = host_dup_above(socket, FIRST_FREE_FD);
    root = host_dup_above(root, FIRST_FREE_FD);
    proc = host_dup_above(proc, FIRST_FREE_FD);
    if (socket < 0 || root < 0 || proc < 0 || host_dup_over(socket, SOCKET_FD) < 0 ||
        host_dup_over(root, ROOT_FD) < 0 || host_dup_over(proc, PROC_FD) < 0)
        return -EMFILE;
    *ret = (struct gofer){.socket = SOCKET_FD, .root = ROOT_FD, .proc_fds = PROC_FD};
    return 0;
}

static int lock_in(int root, bool search_all)
{
    struct jail_request jail = {.roles = JAIL_GOFER};
    int err;

    jail_isolate();
    err = jail_drop_privileges_but(search_all ? 1UL << CAP_DAC_READ_SEARCH : 0);
    if (!err) {
        /* The filter cannot look into openat2(2)'s flags: here the host keeps us from writing. */
        err = host_landlock_read_only(root);
        if (err < 0)
            log_info("gofer: no Landlock domain (%s)", strerror(-err));
        err = jail_enter(&jail);
    }
    if (err < 0)
        log_error("gofer: jail: %s", strerror(-err));
    return err;
}

int gofer_main(int socket, const struct gofer_config *config)
{
    static struct gofer_request req;
    struct gofer gofer;
    int null_fd, passed;
    ssize_t n;

    if (take_descriptors(socket, config, &gofer) < 0)
        return 1;
    null_fd = host_open_null();
    if (null_fd < 0 || lock_in(gofer.root, config->search_all) < 0)
        return 1;
    /* stdio and the log stay until here, for the lines about the jail's rules. Kept longer, they
     * would hold the caller's pipes open after the sandbox has ended. */
    for (int fd = 0; fd < SOCKET_FD; fd++)
        host_dup_over(null_fd, fd);
    host_close_range(FIRST_FREE_FD, UINT_MAX);

    for (;;) {
        n = host_receive_message(gofer.socket, &req, sizeof(req), &passed);
        if (n <= 0)
            return n < 0;
        if (passed >= 0)
            host_close(passed);
        if (gofer_serve(&gofer, &req, (size_t)n) < 0)
            return 1;
    }
}
