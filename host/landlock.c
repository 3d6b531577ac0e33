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

/* The rights to files of each ABI are the lowest bits: 13 in the first, then one more or none. */
static uint64_t all_file_rights(long abi)
{
    static const int counts[] = {13, 14, 15, 15, 16};
    long newest = (long)ARRAY_COUNT(counts);

    return (1UL << counts[(abi < newest ? abi : newest) - 1]) - 1;
}

/* Of `allowed`, what the host knows. */
static int confine(int root, uint64_t allowed)
{
    struct landlock_path_beneath_attr beneath = {.parent_fd = root};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    uint64_t rights;
    int fd, err = 0;

    if (abi < 1)
        return abi < 0 ? -errno : -EOPNOTSUPP;
    rights = all_file_rights(abi);
    beneath.allowed_access = allowed & rights;
    fd = (int)syscall(SYS_landlock_create_ruleset, &rights, sizeof(rights), 0);
    if (fd < 0)
        return -errno;
    if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0 ||
        syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        err = -errno;
    close(fd);
    return err;
}

int host_landlock_read_only(int root)
{
    return confine(root, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
}

int host_landlock_beneath(int root)
{
    /* 13 and 14: REFER and TRUNCATE, of later ABIs. */
    return confine(root, ((1UL << 15) - 1) & ~(uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE |
                                                         LANDLOCK_ACCESS_FS_MAKE_BLOCK));
}
