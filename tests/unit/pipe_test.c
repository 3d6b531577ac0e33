/* Pipes: pipe(7), with host buffers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

static struct file *r, *w;
static char buf[PIPE_SIZE_DEFAULT * 2];

static void setup(void)
{
    cr_assert_eq(pipe_create(0, 7, 8, &r, &w), 0);
}

static void teardown(void)
{
    file_unref(r);
    file_unref(w);
}

TestSuite(pipe, .init = setup, .fini = teardown);

static ssize_t put(const void *bytes, size_t size)
{
    struct uio uio;

    uio_init_host(&uio, (void *)bytes, size);
    return file_write(w, &uio);
}

static ssize_t get(void *bytes, size_t size)
{
    struct uio uio;

    uio_init_host(&uio, bytes, size);
    return file_read(r, &uio);
}

Test(pipe, bytes_in_order_around_the_end_of_the_ring)
{
    unsigned char next_in = 0, next_out = 0, chunk[5000];

    for (int round = 0; round < 100; round++) {
        size_t size = 1000 + (size_t)round * 37 % 4000;

        for (size_t i = 0; i < size; i++)
            chunk[i] = next_in++;
        cr_assert_eq(put(chunk, size), (ssize_t)size);
        memset(chunk, 0, sizeof(chunk));
        cr_assert_eq(get(chunk, sizeof(chunk)), (ssize_t)size);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(chunk[i], next_out++);
    }
}

Test(pipe, small_writes_are_whole)
{
    cr_expect_eq(put(buf, PIPE_SIZE_DEFAULT - 10), PIPE_SIZE_DEFAULT - 10);
    cr_expect_eq(put(buf, 11), -EAGAIN);
    cr_expect_eq(put(buf, PIPE_BUF), -EAGAIN);
    cr_expect_eq(put(buf, PIPE_BUF + 1), 1, "a long one takes the room there is");
    cr_expect_eq(put(buf, 9), 9, "what the last page has left");
    cr_expect_eq(put(buf, 1), -EAGAIN);
    cr_expect_eq(get(buf, sizeof(buf)), PIPE_SIZE_DEFAULT);
    cr_expect_eq(get(buf, sizeof(buf)), -EAGAIN);
}

Test(pipe, the_other_end_is_closed)
{
    cr_expect_eq(put("abc", 3), 3);
    w = file_unref(w);
    cr_expect_eq(file_poll(r, NULL) & (POLLIN | POLLHUP), POLLIN | POLLHUP);
    cr_expect_eq(get(buf, 2), 2);
    cr_expect_eq(get(buf, 2), 1);
    cr_expect_eq(get(buf, 2), 0);
    cr_expect_eq(file_poll(r, NULL) & (POLLIN | POLLHUP), POLLHUP);
}

Test(pipe, nobody_reads)
{
    r = file_unref(r);
    cr_expect_eq(put("a", 1), -EPIPE);
    cr_expect_eq(put("a", 0), 0);
    cr_expect_eq(file_poll(w, NULL) & POLLERR, POLLERR);
}

Test(pipe, ends_have_one_direction)
{
    struct uio uio;

    uio_init_host(&uio, buf, 1);
    cr_expect_eq(file_read(w, &uio), -EBADF);
    cr_expect_eq(file_write(r, &uio), -EBADF);
    cr_expect_eq(file_pread(r, &uio, 0), -ESPIPE);
    cr_expect_eq(file_llseek(r, 0, 0), -ESPIPE);
}

Test(pipe, poll_tells_and_wakes)
{
    struct wait_entry entry;
    struct waiter waiter;

    waiter_init(&waiter);
    wait_entry_init(&entry, &waiter, POLLIN);
    cr_expect_eq(file_poll(r, &entry) & POLLIN, 0);
    cr_expect(file_poll(w, NULL) & POLLOUT);
    cr_expect_eq(put("a", 1), 1);
    cr_expect_eq(waiter_park(&waiter, 0), 0, "the write woke the reader");
    cr_expect(file_poll(r, NULL) & POLLIN);
    file_unpoll(r, &entry);
    cr_expect_eq(put(buf, PIPE_SIZE_DEFAULT - PIPE_BUF), PIPE_SIZE_DEFAULT - PIPE_BUF);
    cr_expect_not(file_poll(w, NULL) & POLLOUT, "room for PIPE_BUF bytes no more");
}

Test(pipe, sizes)
{
    cr_expect_eq(pipe_get_size(r), PIPE_SIZE_DEFAULT);
    cr_expect_eq(put("0123456789", 10), 10);
    cr_expect_eq(get(buf, 4), 4);
    cr_expect_eq(pipe_set_size(w, 5000, false), 8192);
    cr_expect_eq(pipe_set_size(w, 0, false), 4096);
    cr_expect_eq(get(buf, 100), 6);
    cr_expect_eq(memcmp(buf, "456789", 6), 0);
    cr_expect_eq(put(buf, 4096), 4096);
    cr_expect_eq(put(buf, 1), -EAGAIN);
    cr_expect_eq(pipe_set_size(w, 65536, false), 65536);
    cr_expect_eq(put(buf, 1), 1);
    cr_expect_eq(pipe_set_size(w, 4096, false), -EBUSY);
    cr_expect_eq(pipe_set_size(w, pipe_size_max + 1, false), -EPERM);
    cr_expect_eq(pipe_set_size(w, UINT64_MAX, false), -EINVAL);
}

Test(pipe, status)
{
    struct linux_stat st;

    cr_expect_eq(file_stat(r, &st), 0);
    cr_expect_eq(st.st_mode, S_IFIFO | 0600);
    cr_expect_eq(st.st_uid, 7);
    cr_expect_eq(st.st_gid, 8);
}

Test(pipe, all_pipes_together_are_bounded)
{
    static struct file *ends[4000];
    size_t total = 0, again;

    for (size_t i = 0; i < ARRAY_COUNT(ends); i += 2) {
        cr_assert_eq(pipe_create(0, 0, 0, &ends[i], &ends[i + 1]), 0);
        total += (size_t)pipe_get_size(ends[i]);
    }
    cr_expect_leq(total, (64u << 20) + 2000 * 8192);
    cr_expect_eq(pipe_set_size(ends[0], pipe_size_max, false), -EPERM);
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        file_unref(ends[i]);
    cr_assert_eq(pipe_create(0, 0, 0, &ends[0], &ends[1]), 0);
    again = (size_t)pipe_get_size(ends[0]);
    cr_expect_eq(again, PIPE_SIZE_DEFAULT, "what was let go can be had again");
    file_unref(ends[0]);
    file_unref(ends[1]);
}
