/* Futexes: sleepers are host threads with tasks of their own in one address space. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>

#include "host/clock.h"
#include "host/thread.h"
#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/time/time.h"
#include "tests/unit/kernel_make.h"

#define WORD_A  SCRATCH
#define WORD_B  (SCRATCH + 0x1000)
#define ALL     FUTEX_BITSET_MATCH_ANY
#define WORD(a) ((struct futex_word){.addr = (a)})

struct sleeper {
    struct task *task;
    pthread_t thread;
    uint32_t bitset;
    int result;
};

static struct task *first;

static void setup(void)
{
    first = task_make(kernel_make());
    task_join(first);
}

static void *sleep_main(void *arg)
{
    struct sleeper *s = arg;

    s->result = futex_wait(s->task, WORD_A, false, 0, s->bitset, TIME_NEVER);
    return NULL;
}

static void start(struct sleeper *s, uint32_t bitset)
{
    s->task = task_create(first->kernel, first->process);
    s->task->mm = mm_ref(first->mm);
    s->bitset = bitset;
    s->result = 1;
    task_join(s->task);
    pthread_create(&s->thread, NULL, sleep_main, s);
}

static int wake(uaddr_t addr, int count, uint32_t bitset)
{
    return futex_wake(first->kernel, first->mm, addr, false, count, bitset);
}

/* Until `count` sleepers are there: the requeue to the same word tells and changes nothing. */
static void wait_for_sleepers(uaddr_t addr, int count)
{
    while (futex_requeue(first, WORD(addr), WORD(addr), 0, 1000, NULL) != count)
        host_yield();
}

Test(futex, value_and_address_are_checked, .init = setup)
{
    cr_assert_eq(futex_wait(first, WORD_A, false, 1, ALL, TIME_NEVER), -EAGAIN);
    cr_assert_eq(futex_wait(first, WORD_A + 2, false, 0, ALL, TIME_NEVER), -EINVAL);
    cr_assert_eq(futex_wait(first, 0x1000, false, 0, ALL, TIME_NEVER), -EFAULT);
    cr_assert_eq(wake(WORD_A, 1, ALL), 0);
}

Test(futex, deadline_and_signal, .init = setup)
{
    uint64_t deadline = time_monotonic_ns() + 5000000;

    cr_assert_eq(futex_wait(first, WORD_A, false, 0, ALL, deadline), -ETIMEDOUT);
    cr_assert_geq(time_monotonic_ns(), deadline);
    signal_send_task(first, SIGTERM, NULL);
    cr_assert_eq(futex_wait(first, WORD_A, false, 0, ALL, TIME_NEVER), -ERESTARTSYS);
    cr_assert_eq(wake(WORD_A, 10, ALL), 0, "nobody is left behind");
}

Test(futex, wakes_as_many_as_asked, .init = setup, .timeout = 30)
{
    struct sleeper s[4];

    for (int i = 0; i < 4; i++)
        start(&s[i], ALL);
    wait_for_sleepers(WORD_A, 4);
    cr_assert_eq(wake(WORD_B, 4, ALL), 0);
    cr_assert_eq(wake(WORD_A, 1, ALL), 1);
    cr_assert_eq(wake(WORD_A, 10, ALL), 3);
    for (int i = 0; i < 4; i++) {
        pthread_join(s[i].thread, NULL);
        cr_assert_eq(s[i].result, 0);
    }
}

Test(futex, bitsets_select, .init = setup, .timeout = 30)
{
    struct sleeper a, b;

    start(&a, 1);
    start(&b, 2);
    wait_for_sleepers(WORD_A, 2);
    cr_assert_eq(wake(WORD_A, 10, 4), 0);
    cr_assert_eq(wake(WORD_A, 10, 2), 1);
    pthread_join(b.thread, NULL);
    cr_assert_eq(b.result, 0);
    cr_assert_eq(wake(WORD_A, 10, 1), 1);
    pthread_join(a.thread, NULL);
}

