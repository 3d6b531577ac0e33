/* /sys: the few values that C libraries and language runtimes look up. */
#ifndef SENTRY_FS_SYS_SYS_H
#define SENTRY_FS_SYS_SYS_H

#include "base/compiler.h"

/* A network interface. */
struct sys_interface {
    char name[16];
    int index, mtu, queue;
    unsigned flags; /* IFF_* */
    uint16_t type;  /* ARPHRD_* */
    uint8_t address[6];
    uint64_t in_frames, in_bytes, in_dropped, out_frames, out_bytes;
};
/* `at`: the one at that place, from 0 on, in the caller's network; -ENOENT: there are no more. */
void sys_set_interfaces(int (*at)(int place, struct sys_interface *ret));

struct memfile;
struct super_block;

/* `cpu_count`: processors of the sandbox, numbered from 0. `memfile` outlives the tree. */
int sysfs_create(unsigned cpu_count, struct memfile *memfile, struct super_block **ret);

#endif
