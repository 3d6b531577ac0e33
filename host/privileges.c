/*
 * The layers of the jail that are not seccomp: root directory, capabilities, securebits.
 *
 * Capabilities are dropped from root as well. The gofer of a sandbox that root starts may keep one
 * (docs/SECURITY.md).
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "host/jail.h"

/* Linux keeps capabilities per thread. */
static _Thread_local bool dropped;

/* A tmpfs that is attached to no mount namespace; -errno. */
static int detached_tmpfs(void)
{
    int fs, mount, saved;

    fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    if (fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        mount = -1;
    else
        mount =
            fsmount(fs, FSMOUNT_CLOEXEC,
                    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    saved = errno;
    close(fs);
    return mount < 0 ? -saved : mount;
}

void jail_isolate(void)
{
    int mount = detached_tmpfs();
    int err = mount < 0 ? -mount : 0;

    if (!err) {
        if (fchdir(mount) < 0 || chroot(".") < 0)
            err = errno;
        close(mount);
    }
    if (err)
        log_info("jail: no private root (%s); the filter alone keeps paths away", strerror(err));
    else
        log_debug("jail: root is an empty private tmpfs");
}

static int clear_bounding_set(void)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        /* EPERM without CAP_SETPCAP: then there is no way to use the set either, thanks to
         * no_new_privs. */
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
            return -errno;
    }
    return 0;
}

/* All but those in `keep`, which stay permitted and effective. */
static int reduce_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    for (int i = 0; i < 2; i++) {
        uint32_t half = (uint32_t)(keep >> (32 * i));

        data[i] = (struct __user_cap_data_struct){.effective = half, .permitted = half};
    }
    if (syscall(SYS_capset, &header, data) < 0 || syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        uint32_t half = (uint32_t)(keep >> (32 * i));

        if (data[i].effective != half || data[i].permitted != half || data[i].inheritable)
            return -EPERM;
    }
    return 0;
}

bool jail_has_capability(int cap)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    return syscall(SYS_capget, &header, data) == 0 && (data[cap / 32].effective >> (cap % 32) & 1);
}

int jail_drop_privileges(void)
{
    return jail_drop_privileges_but(0);
}

int jail_drop_privileges_but(uint64_t keep)
{
    int err;

    if (dropped)
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    err = clear_bounding_set();
    if (err < 0)
        return err;
    if (prctl(PR_SET_SECUREBITS, SECURE_ALL_BITS | SECURE_ALL_LOCKS, 0, 0, 0) < 0 && errno != EPERM)
        return -errno;
    err = reduce_capabilities(keep);
    if (err < 0)
        return err;
    dropped = true;
    log_debug("jail: capabilities %#lx, no new privileges", keep);
    return 0;
}
