#include "host/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int host_memfd_create(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

void host_memfd_close(int fd)
{
    close(fd);
}

int host_ftruncate(int fd, uint64_t size)
{
    return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

int host_punch_hole(int fd, uint64_t offset, uint64_t size)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    return fallocate(fd, mode, (off_t)offset, (off_t)size) < 0 ? -errno : 0;
}

int host_mmap(void *addr, uint64_t size, int prot, int flags, int fd, uint64_t offset,
              void **ret_mapping)
{
    void *mapping = mmap(addr, size, prot, flags, fd, (off_t)offset);

    if (mapping == MAP_FAILED)
        return -errno;
    *ret_mapping = mapping;
    return 0;
}

int host_munmap(void *addr, uint64_t size)
{
    return munmap(addr, size) < 0 ? -errno : 0;
}

int host_madvise(void *addr, uint64_t size, int advice)
{
    return madvise(addr, size, advice) < 0 ? -errno : 0;
}

int host_mincore(void *addr, uint64_t size, uint8_t *vec)
{
    return mincore(addr, size, vec) < 0 ? -errno : 0;
}
