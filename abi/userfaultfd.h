/* Requests of userfaultfd(2) that came after Linux 6.1 (include/uapi/linux/userfaultfd.h). */
#ifndef ABI_USERFAULTFD_H
#define ABI_USERFAULTFD_H

#include <assert.h>
#include <linux/ioctl.h>
#include <stdint.h>

#define LINUX_UFFD_FEATURE_WP_UNPOPULATED (1UL << 13)
#define LINUX_UFFD_FEATURE_POISON         (1UL << 14)
#define LINUX_UFFD_FEATURE_WP_ASYNC       (1UL << 15)
#define LINUX_UFFD_FEATURE_MOVE           (1UL << 16)

#define LINUX_UFFDIO_CONTINUE_MODE_WP     2UL
#define LINUX_UFFDIO_POISON_MODE_DONTWAKE 1UL
#define LINUX_UFFDIO_MOVE_DONTWAKE        1UL
#define LINUX_UFFDIO_MOVE_ALLOW_SRC_HOLES 2UL

struct linux_uffdio_poison {
    uint64_t start, size; /* of struct uffdio_range */
    uint64_t mode;
    int64_t updated;
};
static_assert(sizeof(struct linux_uffdio_poison) == 32, "as Linux has it");

struct linux_uffdio_move {
    uint64_t dst, src, size, mode;
    int64_t move;
};
static_assert(sizeof(struct linux_uffdio_move) == 40, "as Linux has it");

#define LINUX_UFFDIO_MOVE   _IOWR(0xaa, 5, struct linux_uffdio_move)
#define LINUX_UFFDIO_POISON _IOWR(0xaa, 8, struct linux_uffdio_poison)

#endif
