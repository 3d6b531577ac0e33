/*
 * What the host's terminal and our own pseudo-terminals have in common: they can be the controlling
 * terminal of a session. Who that is, and who may read, is the kernel's business
 * (sentry/kernel/ctty.c): a file of a terminal says so by file->terminal, and terminals reach the
 * kernel, which is above them, through the few functions that it hands in.
 */
#ifndef SENTRY_FS_TERMINAL_H
#define SENTRY_FS_TERMINAL_H

#include "base/compiler.h"
#include "base/refcount.h"

struct file;
struct terminal;

#define TERMINAL_FOR_EVER UINT64_MAX

/* How long read(2) waits: VMIN and VTIME of termios(3). */
struct terminal_patience {
    uint64_t first_ns; /* for the first byte; 0: not at all, then it says 0 bytes */
    uint64_t next_ns;  /* for each further one */
    size_t minimum;    /* bytes that end the wait */
};

struct terminal_operations {
    /* A new file, for /dev/tty and TIOCGPTPEER; `flags` as open(2). */
    int (*open)(struct terminal *t, uint32_t flags, struct file **ret);
    void (*patience)(struct terminal *t, struct terminal_patience *ret);
    bool (*stops_writers)(struct terminal *t); /* TOSTOP */
    /* Whoever shares the terminal with us outside has it now; may be NULL: never. */
    bool (*is_lent)(struct terminal *t);
    /* The file is the master's end of a pseudo-terminal; may be NULL: never. */
    bool (*is_master)(const struct file *f);
    void (*release)(struct terminal *t);
};

struct terminal {
    refcount_t refs;
    const struct terminal_operations *ops;
    uint32_t device;    /* as /proc/PID/stat tells it: terminal_device() */
    int32_t session;    /* whose controlling terminal it is; 0: nobody's; under kernel->lock */
    int32_t foreground; /* process group; 0: none; under kernel->lock */
};

void terminal_init(struct terminal *t, const struct terminal_operations *ops);
/* Linux's new_encode_dev(). */
static inline uint32_t terminal_device(uint32_t major, uint32_t minor)
{
    return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}
struct terminal *terminal_ref(struct terminal *t);
struct terminal *terminal_unref(struct terminal *t); /* takes NULL, returns NULL */

/* What terminals ask of the kernel. None is called with a lock held. */
struct terminal_kernel {
    /* The calling task's controlling terminal: a reference, or NULL. */
    struct terminal *(*current)(void);
    /* To the foreground group. */
    void (*signal)(struct terminal *t, int signo);
    /* The other end has gone: the session loses the terminal, its leader gets SIGHUP. */
    void (*hangup)(struct terminal *t);
    /* Who the calling task is: the owner of a terminal that it makes. */
    void (*owner)(uint32_t *ret_uid, uint32_t *ret_gid);
};

/* Once, before the first task; without it (unit tests) there is no job control. */
void terminals_connect(const struct terminal_kernel *kernel);
struct terminal *terminal_current(void);
void terminal_signal(struct terminal *t, int signo);
void terminal_hangup(struct terminal *t);
void terminal_owner(uint32_t *ret_uid, uint32_t *ret_gid);

#endif
