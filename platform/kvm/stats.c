/*
 * KVM's own statistics (KVM_GET_STATS_FD, Linux 5.14; Documentation/virt/kvm/api.rst, 4.133), for
 * --stats and the benchmark.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/kvm.h"
#include "platform/kvm/internal.h"

#define DESC_MAX      512
#define NAME_MAX_SIZE 128

/* The value called `name`, among the statistics behind the descriptor. */
static int read_stat(int fd, const char *name, uint64_t *ret_value)
{
    struct kvm_stats_header header;
    uint8_t buf[sizeof(struct kvm_stats_desc) + NAME_MAX_SIZE];
    const struct kvm_stats_desc *desc = (const struct kvm_stats_desc *)buf;
    size_t size;

    if (host_kvm_read_stats(fd, &header, sizeof(header), 0) != sizeof(header))
        return -EIO;
    if (header.name_size > NAME_MAX_SIZE || header.num_desc > DESC_MAX)
        return -EIO;
    size = sizeof(struct kvm_stats_desc) + header.name_size;
    for (uint32_t i = 0; i < header.num_desc; i++) {
        if (host_kvm_read_stats(fd, buf, size, header.desc_offset + i * size) != (ssize_t)size)
            return -EIO;
        if (strncmp(desc->name, name, header.name_size) != 0)
            continue;
        if (host_kvm_read_stats(fd, ret_value, sizeof(*ret_value),
                                header.data_offset + desc->offset) != sizeof(*ret_value))
            return -EIO;
        return 0;
    }
    return -ENOENT;
}

int kvm_platform_exits(struct platform *platform, uint64_t *ret_exits)
{
    struct kvm_platform *p = to_platform(platform);
    uint32_t count = __atomic_load_n(&p->vcpu_count, __ATOMIC_ACQUIRE);
    uint64_t sum = 0, exits;

    for (uint32_t i = 0; i < count; i++) {
        int fd = host_kvm_ioctl_number(p->vcpus[i]->fd, KVM_GET_STATS_FD, 0), err;

        if (fd < 0)
            return fd == -ENOTTY || fd == -EINVAL ? -ENOSYS : fd;
        err = read_stat(fd, "exits", &exits);
        host_kvm_close(fd);
        if (err)
            return err;
        sum += exits;
    }
    *ret_exits = sum;
    return 0;
}