Test(futex, requeue_moves_sleepers, .init = setup, .timeout = 30)
{
    struct sleeper s[3];
    const uint32_t wrong = 5, right = 0;

    for (int i = 0; i < 3; i++)
        start(&s[i], ALL);
    wait_for_sleepers(WORD_A, 3);
    cr_assert_eq(futex_requeue(first, WORD(WORD_A), WORD(WORD_B), 1, 9, &wrong), -EAGAIN);
    cr_assert_eq(futex_requeue(first, WORD(WORD_A), WORD(WORD_B), -1, 9, &right), -EINVAL);
    cr_assert_eq(futex_requeue(first, WORD(WORD_A), WORD(WORD_B), 1, 9, &right), 3);
    cr_assert_eq(wake(WORD_A, 10, ALL), 0);
    wait_for_sleepers(WORD_B, 2);
    /* One of those that moved is interrupted: it must leave the queue it is in now. */
    signal_send_process(first->process, SIGKILL, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(s[i].thread, NULL);
    cr_assert_eq(wake(WORD_B, 10, ALL), 0);
}

static void *sleep_on_two(void *arg)
{
    const struct futex_word words[2] = {WORD(WORD_B), WORD(WORD_A)};
    const uint32_t values[2] = {0, 0};
    struct sleeper *s = arg;

    s->result = futex_wait_multiple(s->task, words, values, 2, TIME_NEVER);
    return NULL;
}

Test(futex, waits_for_several, .init = setup, .timeout = 30)
{
    const struct futex_word words[2] = {WORD(WORD_A), WORD(WORD_B)};
    const uint32_t values[2] = {0, 1};
    struct sleeper s = {.task = first, .result = -1};

    cr_assert_eq(futex_wait_multiple(first, words, values, 2, TIME_NEVER), -EAGAIN);
    cr_assert_eq(wake(WORD_A, 1, ALL), 0, "nothing is left in the first queue");
    pthread_create(&s.thread, NULL, sleep_on_two, &s);
    wait_for_sleepers(WORD_A, 1);
    cr_assert_eq(wake(WORD_A, 1, ALL), 1);
    pthread_join(s.thread, NULL);
    cr_assert_eq(s.result, 1);
    cr_assert_eq(wake(WORD_B, 1, ALL), 0);
}

static uint32_t encode(uint32_t op, uint32_t arg, uint32_t cmp, uint32_t cmp_arg)
{
    return op << 28 | (arg & 0xfff) << 12 | cmp << 24 | (cmp_arg & 0xfff);
}

Test(futex, wake_op, .init = setup)
{
    uint32_t word = 0xf0;

    copy_struct_to_user(first->mm, WORD_B, &word);
    cr_assert_eq(futex_wake_op(first, WORD_A, WORD_B, false, 1, 1,
                               encode(FUTEX_OP_ADD, (uint32_t)-1, FUTEX_OP_CMP_EQ, 0xf0)),
                 0);
    cr_assert_eq(user_load32(first->mm, WORD_B, &word), 0);
    cr_assert_eq(word, 0xef);
    futex_wake_op(first, WORD_A, WORD_B, false, 1, 1,
                  encode(FUTEX_OP_SET | FUTEX_OP_OPARG_SHIFT, 31, FUTEX_OP_CMP_NE, 0));
    cr_assert_eq(user_load32(first->mm, WORD_B, &word), 0);
    cr_assert_eq(word, 1u << 31);
    cr_assert_eq(futex_wake_op(first, WORD_A, WORD_B, false, 1, 1, encode(7, 0, 0, 0)), -ENOSYS);
    cr_assert_eq(futex_wake_op(first, WORD_A, 0x2000, false, 1, 1, encode(0, 0, 0, 0)), -EFAULT);
}

static void put64(uaddr_t addr, uint64_t value)
{
    cr_assert_eq(copy_struct_to_user(first->mm, addr, &value), 0);
}

Test(futex, robust_list, .init = setup, .timeout = 30)
{
    /* head: first entry, offset of the word behind the entry, pending */
    uaddr_t head = SCRATCH + 0x100, mine = SCRATCH + 0x200, theirs = SCRATCH + 0x300;
    uint32_t word;

    first->tid = first->vtid = 77;
    put64(head, mine);
    put64(head + 8, 0x20);
    put64(head + 16, 0);
    put64(mine, theirs);
    put64(theirs, mine); /* a ring that never comes back to the head */
    put64(mine + 0x20, 77);
    put64(theirs + 0x20, 78);
    first->robust_list = head;
    robust_list_exit(first);
    cr_assert_eq(user_load32(first->mm, mine + 0x20, &word), 0);
    cr_assert_eq(word, FUTEX_OWNER_DIED);
    cr_assert_eq(user_load32(first->mm, theirs + 0x20, &word), 0);
    cr_assert_eq(word, 78);
    first->robust_list = 0xdead0000;
    robust_list_exit(first);
}
