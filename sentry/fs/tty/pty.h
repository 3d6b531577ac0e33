/*
 * A pseudo-terminal (pty(7)): two ends with a line discipline between them.
 *
 *     master  made by /dev/ptmx; raw; its end hangs the terminal up
 *     slave   opened by name, or through /dev/tty, as often as one likes; what programs take for a
 *             terminal. When its last file is closed, the master reads EIO until it is opened again
 *
 * Everything is under pty->lock; signals and hangups are sent after it was released.
 */
#ifndef SENTRY_FS_TTY_PTY_H
#define SENTRY_FS_TTY_PTY_H

#include "base/lock.h"
#include "sentry/fs/terminal.h"
#include "sentry/fs/tty/ldisc.h"
#include "sentry/vfs/attr/ownattr.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

struct mm;

#define PTY_INPUT_SIZE 8192 /* what a master may write before the line discipline takes it */

struct pty_winsize {
    uint16_t rows, columns, x_pixels, y_pixels;
};

struct pty {
    struct terminal terminal;
    uint32_t index;
    uint64_t serial;      /* indices are used again (devpts.c) */
    struct own_attr attr; /* of its name in /dev/pts */
    struct wait_queue master_queue, slave_queue;

    struct lock lock;
    struct ldisc ld __guarded_by(lock);
    uint8_t input[PTY_INPUT_SIZE] __guarded_by(lock); /* a ring: not yet in the line discipline */
    uint32_t input_head __guarded_by(lock), input_tail __guarded_by(lock);
    bool locked __guarded_by(lock);       /* TIOCSPTLCK: no slave can be opened */
    bool hung_up __guarded_by(lock);      /* the master has gone */
    bool slave_closed __guarded_by(lock); /* the last file of the slave's end was closed */
    bool exclusive __guarded_by(lock);    /* TIOCEXCL */
    struct termios2 locked_settings __guarded_by(lock); /* TIOCSLCKTRMIOS: bits that stay */
    uint32_t slave_count __guarded_by(lock);
    bool packet __guarded_by(lock); /* TIOCPKT */
    uint8_t packet_status __guarded_by(lock);
    struct pty_winsize winsize __guarded_by(lock);
};

struct pty_end {
    struct file file;
    struct pty *pty; /* owned reference, by its terminal */
};

static inline struct pty *pty_of_file(struct file *f)
{
    return container_of(f, struct pty_end, file)->pty;
}

/* A new pair, locked, and its master. -ENOMEM; -ENOSPC when there are too many. */
int pty_create(uint32_t flags, struct file **ret_master);
/* The slave's end. -EIO when locked or hung up, -EBUSY. */
int pty_open_slave(struct pty *pty, uint32_t flags, struct file **ret);
bool pty_is_master(const struct file *f);
void pty_stat(struct pty *pty, struct linux_stat *ret);

/* Passes on what waits as far as there is room; pty->lock held. */
void pty_pump_locked(struct pty *pty, struct ldisc_events *ev);
/* Remembers for the master what happened; pty->lock held. */
void pty_note_locked(struct pty *pty, const struct ldisc_events *ev);
/* Wakes and signals; without locks. */
void pty_tell(struct pty *pty, const struct ldisc_events *ev);

/* pty_ioctl.c */
long pty_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg);

/* devpts.c: a number for a new pair and its entry, which keeps no reference. -ENOSPC. */
int devpts_enter(struct pty *pty);
void devpts_remove(struct pty *pty);

#endif
