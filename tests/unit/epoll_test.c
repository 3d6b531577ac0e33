/* epoll(7) over pipes: triggers, one-shot, nesting, and files that go while they are watched. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>

#include "sentry/fs/event/epoll.h"
#include "sentry/fs/event/eventfd.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

static struct file *ep, *ev;
static struct linux_epoll_event got[8];
static int got_count;

static void setup(void)
{
    cr_assert_eq(epoll_create_file(&ep), 0);
    cr_assert_eq(eventfd_create(0, 0, &ev), 0);
}

static void teardown(void)
{
    file_unref(ep);
    file_unref(ev);
}

TestSuite(epoll, .init = setup, .fini = teardown, .timeout = 30);

static int control(int op, struct file *target, uint32_t events)
{
    struct linux_epoll_event event = {events, 42};

    return epoll_control(ep, op, 5, target, &event);
}

static bool take(void *arg, const struct linux_epoll_event *event)
{
    if (got_count == (int)ARRAY_COUNT(got))
        return false;
    got[got_count++] = *event;
    return true;
}

static int collect(void)
{
    got_count = 0;
    return epoll_collect(ep, 8, take, NULL);
}

static void add_to(struct file *f, uint64_t value)
{
    struct uio uio;

    uio_init_host(&uio, &value, sizeof(value));
    cr_assert_eq(file_write(f, &uio), sizeof(value));
}

static void drain(struct file *f)
{
    uint64_t value;
    struct uio uio;

    uio_init_host(&uio, &value, sizeof(value));
    cr_assert_eq(file_read(f, &uio), sizeof(value));
}

Test(epoll, level_triggered)
{
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN), 0);
    cr_expect_eq(collect(), 0);
    add_to(ev, 1);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(collect(), 1);
        cr_expect_eq(got[0].events, EPOLLIN);
        cr_expect_eq(got[0].data, 42);
    }
    cr_expect(file_poll(ep, NULL) & EPOLLIN);
    drain(ev);
    cr_expect_eq(file_poll(ep, NULL), 0);
    cr_expect_eq(collect(), 0);
}

Test(epoll, ready_before_it_is_added)
{
    add_to(ev, 1);
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLOUT), 0);
    cr_expect_eq(collect(), 1);
    cr_expect_eq(got[0].events, EPOLLIN | EPOLLOUT);
}

Test(epoll, edge_triggered)
{
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLET), 0);
    add_to(ev, 1);
    cr_expect_eq(collect(), 1);
    cr_expect_eq(collect(), 0);
    add_to(ev, 1);
    cr_expect_eq(collect(), 1, "each change is an edge");
}

Test(epoll, one_shot)
{
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLONESHOT), 0);
    add_to(ev, 1);
    cr_expect_eq(collect(), 1);
    add_to(ev, 1);
    cr_expect_eq(collect(), 0);
    cr_expect_eq(control(EPOLL_CTL_MOD, ev, EPOLLIN | EPOLLONESHOT), 0);
    cr_expect_eq(collect(), 1);
}

Test(epoll, control_errors)
{
    struct file *other;

    cr_expect_eq(control(EPOLL_CTL_MOD, ev, EPOLLIN), -ENOENT);
    cr_expect_eq(control(EPOLL_CTL_DEL, ev, 0), -ENOENT);
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN), 0);
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN), -EEXIST);
    cr_expect_eq(control(EPOLL_CTL_DEL, ev, 0), 0);
    add_to(ev, 1);
    cr_expect_eq(collect(), 0);
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), -EINVAL);

    cr_assert_eq(epoll_create_file(&other), 0);
    cr_expect_eq(control(EPOLL_CTL_ADD, other, EPOLLIN), 0);
    cr_expect_eq(
        epoll_control(other, EPOLL_CTL_ADD, 3, ep, &(struct linux_epoll_event){EPOLLIN, 0}),
        -ELOOP);
    file_unref(other);
}

Test(epoll, nested)
{
    struct file *outer;
    struct linux_epoll_event event = {EPOLLIN, 7};

    cr_assert_eq(epoll_create_file(&outer), 0);
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN), 0);
    cr_expect_eq(epoll_control(outer, EPOLL_CTL_ADD, 3, ep, &event), 0);
    cr_expect_eq(file_poll(outer, NULL), 0);
    add_to(ev, 1);
    cr_expect(file_poll(outer, NULL) & EPOLLIN);
    got_count = 0;
    cr_expect_eq(epoll_collect(outer, 8, take, NULL), 1);
    cr_expect_eq(got[0].data, 7);
    drain(ev);
    cr_expect_eq(epoll_collect(outer, 8, take, NULL), 0);
    file_unref(outer);
}

Test(epoll, refused_event_is_kept)
{
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLET), 0);
    add_to(ev, 1);
    got_count = ARRAY_COUNT(got);
    cr_expect_eq(epoll_collect(ep, 8, take, NULL), 0);
    cr_expect_eq(collect(), 1);
}

Test(epoll, wakes_waiters)
{
    struct wait_entry entry;
    struct waiter waiter;

    waiter_init(&waiter);
    wait_entry_init(&entry, &waiter, EPOLLIN);
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN), 0);
    cr_expect_eq(file_poll(ep, &entry), 0);
    add_to(ev, 1);
    cr_expect_eq(waiter_park(&waiter, 0), 0);
    file_unpoll(ep, &entry);
}

Test(epoll, watched_file_goes)
{
    cr_expect_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN), 0);
    add_to(ev, 1);
    ev = file_unref(ev);
    cr_expect_eq(collect(), 0);
}

static void *drop(void *arg)
{
    file_unref(arg);
    return NULL;
}

/* Both ends of the relation go at once, in every order that two threads find. */
Test(epoll, both_go_at_once)
{
    for (int i = 0; i < 300; i++) {
        pthread_t a, b;

        cr_assert_eq(control(EPOLL_CTL_ADD, ev, EPOLLIN), 0);
        cr_assert_eq(pthread_create(&a, NULL, drop, ep), 0);
        cr_assert_eq(pthread_create(&b, NULL, drop, ev), 0);
        pthread_join(a, NULL);
        pthread_join(b, NULL);
        setup();
    }
}
