/*
 * Requests are copied through a local buffer of the size that the table gives; the host never sees
 * a guest address. TIOCSTI, which types into the caller's shell, stays outside, whatever the
 * program's rights; what moves terminals between sessions and groups is the guest's own business
 * (sentry/syscalls/tty.c) and never the host's.
 */
#include "sentry/fs/hostfd/tty.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>

#include "host/io.h"
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
    for (size_t i = 0; i < ARRAY_COUNT(tty_requests); i++) {
        if (tty_requests[i].cmd == cmd)
            return pass(fd, mm, &tty_requests[i], arg);
    }
    return -ENOTTY;
}

long hostio_ioctl(int fd, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    static const struct request fionread = {FIONREAD, TO_GUEST, sizeof(int)};

    return cmd == FIONREAD ? pass(fd, mm, &fionread, arg) : -ENOTTY;
}
