/* ioctl_tty(2) on either end: the terminal's settings are one, whichever end asks. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>

#include "sentry/fs/tty/pty.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"

/* struct termios as the kernel has it: termios2 without the speeds. */
#define TERMIOS_SIZE offsetof(struct termios2, c_ispeed)
#define NCC_OLD      8
#define NCCS_KERNEL  ARRAY_COUNT(((struct termios2 *)0)->c_cc)

/* struct termio, of System V. */
struct termio_abi {
    uint16_t iflag, oflag, cflag, lflag;
    uint8_t line;
    uint8_t cc[NCC_OLD];
};
static_assert(TERMIOS_SIZE == 36, "struct termios");
static_assert(sizeof(struct termio_abi) == 18, "struct termio");

static long get_termios(struct pty *pty, struct mm *mm, uaddr_t arg, size_t size)
{
    struct termios2 termios;

    lock_acquire(&pty->lock);
    termios = pty->ld.termios;
    lock_release(&pty->lock);
    return copy_to_user(mm, arg, &termios, size);
}

static long get_termio(struct pty *pty, struct mm *mm, uaddr_t arg)
{
    struct termios2 t;
    struct termio_abi old = {0};

    lock_acquire(&pty->lock);
    t = pty->ld.termios;
    lock_release(&pty->lock);
    old.iflag = (uint16_t)t.c_iflag;
    old.oflag = (uint16_t)t.c_oflag;
    old.cflag = (uint16_t)t.c_cflag;
    old.lflag = (uint16_t)t.c_lflag;
    old.line = t.c_line;
    memcpy(old.cc, t.c_cc, NCC_OLD);
    return copy_struct_to_user(mm, arg, &old);
}

static int copy_termio(struct mm *mm, uaddr_t arg, struct termios2 *t)
{
    struct termio_abi old;

    if (copy_struct_from_user(mm, &old, arg) < 0)
        return -EFAULT;
    t->c_iflag = (t->c_iflag & ~0xffffU) | old.iflag;
    t->c_oflag = (t->c_oflag & ~0xffffU) | old.oflag;
    t->c_cflag = (t->c_cflag & ~0xffffU) | old.cflag;
    t->c_lflag = (t->c_lflag & ~0xffffU) | old.lflag;
    memcpy(t->c_cc, old.cc, NCC_OLD);
    return 0;
}

/* Linux unset_locked_termios(): what is locked stays as it is. */
static void keep_locked(const struct termios2 *lock, const struct termios2 *old,
                        struct termios2 *termios)
{
    termios->c_iflag = (termios->c_iflag & ~lock->c_iflag) | (old->c_iflag & lock->c_iflag);
    termios->c_oflag = (termios->c_oflag & ~lock->c_oflag) | (old->c_oflag & lock->c_oflag);
    termios->c_cflag = (termios->c_cflag & ~lock->c_cflag) | (old->c_cflag & lock->c_cflag);
    termios->c_lflag = (termios->c_lflag & ~lock->c_lflag) | (old->c_lflag & lock->c_lflag);
    if (lock->c_line)
        termios->c_line = old->c_line;
    for (size_t i = 0; i < NCCS_KERNEL; i++) {
        if (lock->c_cc[i])
            termios->c_cc[i] = old->c_cc[i];
    }
}

/* TIOCGLCKTRMIOS */
static long get_lock(struct pty *pty, struct mm *mm, uaddr_t arg)
{
    struct termios2 termios;

    lock_acquire(&pty->lock);
    termios = pty->locked_settings;
    lock_release(&pty->lock);
    return copy_to_user(mm, arg, &termios, TERMIOS_SIZE);
}

/* TIOCSLCKTRMIOS */
static long set_lock(struct pty *pty, struct mm *mm, uaddr_t arg)
{
    struct termios2 termios = {0};

    if (!vfs_has_cap(CAP_CHECKPOINT_RESTORE) && !vfs_has_cap(CAP_SYS_ADMIN))
        return -EPERM;
    if (copy_from_user(mm, &termios, arg, TERMIOS_SIZE) < 0)
        return -EFAULT;
    lock_acquire(&pty->lock);
    pty->locked_settings = termios;
    lock_release(&pty->lock);
    return 0;
}

