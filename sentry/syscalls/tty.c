/*
 * Terminals: who may use them (ioctl_tty(2), "Controlling terminal", "Process group and session
 * ID"), and how long a read waits (termios(3), "Canonical and noncanonical mode").
 */
#include "sentry/syscalls/tty.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>

#include "host/clock.h"
#include "sentry/fs/terminal.h"
#include "sentry/kernel/ctty.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

/* A terminal that is there stays: nothing here can take it away from whoever has it open. */
SYSCALL_DEFINE0(vhangup)
{
    int32_t foreground;
    uint32_t device;

    if (!task_has_cap(task, CAP_SYS_TTY_CONFIG))
        return -EPERM;
    ctty_describe(task->process, &device, &foreground);
    return device ? -EPERM : 0;
}

static bool is_master(const struct file *file)
{
    const struct terminal_operations *ops = file->terminal->ops;

    return ops->is_master && ops->is_master(file);
}

static struct terminal_patience patience_of(const struct file *file)
{
    struct terminal_patience patience = {TERMINAL_FOR_EVER, TERMINAL_FOR_EVER, 1};

    if (!is_master(file))
        file->terminal->ops->patience(file->terminal, &patience);
    return patience;
}

static uint64_t deadline_in(uint64_t ns)
{
    return ns == TERMINAL_FOR_EVER ? UINT64_MAX : host_monotonic_ns() + ns;
}

ssize_t terminal_read(struct task *task, struct file *file, struct uio *uio, bool nonblock)
{
    uint64_t deadline = 0; /* not known yet */
    ssize_t done = 0, err = is_master(file) ? 0 : ctty_check(task, file->terminal, SIGTTIN);

    while (err == 0) {
        struct terminal_patience patience;
        ssize_t n = file_read(file, uio);

        if (n == -EINTR) { /* the host's word: this thread was kicked */
            err = task_interrupted(task) ? -ERESTARTSYS : 0;
            continue;
        }
        if (n <= 0 && n != -EAGAIN)
            return done ? done : n;
        patience = patience_of(file);
        if (n > 0) {
            done += n;
            if ((size_t)done >= patience.minimum || uio->left == 0)
                return done;
            deadline = deadline_in(patience.next_ns);
        } else if (deadline == 0) {
            deadline = deadline_in(patience.first_ns);
        }
        if (!done && patience.first_ns == 0)
            return 0;
        if (nonblock)
            return done ? done : -EAGAIN;
        err = file_wait_until(task, file, POLLIN, deadline);
    }
    return done || err == -ETIMEDOUT ? done : err;
}

int terminal_may_write(struct task *task, struct file *file)
{
    struct terminal *t = file->terminal;

    if (is_master(file) || !t->ops->stops_writers(t))
        return 0;
    return ctty_check(task, t, SIGTTOU);
}

/* What a background job is stopped for (Linux tty_check_change()). */
static bool changes_terminal(uint32_t cmd)
{
    switch (cmd) {
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
    case TCSBRK:
    case TCSBRKP:
    case TCXONC:
    case TCFLSH:
    case TIOCSETD:
        return true;
    default:
        return false;
    }
}

static long set_foreground(struct task *task, struct file *file, uaddr_t arg)
{
    int32_t pgid;
    int err = ctty_check(task, file->terminal, SIGTTOU);

    if (err < 0)
        return err == -EIO ? -ENOTTY : err;
    if (copy_struct_from_user(task->mm, &pgid, arg) < 0)
        return -EFAULT;
    return ctty_set_foreground(task, file->terminal, pgid);
}

/* TIOCGPTPEER: a descriptor of the other end, whatever is mounted where. */
static long open_peer(struct task *task, struct file *file, uint32_t flags)
{
    struct terminal *t = file->terminal;
    struct file *peer;
    int err;

    if (!is_master(file))
        return -ENOTTY;
    err = t->ops->open(t, flags & ~(uint32_t)(O_CLOEXEC | O_NOCTTY), &peer);
    if (err < 0)
        return err;
    if (!(flags & O_NOCTTY))
        ctty_opened(task, peer);
    return task_install(task, peer, 0, flags & O_CLOEXEC);
}

long terminal_ioctl(struct task *task, struct file *file, uint32_t cmd, uint64_t arg)
{
    struct terminal *t = file->terminal;
    int32_t number = 0;
    int err;

    switch (cmd) {
    case TIOCGPGRP:
        err = ctty_get_foreground(task, t, is_master(file), &number);
        return err < 0 ? err : copy_struct_to_user(task->mm, arg, &number);
    case TIOCGSID:
        err = ctty_get_session(task, t, is_master(file), &number);
        return err < 0 ? err : copy_struct_to_user(task->mm, arg, &number);
    case TIOCSPGRP:
        return set_foreground(task, file, arg);
    case TIOCSCTTY:
        return ctty_take(task, file, arg == 1);
    case TIOCNOTTY:
        return ctty_give_up(task, t);
    case TIOCGPTPEER:
        return open_peer(task, file, (uint32_t)arg);
    case TIOCSTI:
        return -EIO; /* as Linux 6.2 and later with dev.tty.legacy_tiocsti=0 */
    default:
        err = changes_terminal(cmd) && !is_master(file) ? ctty_check(task, t, SIGTTOU) : 0;
        return err < 0 ? err : file->ops->ioctl(file, task->mm, cmd, arg);
    }
}
