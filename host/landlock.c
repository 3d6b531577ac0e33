#include "host/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As of ABI 6 (Linux 6.12); Debian 12's header knows the first field only. */
struct ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

#define SCOPED_ABI    6
#define SCOPE_SOCKETS 1 /* no abstract unix sockets of others */

static int ruleset_create(void)
{
    struct ruleset_attr attr = {0};
    size_t size = sizeof(attr);
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    long fd;

    if (abi < 0)
        return -errno;
    /* A domain must restrict something. */
    if (abi >= SCOPED_ABI) {
        attr.scoped = SCOPE_SOCKETS;
    } else {
        attr.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK;
        size = sizeof(attr.handled_access_fs);
    }
    fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    return fd < 0 ? -errno : (int)fd;
}

int host_landlock_enclose(void)
{
    int err = 0;
    int fd;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    fd = ruleset_create();
    if (fd < 0)
        return fd;
    if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        err = -errno;
    close(fd);
    return err;
}