/* TIOCGSOFTCAR, TIOCSSOFTCAR: CLOCAL by another name. */
static long get_soft_carrier(struct pty *pty, struct mm *mm, uaddr_t arg)
{
    int on;

    lock_acquire(&pty->lock);
    on = (pty->ld.termios.c_cflag & CLOCAL) != 0;
    lock_release(&pty->lock);
    return copy_struct_to_user(mm, arg, &on);
}

static long set_soft_carrier(struct pty *pty, struct mm *mm, uaddr_t arg)
{
    unsigned on;

    if (copy_struct_from_user(mm, &on, arg) < 0)
        return -EFAULT;
    lock_acquire(&pty->lock);
    pty->ld.termios.c_cflag =
        (pty->ld.termios.c_cflag & ~(uint32_t)CLOCAL) | (on ? (uint32_t)CLOCAL : 0);
    lock_release(&pty->lock);
    return 0;
}

/* `size` 0: struct termio. TCSETSF drops what has not been read; nothing has to be drained. */
static long set_termios(struct pty *pty, struct mm *mm, uaddr_t arg, size_t size, bool flush)
{
    struct ldisc_events ev = {0};
    struct termios2 termios;
    int err;

    lock_acquire(&pty->lock);
    termios = pty->ld.termios;
    lock_release(&pty->lock);
    err = size ? copy_from_user(mm, &termios, arg, size) : copy_termio(mm, arg, &termios);
    if (err < 0)
        return err;
    lock_acquire(&pty->lock);
    if (flush) {
        pty->input_tail = pty->input_head;
        ldisc_flush_input(&pty->ld);
    }
    keep_locked(&pty->locked_settings, &pty->ld.termios, &termios);
    ldisc_set_termios(&pty->ld, &termios, &ev);
    pty_pump_locked(pty, &ev);
    lock_release(&pty->lock);
    pty_tell(pty, &ev);
    return 0;
}

static long set_winsize(struct pty *pty, struct mm *mm, uaddr_t arg)
{
    struct pty_winsize size;
    bool changed;

    if (copy_struct_from_user(mm, &size, arg) < 0)
        return -EFAULT;
    lock_acquire(&pty->lock);
    changed = memcmp(&size, &pty->winsize, sizeof(size)) != 0;
    pty->winsize = size;
    lock_release(&pty->lock);
    if (changed)
        terminal_signal(&pty->terminal, SIGWINCH);
    return 0;
}

static long get_winsize(struct pty *pty, struct mm *mm, uaddr_t arg)
{
    struct pty_winsize size;

    lock_acquire(&pty->lock);
    size = pty->winsize;
    lock_release(&pty->lock);
    return copy_struct_to_user(mm, arg, &size);
}

/* TCFLSH: the master's input is the slave's output. */
static long flush(struct pty *pty, bool master, uint64_t what)
{
    bool input = what == TCIFLUSH || what == TCIOFLUSH;
    bool output = what == TCOFLUSH || what == TCIOFLUSH;
    struct ldisc_events ev = {.room = true};

    if (!input && !output)
        return -EINVAL;
    lock_acquire(&pty->lock);
    if (master ? output : input) {
        pty->input_tail = pty->input_head;
        if (!master)
            ldisc_flush_input(&pty->ld);
    }
    if (master ? input : output)
        ldisc_flush_output(&pty->ld, 0);
    if (!master)
        ev.packet = (uint8_t)((input ? TIOCPKT_FLUSHREAD : 0) | (output ? TIOCPKT_FLUSHWRITE : 0));
    pty_note_locked(pty, &ev);
    lock_release(&pty->lock);
    pty_tell(pty, &ev);
    wait_queue_wake(&pty->master_queue, POLLOUT | POLLWRNORM);
    return 0;
}

/* TCXONC. TCIOFF and TCION send a character to whoever writes to us. */
static long control_flow(struct pty *pty, bool master, uint64_t what)
{
    struct ldisc_events ev = {0};
    uint8_t c;

    if (what > TCION)
        return -EINVAL;
    lock_acquire(&pty->lock);
    if (what == TCOOFF && !master) {
        ldisc_stop(&pty->ld, true, &ev);
    } else if (what == TCOON && !master) {
        ldisc_start(&pty->ld, true, &ev);
    } else if (!master && what >= TCIOFF) {
        c = pty->ld.termios.c_cc[what == TCIOFF ? VSTOP : VSTART];
        if (c)
            ldisc_write(&pty->ld, &c, 1);
        ev.output = c != 0;
    }
    pty_note_locked(pty, &ev);
    lock_release(&pty->lock);
    pty_tell(pty, &ev);
    return 0;
}

