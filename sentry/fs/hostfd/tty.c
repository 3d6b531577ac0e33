/*
 * Requests are copied through a local buffer of the size that the table gives; the host never sees
 * a guest address. TIOCSTI, which types into the caller's shell, and everything that moves the
 * terminal between sessions stay outside, whatever the program's rights.
 */
#include "sentry/fs/hostfd/tty.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>

#include "host/io.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/mm/usercopy.h"

struct winsize_abi {
    uint16_t rows, columns, x_pixels, y_pixels;
};

/* struct termios as the kernel has it; libc's is longer. */
struct termios_abi {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line;
    uint8_t cc[19];
};
static_assert(sizeof(struct termios_abi) == 36, "struct termios");
static_assert(sizeof(struct termios2) == 44, "struct termios2");

enum direction { BY_VALUE, FROM_GUEST, TO_GUEST };

struct request {
    uint32_t cmd;
    uint8_t direction;
    uint8_t size;
};

static const struct request tty_requests[] = {
    {TCGETS, TO_GUEST, sizeof(struct termios_abi)},
    {TCSETS, FROM_GUEST, sizeof(struct termios_abi)},
    {TCSETSW, FROM_GUEST, sizeof(struct termios_abi)},
    {TCSETSF, FROM_GUEST, sizeof(struct termios_abi)},
    {TCGETS2, TO_GUEST, sizeof(struct termios2)},
    {TCSETS2, FROM_GUEST, sizeof(struct termios2)},
    {TCSETSW2, FROM_GUEST, sizeof(struct termios2)},
    {TCSETSF2, FROM_GUEST, sizeof(struct termios2)},
    {TIOCGWINSZ, TO_GUEST, sizeof(struct winsize_abi)},
    {TIOCSWINSZ, FROM_GUEST, sizeof(struct winsize_abi)},
    {TCSBRK, BY_VALUE, 0},
    {TCXONC, BY_VALUE, 0},
    {TCFLSH, BY_VALUE, 0},
    {TIOCOUTQ, TO_GUEST, sizeof(int)},
    {FIONREAD, TO_GUEST, sizeof(int)},
};

static int32_t foreground_pgid = 1;

void hostfd_set_foreground(int32_t pgid)
{
    __atomic_store_n(&foreground_pgid, pgid, __ATOMIC_RELAXED);
}

bool tty_is_terminal(int fd)
{
    struct termios_abi termios;

    return host_ioctl(fd, TCGETS, &termios) == 0;
}

static long pass(int fd, struct mm *mm, const struct request *r, uint64_t arg)
{
    uint8_t buf[64];
    long result;

    static_assert(sizeof(struct termios2) <= sizeof(buf), "the largest request fits");
    if (r->direction == BY_VALUE)
        return host_ioctl(fd, r->cmd, (void *)(uintptr_t)(uint32_t)arg);
    if (r->direction == FROM_GUEST && copy_from_user(mm, buf, arg, r->size) < 0)
        return -EFAULT;
    result = host_ioctl(fd, r->cmd, buf);
    if (result >= 0 && r->direction == TO_GUEST && copy_to_user(mm, arg, buf, r->size) < 0)
        return -EFAULT;
    return result;
}

long tty_ioctl(int fd, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int32_t pgid;

    for (size_t i = 0; i < ARRAY_COUNT(tty_requests); i++) {
        if (tty_requests[i].cmd == cmd)
            return pass(fd, mm, &tty_requests[i], arg);
    }
    switch (cmd) {
    case TIOCGPGRP:
        /* Process groups of the guest: the host's numbers mean nothing to it. */
        pgid = __atomic_load_n(&foreground_pgid, __ATOMIC_RELAXED);
        return copy_struct_to_user(mm, arg, &pgid);
    case TIOCSPGRP:
        if (copy_struct_from_user(mm, &pgid, arg) < 0)
            return -EFAULT;
        if (pgid < 0)
            return -EINVAL;
        hostfd_set_foreground(pgid);
        return 0;
    case TIOCSTI:
        return -EIO; /* as Linux 6.2 and later with dev.tty.legacy_tiocsti=0 */
    default:
        return -ENOTTY;
    }
}

long hostio_ioctl(int fd, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    static const struct request fionread = {FIONREAD, TO_GUEST, sizeof(int)};

    return cmd == FIONREAD ? pass(fd, mm, &fionread, arg) : -ENOTTY;
}
