/*
 * The kernel's own log, as dmesg(1) shows it: a ring of records, each with a number that is never
 * used again, the time since the start, and a priority (facility * 8 + level, syslog(3)).
 * Programs read it through syslog(2) and /dev/kmsg, and may add to it there. It is a log of the
 * sandbox and about the sandbox; what the operator is told goes through base/log.h.
 */
#ifndef SENTRY_FS_DEV_KMSG_H
#define SENTRY_FS_DEV_KMSG_H

#include <syslog.h>

#include "base/compiler.h"

struct file;
struct wait_queue;

#define KMSG_BUFFER_SIZE (256 * 1024) /* of text, at most */
#define KMSG_TEXT_MAX    1024         /* of one record */

/* Starts the clock; before the first record. */
void kmsg_init(void);
void kmsg_printf(int priority, const char *fmt, ...) __printf(2, 3);
void kmsg_add(int priority, const char *text, size_t size);

/*
 * The lines of syslog(2), "<6>[    0.000000] text". Reads from record *seq and byte *offset of its
 * line on, and moves both; the bytes written to buf. Records that are lost are skipped.
 */
size_t kmsg_read_lines(uint64_t *seq, size_t *offset, char *buf, size_t size);
/* How long the lines from there on are. */
size_t kmsg_lines_size(uint64_t seq, size_t offset);
/* The first record from `seq` on whose lines, with all later ones, take at most `size` bytes. */
uint64_t kmsg_fit(uint64_t seq, size_t size);
uint64_t kmsg_end(void); /* behind the newest record */
void kmsg_clear(void);   /* SYSLOG_ACTION_CLEAR: kmsg_cleared() is the end now */
uint64_t kmsg_cleared(void);
/* SYSLOG_ACTION_CONSOLE_*: which levels a console would show; kept, for there is no console. */
int kmsg_console_level(void);
void kmsg_set_console_level(int level);
struct wait_queue *kmsg_queue(void); /* woken by each new record */

/* Record *seq as it is. -EAGAIN: not there yet; -EPIPE: lost, and *seq is the oldest one now. */
struct kmsg_record {
    uint64_t ns;
    uint32_t priority, size;
    char text[KMSG_TEXT_MAX];
};
int kmsg_read_record(uint64_t *seq, struct kmsg_record *ret);

/* kmsgfile.c: /dev/kmsg */
int kmsg_open(uint32_t flags, struct file **ret);

#endif