static long count_bytes(struct pty *pty, bool master, struct mm *mm, uaddr_t arg)
{
    int count;

    lock_acquire(&pty->lock);
    count = (int)(master ? ldisc_output_bytes(&pty->ld) : ldisc_readable_bytes(&pty->ld));
    lock_release(&pty->lock);
    return copy_struct_to_user(mm, arg, &count);
}

static long put_int(struct mm *mm, uaddr_t arg, int value)
{
    return copy_struct_to_user(mm, arg, &value);
}

/* Switches of the pair, as the argument points to an int. */
static long set_switch(struct pty *pty, struct mm *mm, uint32_t cmd, uaddr_t arg)
{
    int on;

    if (copy_struct_from_user(mm, &on, arg) < 0)
        return -EFAULT;
    lock_acquire(&pty->lock);
    if (cmd == TIOCSPTLCK) {
        pty->locked = on;
    } else {
        if (on && !pty->packet)
            pty->packet_status = 0;
        pty->packet = on;
    }
    lock_release(&pty->lock);
    return 0;
}

/* TIOCSIG: as if the key had been pressed, but nothing is flushed. */
static long send_signal(struct pty *pty, uint64_t signo)
{
    if (signo != SIGINT && signo != SIGQUIT && signo != SIGTSTP)
        return -EINVAL;
    terminal_signal(&pty->terminal, (int)signo);
    return 0;
}

static long master_ioctl(struct pty *pty, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    switch (cmd) {
    case TIOCGPTN:
        return put_int(mm, arg, (int)pty->index);
    case TIOCSPTLCK:
    case TIOCPKT:
        return set_switch(pty, mm, cmd, arg);
    case TIOCGPTLCK:
        return put_int(mm, arg, pty->locked);
    case TIOCGPKT:
        return put_int(mm, arg, pty->packet);
    case TIOCSIG:
        return send_signal(pty, arg);
    default:
        return -ENOTTY;
    }
}

static long set_exclusive(struct pty *pty, bool on)
{
    lock_acquire(&pty->lock);
    pty->exclusive = on;
    lock_release(&pty->lock);
    return 0;
}

static long either_ioctl(struct pty *pty, bool master, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    switch (cmd) {
    case TCXONC:
        return control_flow(pty, master, arg);
    case TCFLSH:
        return flush(pty, master, arg);
    case TCSBRK: /* nothing is on a wire: drained at once, and no break is sent */
    case TCSBRKP:
        return 0;
    case FIONREAD:
        return count_bytes(pty, master, mm, arg);
    case TIOCOUTQ:
    case TIOCGETD: /* N_TTY */
        return put_int(mm, arg, 0);
    case TIOCGEXCL:
        return put_int(mm, arg, pty->exclusive);
    case TIOCEXCL:
    case TIOCNXCL:
        return master ? 0 : set_exclusive(pty, cmd == TIOCEXCL);
    default:
        return master ? master_ioctl(pty, mm, cmd, arg) : -ENOTTY;
    }
}

long pty_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct pty *pty = pty_of_file(f);
    bool master = pty_is_master(f), hung_up;

    lock_acquire(&pty->lock);
    hung_up = pty->hung_up;
    lock_release(&pty->lock);
    if (hung_up)
        return -EIO;
    switch (cmd) {
    case TCGETS:
        return get_termios(pty, mm, arg, TERMIOS_SIZE);
    case TCGETS2:
        return get_termios(pty, mm, arg, sizeof(struct termios2));
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_termios(pty, mm, arg, TERMIOS_SIZE, cmd == TCSETSF);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return set_termios(pty, mm, arg, sizeof(struct termios2), cmd == TCSETSF2);
    case TCGETA:
        return get_termio(pty, mm, arg);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
        return set_termios(pty, mm, arg, 0, cmd == TCSETAF);
    case TIOCGLCKTRMIOS:
        return get_lock(pty, mm, arg);
    case TIOCSLCKTRMIOS:
        return set_lock(pty, mm, arg);
    case TIOCGSOFTCAR:
        return get_soft_carrier(pty, mm, arg);
    case TIOCSSOFTCAR:
        return set_soft_carrier(pty, mm, arg);
    case TIOCGWINSZ:
        return get_winsize(pty, mm, arg);
    case TIOCSWINSZ:
        return set_winsize(pty, mm, arg);
    default:
        return either_ioctl(pty, master, mm, cmd, arg);
    }
}
