/* The gofer's process: starting, locking itself in, and the loop. */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>

#include "base/log.h"
#include "gofer/gofer.h"
#include "host/change.h"
#include "host/gofer_protocol.h"
#include "host/io.h"
#include "host/jail.h"
#include "host/landlock.h"
#include "host/message.h"
#include "host/path.h"
#include "host/process.h"
#include "host/share_protocol.h"

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
    *ret = (struct gofer){.socket = SOCKET_FD,
                          .root = ROOT_FD,
                          .proc_fds = PROC_FD,
                          .writable = config->writable,
                          .connects = config->connects};
    return 0;
}

static int lock_in(const struct gofer *gofer, const struct gofer_config *config)
{
    struct jail_request jail = {.roles = config->writable ? JAIL_GOFER | JAIL_SHARE : JAIL_GOFER};
    int err;

    if (config->connects)
        jail.roles |= JAIL_UDS_SHARE;
    jail_isolate();
    host_limit_self(config->writable);
    err = jail_drop_privileges_but(config->search_all ? 1UL << CAP_DAC_READ_SEARCH : 0);
    /* Modes are the program's business. */
    if (!err && config->share)
        host_clear_umask();
    /* Objects are reached by their descriptors' names where no call takes a descriptor. */
    if (!err)
        err = host_enter_proc_fds(gofer->proc_fds);
    if (!err) {
        /* The filter cannot look into openat2(2)'s flags: here the host keeps us from writing. */
        err = config->writable ? host_landlock_beneath(gofer->root)
                               : host_landlock_read_only(gofer->root);
        if (err < 0)
            log_info("gofer: no Landlock domain (%s)", strerror(-err));
        err = jail_enter(&jail);
    }
    if (err < 0)
        log_error("gofer: jail: %s", strerror(-err));
    return err;
}

/* One message served; false: the conversation is over. */
static bool serve_one(struct gofer *gofer, const struct gofer_config *config, int *ret_status)
{
    static union {
        struct gofer_request gofer;
        struct share_request share;
    } req;
    int passed, err;
    ssize_t n = host_receive_message(gofer->socket, &req, sizeof(req), &passed);

    *ret_status = n < 0;
    if (n <= 0)
        return false;
    if (passed >= 0)
        host_close(passed);
    err = config->share ? share_serve(gofer, &req.share, (size_t)n)
                        : gofer_serve(gofer, &req.gofer, (size_t)n);
    *ret_status = err < 0;
    return err == 0;
}

int gofer_main(int socket, const struct gofer_config *config)
{
    struct gofer gofer;
    int null_fd, status;

    if (take_descriptors(socket, config, &gofer) < 0)
        return 1;
    null_fd = host_open_null();
    if (null_fd < 0 || lock_in(&gofer, config) < 0)
        return 1;
    /* stdio and the log stay until here, for the lines about the jail's rules. Kept longer, they
     * would hold the caller's pipes open after the sandbox has ended. */
    for (int fd = 0; fd < SOCKET_FD; fd++)
        host_dup_over(null_fd, fd);
    host_close_range(FIRST_FREE_FD, UINT_MAX);

    while (serve_one(&gofer, config, &status))
        ;
    return status;
}
