/* /dev/kmsg: the kernel's log record by record, and a way to write into it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/dev/kmsg.h"
#include "sentry/fs/treefs.h"
#include "sentry/mm/uio.h"
#include "sentry/wait/wait.h"

#define LINE_MAX_SIZE (64 + 4 * KMSG_TEXT_MAX) /* every byte may become an escape */
#define LEVEL_MASK    7

struct kmsg_file {
    struct file file;
    struct lock lock;
    uint64_t seq __guarded_by(lock);
};

static struct kmsg_file *kmsg_file_of(struct file *f)
{
    return container_of(f, struct kmsg_file, file);
}

/* "6,sequence,microseconds,-;text": what is not printable is escaped. */
static size_t format_record(uint64_t seq, const struct kmsg_record *r, char *buf)
{
    size_t length = (size_t)sprintf(buf, "%u,%lu,%lu,-;", r->priority, seq, r->ns / 1000);

    for (uint32_t i = 0; i < r->size; i++) {
        uint8_t c = (uint8_t)r->text[i];

        if (c < ' ' || c >= 127 || c == '\\')
            length += (size_t)sprintf(buf + length, "\\x%02x", c);
        else
            buf[length++] = (char)c;
    }
    buf[length++] = '\n';
    return length;
}

static ssize_t kmsg_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct kmsg_file *k = kmsg_file_of(f);
    char line[LINE_MAX_SIZE];
    struct kmsg_record record;
    uint64_t seq;
    size_t length = 0;
    int err;

    lock_acquire(&k->lock);
    err = kmsg_read_record(&k->seq, &record);
    seq = k->seq;
    if (err == 0) {
        length = format_record(seq, &record, line);
        if (length > uio->left)
            err = -EINVAL;
        k->seq++; /* also then, as on Linux */
    }
    lock_release(&k->lock);
    return err < 0 ? err : uio_copy_out(uio, line, length);
}

/* "<N>text" with facility and level; a program's facility is never the kernel's. */
static int parse_priority(const char **text)
{
    char *end;
    unsigned long value;

    if ((*text)[0] != '<')
        return LOG_USER | LOG_NOTICE;
    value = strtoul(*text + 1, &end, 10);
    if (end == *text + 1 || *end != '>' || value > 0xffff)
        return LOG_USER | LOG_NOTICE;
    *text = end + 1;
    if (value <= LEVEL_MASK)
        value |= LOG_USER;
    return (int)value;
}

static ssize_t kmsg_write(struct file *f, struct uio *uio, int64_t *pos)
{
    char buf[KMSG_TEXT_MAX + 1];
    const char *text = buf;
    ssize_t size = (ssize_t)uio->left;
    ssize_t n;
    int priority;

    if (size > KMSG_TEXT_MAX)
        return -EINVAL;
    n = uio_copy_in(uio, buf, (size_t)size);
    if (n < 0 || n < size)
        return -EFAULT;
    buf[n] = 0;
    priority = parse_priority(&text);
    kmsg_add(priority, text, (size_t)(buf + n - text));
    return size;
}

static int64_t kmsg_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    struct kmsg_file *k = kmsg_file_of(f);
    uint64_t seq;

    if (offset != 0)
        return -ESPIPE;
    switch (whence) {
    case SEEK_SET:
        seq = 0;
        break;
    case SEEK_DATA:
        seq = kmsg_cleared();
        break;
    case SEEK_END:
        seq = kmsg_end();
        break;
    default:
        return -EINVAL;
    }
    lock_acquire(&k->lock);
    k->seq = kmsg_fit(seq, KMSG_BUFFER_SIZE * 16UL);
    lock_release(&k->lock);
    return 0;
}

static uint32_t kmsg_poll(struct file *f, struct wait_entry *entry)
{
    struct kmsg_file *k = kmsg_file_of(f);
    uint32_t events = POLLOUT | POLLWRNORM;

    if (entry)
        wait_queue_add(kmsg_queue(), entry);
    lock_acquire(&k->lock);
    if (k->seq < kmsg_end())
        events |= POLLIN | POLLRDNORM;
    lock_release(&k->lock);
    return events;
}

static void kmsg_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(kmsg_queue(), entry);
}

static void kmsg_release(struct file *f)
{
    struct kmsg_file *k = kmsg_file_of(f);

    lock_destroy(&k->lock);
    file_fini(f);
    free(k);
}

static const struct file_operations kmsg_operations = {
    .read = kmsg_read,
    .write = kmsg_write,
    .llseek = kmsg_llseek,
    .poll = kmsg_poll,
    .unpoll = kmsg_unpoll,
    .release = kmsg_release,
};

int kmsg_open(uint32_t flags, struct file **ret)
{
    struct kmsg_file *k = calloc(1, sizeof(*k));

    if (!k)
        return -ENOMEM;
    file_init(&k->file, &kmsg_operations, flags);
    lock_init(&k->lock);
    k->seq = kmsg_fit(0, KMSG_BUFFER_SIZE * 16UL); /* the oldest */
    *ret = &k->file;
    return 0;
}
