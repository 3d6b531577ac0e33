#include "sentry/fs/dev/kmsg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "host/clock.h"
#include "sentry/wait/wait.h"

#define RECORDS_MAX 2048

struct record {
    uint64_t ns;
    uint32_t priority, size;
    char text[];
};

/* Records [first, end) are there; record n is at n % RECORDS_MAX. */
static struct {
    struct lock lock;
    struct record *records[RECORDS_MAX] __guarded_by(lock);
    uint64_t first __guarded_by(lock), end __guarded_by(lock), cleared __guarded_by(lock);
    size_t size __guarded_by(lock); /* of all texts */
    uint64_t start_ns;
    struct wait_queue queue;
} ring;

void kmsg_init(void)
{
    lock_init(&ring.lock);
    wait_queue_init(&ring.queue);
    ring.start_ns = host_monotonic_ns();
}

static void drop_oldest_locked(void)
{
    struct record **slot = &ring.records[ring.first % RECORDS_MAX];

    ring.size -= (*slot)->size;
    free(*slot);
    *slot = NULL;
    ring.first++;
}

void kmsg_add(int priority, const char *text, size_t size)
{
    struct record *record;

    while (size > 0 && text[size - 1] == '\n')
        size--;
    size = MIN(size, (size_t)KMSG_TEXT_MAX);
    record = malloc(sizeof(*record) + size);
    if (!record)
        return;
    record->ns = host_monotonic_ns() - ring.start_ns;
    record->priority = (uint32_t)priority;
    record->size = (uint32_t)size;
    memcpy(record->text, text, size);
    lock_acquire(&ring.lock);
    while (ring.end - ring.first == RECORDS_MAX ||
           (ring.first < ring.end && ring.size + size > KMSG_BUFFER_SIZE))
        drop_oldest_locked();
    ring.records[ring.end++ % RECORDS_MAX] = record;
    ring.size += size;
    lock_release(&ring.lock);
    wait_queue_wake(&ring.queue, 0);
}

void kmsg_printf(int priority, const char *fmt, ...)
{
    char text[KMSG_TEXT_MAX];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n > 0)
        kmsg_add(priority, text, MIN((size_t)n, sizeof(text) - 1));
}

/* A record as lines: where its text has more than one, each gets the head. */
static size_t format_lines(const struct record *record, char *buf, size_t size)
{
    uint64_t us = record->ns / 1000;
    const char *at = record->text, *end = at + record->size;
    size_t length = 0;
    char head[64];
    int n = snprintf(head, sizeof(head), "<%u>[%5lu.%06lu] ", record->priority, us / 1000000,
                     us % 1000000);

    do {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t line = (size_t)((line_end ? line_end : end) - at);

        if (length + (size_t)n + line + 1 > size)
            break;
        memcpy(buf + length, head, (size_t)n);
        memcpy(buf + length + n, at, line);
        length += (size_t)n + line;
        buf[length++] = '\n';
        at += line + 1;
    } while (at <= end);
    return length;
}

/* Text of nothing but line ends grows most: bounded by what a record may hold, and cut there. */
#define LINES_MAX (8 * KMSG_TEXT_MAX)

size_t kmsg_read_lines(uint64_t *seq, size_t *offset, char *buf, size_t size)
{
    char lines[LINES_MAX];
    size_t done = 0;

    lock_acquire(&ring.lock);
    if (*seq < ring.first) {
        *seq = ring.first;
        *offset = 0;
    }
    while (*seq < ring.end && done < size) {
        size_t length = format_lines(ring.records[*seq % RECORDS_MAX], lines, sizeof(lines));
        size_t from = MIN(*offset, length), n = MIN(length - from, size - done);

        memcpy(buf + done, lines + from, n);
        done += n;
        if (from + n < length) {
            *offset = from + n;
            break;
        }
        *offset = 0;
        (*seq)++;
    }
    lock_release(&ring.lock);
    return done;
}

size_t kmsg_lines_size(uint64_t seq, size_t offset)
{
    char lines[LINES_MAX];
    size_t size = 0;

    lock_acquire(&ring.lock);
    if (seq < ring.first) {
        seq = ring.first;
        offset = 0;
    }
    for (; seq < ring.end; seq++)
        size += format_lines(ring.records[seq % RECORDS_MAX], lines, sizeof(lines));
    lock_release(&ring.lock);
    return size > offset ? size - offset : 0;
}

uint64_t kmsg_fit(uint64_t seq, size_t size)
{
    char lines[LINES_MAX];
    uint64_t from;
    size_t total = 0;

    lock_acquire(&ring.lock);
    seq = MAX(seq, ring.first);
    for (from = ring.end; from > seq; from--) {
        total += format_lines(ring.records[(from - 1) % RECORDS_MAX], lines, sizeof(lines));
        if (total > size)
            break;
    }
    lock_release(&ring.lock);
    return from;
}

uint64_t kmsg_end(void)
{
    uint64_t end;

    lock_acquire(&ring.lock);
    end = ring.end;
    lock_release(&ring.lock);
    return end;
}

void kmsg_clear(void)
{
    lock_acquire(&ring.lock);
    ring.cleared = ring.end;
    lock_release(&ring.lock);
}

uint64_t kmsg_cleared(void)
{
    uint64_t cleared;

    lock_acquire(&ring.lock);
    cleared = ring.cleared;
    lock_release(&ring.lock);
    return cleared;
}

static int console_level = 7; /* atomic */

int kmsg_console_level(void)
{
    return __atomic_load_n(&console_level, __ATOMIC_RELAXED);
}

void kmsg_set_console_level(int level)
{
    __atomic_store_n(&console_level, level, __ATOMIC_RELAXED);
}

struct wait_queue *kmsg_queue(void)
{
    return &ring.queue;
}

int kmsg_read_record(uint64_t *seq, struct kmsg_record *ret)
{
    const struct record *record;
    int error = 0;

    lock_acquire(&ring.lock);
    if (*seq < ring.first) {
        *seq = ring.first;
        error = -EPIPE;
    } else if (*seq >= ring.end) {
        error = -EAGAIN;
    } else {
        record = ring.records[*seq % RECORDS_MAX];
        ret->ns = record->ns;
        ret->priority = record->priority;
        ret->size = record->size;
        memcpy(ret->text, record->text, record->size);
    }
    lock_release(&ring.lock);
    return error;
}
