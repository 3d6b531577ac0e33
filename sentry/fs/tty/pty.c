#include "sentry/fs/tty/pty.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/mm/uio.h"

#define TENTH_OF_SECOND 100000000UL /* VTIME's unit */
#define CHUNK           512
#define PTS_MAJOR       136
#define PTS_DEV_MINOR   24 /* st_dev of the tree */
#define PTS_FIRST_INO   3  /* of the entry 0 */
#define TTY_GID         5
#define IN              (POLLIN | POLLRDNORM)
#define OUT             (POLLOUT | POLLWRNORM)

static const struct file_operations master_operations;

static struct pty *pty_of(struct terminal *t)
{
    return container_of(t, struct pty, terminal);
}

bool pty_is_master(const struct file *f)
{
    return f->ops == &master_operations;
}

/* ---- what follows from a change ----------------------------------------------------------- */

void pty_note_locked(struct pty *pty, const struct ldisc_events *ev)
{
    if (!pty->packet)
        return;
    /* Opposites replace each other. */
    if (ev->packet & (TIOCPKT_STOP | TIOCPKT_START))
        pty->packet_status &= (uint8_t) ~(TIOCPKT_STOP | TIOCPKT_START);
    if (ev->packet & (TIOCPKT_NOSTOP | TIOCPKT_DOSTOP))
        pty->packet_status &= (uint8_t) ~(TIOCPKT_NOSTOP | TIOCPKT_DOSTOP);
    pty->packet_status |= ev->packet;
}

void pty_pump_locked(struct pty *pty, struct ldisc_events *ev)
{
    while (pty->input_tail != pty->input_head && ldisc_can_receive(&pty->ld))
        ldisc_receive(&pty->ld, pty->input[pty->input_tail++ % PTY_INPUT_SIZE], ev);
    pty_note_locked(pty, ev);
}

void pty_tell(struct pty *pty, const struct ldisc_events *ev)
{
    if (ev->output || ev->packet)
        wait_queue_wake(&pty->master_queue, IN | (ev->packet ? POLLPRI : 0));
    if (ev->input)
        wait_queue_wake(&pty->slave_queue, IN);
    if (ev->room)
        wait_queue_wake(&pty->slave_queue, OUT);
    for (int signo = 1; ev->signals >> signo; signo++) {
        if (ev->signals & 1U << signo)
            terminal_signal(&pty->terminal, signo);
    }
}

/* ---- the master's end --------------------------------------------------------------------- */

/* The first byte of a packet: what happened, or that data follows. 0: data may follow. */
static ssize_t read_status(struct pty *pty, struct uio *uio)
{
    uint8_t status = pty->packet_status;
    ssize_t n;

    if (!status && ldisc_output_bytes(&pty->ld) == 0)
        return 0;
    n = uio_copy_out(uio, &status, 1);
    if (n == 1 && status)
        pty->packet_status = 0;
    return n;
}

static ssize_t take_output_locked(struct pty *pty, struct uio *uio)
{
    bool whole_status = pty->packet && pty->packet_status;
    ssize_t done = pty->packet ? read_status(pty, uio) : 0;

    if (done < 0 || whole_status)
        return done;
    while (uio->left > 0) {
        const uint8_t *bytes;
        size_t size = ldisc_take(&pty->ld, &bytes);
        ssize_t n = size ? uio_copy_out(uio, bytes, size) : 0;

        if (n <= 0)
            return done ? done : n;
        ldisc_taken(&pty->ld, (size_t)n);
        done += n;
    }
    return done;
}

static ssize_t master_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pty *pty = pty_of_file(f);
    struct ldisc_events ev = {.room = true};
    ssize_t n;

    if (uio->left == 0)
        return 0;
    lock_acquire(&pty->lock);
    n = take_output_locked(pty, uio);
    if (n == 0)
        n = pty->slave_closed ? -EIO : -EAGAIN;
    lock_release(&pty->lock);
    if (n > 0)
        pty_tell(pty, &ev);
    return n;
}

static ssize_t put_input_locked(struct pty *pty, struct uio *uio, struct ldisc_events *ev)
{
    ssize_t done = 0;

    /* Not all of a long write: what a full line drops would keep everybody waiting. */
    while (uio->left > 0 && done < PTY_INPUT_SIZE) {
        uint32_t at = pty->input_head % PTY_INPUT_SIZE;
        uint32_t room = PTY_INPUT_SIZE - (pty->input_head - pty->input_tail);
        ssize_t n;

        room = MIN(room, PTY_INPUT_SIZE - at);
        if (room == 0)
            break;
        n = uio_copy_in(uio, &pty->input[at], MIN(uio->left, room));
        if (n <= 0)
            return done ? done : n;
        pty->input_head += (uint32_t)n;
        done += n;
        pty_pump_locked(pty, ev);
    }
    return done ? done : -EAGAIN;
}

