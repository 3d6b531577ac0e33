/* PROCMAP_QUERY of proc_pid_maps(5), newer than Debian 12's headers: <linux/fs.h>. */
#ifndef ABI_PROCMAP_H
#define ABI_PROCMAP_H

#include <assert.h>
#include <stdint.h>
#include <sys/ioctl.h>

struct abi_procmap_query {
    uint64_t size; /* of this structure, as the program knows it */
    uint64_t query_flags;
    uint64_t query_addr;
    uint64_t vma_start, vma_end;
    uint64_t vma_flags;
    uint64_t vma_page_size;
    uint64_t vma_offset;
    uint64_t inode;
    uint32_t dev_major, dev_minor;
    uint32_t vma_name_size;
    uint32_t build_id_size;
    uint64_t vma_name_addr;
    uint64_t build_id_addr;
};
static_assert(sizeof(struct abi_procmap_query) == 104, "struct procmap_query");

#define ABI_PROCMAP_QUERY            _IOWR('f', 17, struct abi_procmap_query)

#define ABI_PROCMAP_READABLE         0x01U
#define ABI_PROCMAP_WRITABLE         0x02U
#define ABI_PROCMAP_EXECUTABLE       0x04U
#define ABI_PROCMAP_SHARED           0x08U
#define ABI_PROCMAP_COVERING_OR_NEXT 0x10U
#define ABI_PROCMAP_FILE_BACKED      0x20U

#endif
