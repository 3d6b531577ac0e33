/*
 * The caller's terminal as a terminal of the guest's first session. Which of the guest's groups is
 * in the foreground is kept by the kernel; the host knows one group, the sandbox, and takes the
 * terminal away from it as a whole when the caller's shell puts it into the background.
 */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "host/io.h"
#include "host/jobs.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/fs/hostfd/internal.h"
#include "sentry/fs/hostio.h"
#include "sentry/fs/terminal.h"

#define TENTH_OF_SECOND 100000000UL /* VTIME's unit */

struct host_terminal {
    struct terminal terminal;
    struct host_stream *stream; /* owned reference */
    uint64_t device;
};

static struct host_terminal *terminals[3]; /* stdio has no more; made before the guest runs */
static pid_t host_group;

void hostfd_set_group(pid_t group)
{
    host_group = group;
}

static struct host_terminal *host_terminal_of(struct terminal *t)
{
    return container_of(t, struct host_terminal, terminal);
}

static int host_terminal_open(struct terminal *t, uint32_t flags, struct file **ret)
{
    return hostfd_reopen(host_terminal_of(t)->stream, t, flags, ret);
}

/* Once there is something to read, the host itself waits for the rest. */
static void host_terminal_patience(struct terminal *t, struct terminal_patience *ret)
{
    struct termios2 termios;

    *ret = (struct terminal_patience){TERMINAL_FOR_EVER, TERMINAL_FOR_EVER, 1};
    if (host_ioctl(host_terminal_of(t)->stream->host->fd, TCGETS2, &termios) < 0)
        return;
    if (!(termios.c_lflag & ICANON) && termios.c_cc[VMIN] == 0)
        ret->first_ns = termios.c_cc[VTIME] * TENTH_OF_SECOND;
}

static bool host_terminal_stops_writers(struct terminal *t)
{
    struct termios2 termios;

    return host_ioctl(host_terminal_of(t)->stream->host->fd, TCGETS2, &termios) == 0 &&
           (termios.c_lflag & TOSTOP);
}

static bool host_terminal_is_lent(struct terminal *t)
{
    int group = host_terminal_group(host_terminal_of(t)->stream->host->fd);

    return group > 0 && group != host_group;
}

static void host_terminal_release(struct terminal *t)
{
    host_stream_unref(host_terminal_of(t)->stream);
    free(host_terminal_of(t));
}

static const struct terminal_operations host_terminal_operations = {
    .open = host_terminal_open,
    .patience = host_terminal_patience,
    .stops_writers = host_terminal_stops_writers,
    .is_lent = host_terminal_is_lent,
    .release = host_terminal_release,
};

struct terminal *host_terminal_get(struct host_stream *s, uint64_t device)
{
    for (size_t i = 0; i < ARRAY_COUNT(terminals); i++) {
        struct host_terminal *t = terminals[i];

        if (t && t->device == device)
            return &t->terminal;
        if (t)
            continue;
        t = terminals[i] = calloc(1, sizeof(*t));
        if (!t)
            return NULL;
        terminal_init(&t->terminal, &host_terminal_operations);
        t->stream = host_stream_ref(s);
        t->device = device;
        t->terminal.device = terminal_device(major(device), minor(device));
        return &t->terminal;
    }
    return NULL;
}

bool hostfd_controls_caller(struct terminal *t)
{
    return host_terminal_group(host_terminal_of(t)->stream->host->fd) >= 0;
}