static ssize_t master_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pty *pty = pty_of_file(f);
    struct ldisc_events ev = {0};
    ssize_t n;

    if (uio->left == 0)
        return 0;
    lock_acquire(&pty->lock);
    n = put_input_locked(pty, uio, &ev);
    lock_release(&pty->lock);
    pty_tell(pty, &ev);
    return n;
}

static uint32_t master_poll(struct file *f, struct wait_entry *entry)
{
    struct pty *pty = pty_of_file(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&pty->master_queue, entry);
    lock_acquire(&pty->lock);
    if (ldisc_output_bytes(&pty->ld) > 0)
        events |= IN;
    if (pty->packet && pty->packet_status)
        events |= IN | POLLPRI;
    if (pty->input_head - pty->input_tail < PTY_INPUT_SIZE)
        events |= OUT;
    if (pty->slave_closed)
        events |= POLLHUP;
    lock_release(&pty->lock);
    return events;
}

static void master_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&pty_of_file(f)->master_queue, entry);
}

static void end_free(struct file *f)
{
    struct pty_end *end = container_of(f, struct pty_end, file);
    struct pty *pty = end->pty;

    file_fini(f);
    free(end);
    terminal_unref(&pty->terminal);
}

static void master_release(struct file *f)
{
    struct pty *pty = pty_of_file(f);

    devpts_remove(pty);
    lock_acquire(&pty->lock);
    pty->hung_up = true;
    lock_release(&pty->lock);
    terminal_hangup(&pty->terminal);
    wait_queue_wake(&pty->slave_queue, IN | OUT | POLLHUP | POLLERR);
    end_free(f);
}

/* ---- the slave's end ---------------------------------------------------------------------- */

static ssize_t slave_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pty *pty = pty_of_file(f);
    uint8_t buf[LDISC_INPUT_SIZE];
    struct ldisc_events ev = {0};
    ssize_t n = -EAGAIN;

    lock_acquire(&pty->lock);
    if (pty->hung_up || uio->left == 0) {
        n = 0;
    } else if (ldisc_readable(&pty->ld, 1)) {
        n = (ssize_t)ldisc_read(&pty->ld, buf, MIN(uio->left, sizeof(buf)));
        pty_pump_locked(pty, &ev);
    }
    lock_release(&pty->lock);
    if (n >= 0) {
        wait_queue_wake(&pty->master_queue, OUT);
        pty_tell(pty, &ev);
    }
    return n > 0 ? uio_copy_out(uio, buf, (size_t)n) : n;
}

static ssize_t put_output_locked(struct pty *pty, struct uio *uio)
{
    ssize_t done = 0;

    while (uio->left > 0) {
        uint8_t buf[CHUNK];
        size_t room = MIN(ldisc_write_room(&pty->ld), sizeof(buf));
        ssize_t n;

        if (room == 0)
            break;
        n = uio_copy_in(uio, buf, MIN(uio->left, room));
        if (n <= 0)
            return done ? done : n;
        ldisc_write(&pty->ld, buf, (size_t)n);
        done += n;
    }
    return done ? done : -EAGAIN;
}

static ssize_t slave_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pty *pty = pty_of_file(f);
    struct ldisc_events ev = {.output = true};
    ssize_t n = -EIO;

    lock_acquire(&pty->lock);
    if (!pty->hung_up)
        n = uio->left ? put_output_locked(pty, uio) : 0;
    lock_release(&pty->lock);
    if (n > 0)
        pty_tell(pty, &ev);
    return n;
}

/* With a timer, one byte is enough to make read(2) return in bounded time. */
static uint32_t poll_minimum(const struct termios2 *t)
{
    return t->c_cc[VTIME] || !t->c_cc[VMIN] ? 1 : t->c_cc[VMIN];
}

static uint32_t slave_poll(struct file *f, struct wait_entry *entry)
{
    struct pty *pty = pty_of_file(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&pty->slave_queue, entry);
    lock_acquire(&pty->lock);
    if (pty->hung_up)
        events = IN | OUT | POLLERR | POLLHUP;
    if (ldisc_readable(&pty->ld, poll_minimum(&pty->ld.termios)))
        events |= IN;
    if (ldisc_write_room(&pty->ld) > 0)
        events |= OUT;
    lock_release(&pty->lock);
    return events;
}

static void slave_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&pty_of_file(f)->slave_queue, entry);
}

static void slave_release(struct file *f)
{
    struct pty *pty = pty_of_file(f);
    bool last;

    lock_acquire(&pty->lock);
    last = --pty->slave_count == 0;
    if (last) {
        pty->slave_closed = true;
        pty->exclusive = false;
    }
    lock_release(&pty->lock);
    if (last)
        wait_queue_wake(&pty->master_queue, IN | POLLHUP);
    end_free(f);
}

void pty_stat(struct pty *pty, struct linux_stat *ret)
{
    *ret = (struct linux_stat){
        .st_dev = makedev(0, PTS_DEV_MINOR),
        .st_ino = pty->index + PTS_FIRST_INO,
        .st_nlink = 1,
        .st_rdev = makedev(PTS_MAJOR, pty->index),
        .st_blksize = 1024,
    };
    own_attr_stat(&pty->attr, ret);
}

/* TIOCGPTPEER's file has no place; all others say what their place says, /dev/tty among them. */
static int end_stat(struct file *f, struct linux_stat *ret)
{
    if (f->at.dentry)
        return f->at.dentry->inode->ops->stat(f->at.dentry, false, ret);
    pty_stat(pty_of_file(f), ret);
    return 0;
}

static struct own_attr *slave_own_attr(struct file *f)
{
    return &pty_of_file(f)->attr;
}

static const struct file_operations master_operations = {
    .read = master_read,
    .write = master_write,
    .poll = master_poll,
    .unpoll = master_unpoll,
    .stat = end_stat,
    .ioctl = pty_ioctl,
    .release = master_release,
};

static const struct file_operations slave_operations = {
    .read = slave_read,
    .write = slave_write,
    .poll = slave_poll,
    .unpoll = slave_unpoll,
    .stat = end_stat,
    .own_attr = slave_own_attr,
    .ioctl = pty_ioctl,
    .release = slave_release,
};

static int open_end(struct pty *pty, const struct file_operations *ops, uint32_t flags,
                    struct file **ret)
{
    struct pty_end *end = malloc(sizeof(*end));

    if (!end)
        return -ENOMEM;
    file_init(&end->file, ops, flags);
    end->file.terminal = &pty->terminal;
    end->pty = pty;
    terminal_ref(&pty->terminal);
    *ret = &end->file;
    return 0;
}

int pty_open_slave(struct pty *pty, uint32_t flags, struct file **ret)
{
    int err = 0;

    lock_acquire(&pty->lock);
    if (pty->locked || pty->hung_up)
        err = -EIO;
    else if (pty->exclusive)
        err = -EBUSY;
    else
        err = open_end(pty, &slave_operations, flags, ret);
    if (!err) {
        pty->slave_count++;
        pty->slave_closed = false;
    }
    lock_release(&pty->lock);
    return err;
}

/* ---- the terminal that a session may have ------------------------------------------------- */

static int open_by_session(struct terminal *t, uint32_t flags, struct file **ret)
{
    struct pty *pty = pty_of(t);
    char path[32];
    int err = pty_open_slave(pty, flags, ret);

    if (err < 0)
        return err;
    snprintf(path, sizeof(path), "/dev/pts/%u", pty->index);
    (*ret)->path = strdup(path);
    return 0;
}

static void pty_patience(struct terminal *t, struct terminal_patience *ret)
{
    struct pty *pty = pty_of(t);
    uint64_t time;

    *ret = (struct terminal_patience){TERMINAL_FOR_EVER, TERMINAL_FOR_EVER, 1};
    lock_acquire(&pty->lock);
    time = pty->ld.termios.c_cc[VTIME] * TENTH_OF_SECOND;
    if (!ldisc_is_canonical(&pty->ld)) {
        ret->minimum = MAX(pty->ld.termios.c_cc[VMIN], (uint8_t)1);
        if (pty->ld.termios.c_cc[VMIN] == 0)
            ret->first_ns = time;
        else if (time)
            ret->next_ns = time;
    }
    lock_release(&pty->lock);
}

static bool pty_stops_writers(struct terminal *t)
{
    struct pty *pty = pty_of(t);
    bool stops;

    lock_acquire(&pty->lock);
    stops = pty->ld.termios.c_lflag & TOSTOP;
    lock_release(&pty->lock);
    return stops;
}

static void pty_release(struct terminal *t)
{
    lock_destroy(&pty_of(t)->lock);
    own_attr_fini(&pty_of(t)->attr);
    free(pty_of(t));
}

static const struct terminal_operations pty_terminal_operations = {
    .open = open_by_session,
    .patience = pty_patience,
    .stops_writers = pty_stops_writers,
    .is_master = pty_is_master,
    .release = pty_release,
};

int pty_create(uint32_t flags, struct file **ret_master)
{
    struct pty *pty = calloc(1, sizeof(*pty));
    uint32_t uid, gid;
    int err;

    if (!pty)
        return -ENOMEM;
    terminal_init(&pty->terminal, &pty_terminal_operations);
    wait_queue_init(&pty->master_queue);
    wait_queue_init(&pty->slave_queue);
    lock_init(&pty->lock);
    ldisc_init(&pty->ld);
    terminal_owner(&uid, &gid);
    own_attr_init(&pty->attr, S_IFCHR | 0620, uid, TTY_GID);
    pty->locked = true;
    err = devpts_enter(pty);
    pty->terminal.device = terminal_device(PTS_MAJOR, pty->index);
    if (!err) {
        err = open_end(pty, &master_operations, flags, ret_master);
        if (err)
            devpts_remove(pty);
    }
    terminal_unref(&pty->terminal);
    return err;
}
