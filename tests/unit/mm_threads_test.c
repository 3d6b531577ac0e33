/*
 * Several threads in one address space: no fault that the program may make is ever answered with a
 * signal, whoever maps, unmaps, forks or copies meanwhile.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "sentry/mm/internal.h"
#include "sentry/mm/usercopy.h"
#include "tests/unit/mm_check.h"

#define RW     (PROT_READ | PROT_WRITE)
#define PAGES  64
#define ROUNDS 20000

static struct sandbox box;
static uaddr_t area;
static bool stop;
static int failures;

static void setup(void)
{
    sandbox_init(&box, 256UL << 20);
    area = (uaddr_t)map_anon(box.mm, PAGES * PAGE_SIZE, RW);
    stop = false;
    failures = 0;
}

static void teardown(void)
{
    mm_check(box.mm);
    sandbox_fini(&box);
}

TestSuite(mm_threads, .init = setup, .fini = teardown, .timeout = 60);

static bool is_mapped(uaddr_t addr, int need)
{
    const struct fake_mapping *m;
    bool mapped;

    lock_acquire(&box.mm->lock);
    m = fake_mapping_find(mm_address_space(box.mm), addr);
    mapped = m && (m->prot & need);
    lock_release(&box.mm->lock);
    return mapped;
}

/* What a CPU does with a store, on a host that does not tell the kind of access. */
static void store(uaddr_t addr, enum access access)
{
    for (int tries = 0; !is_mapped(addr, PROT_WRITE); tries++) {
        int signo, code;

        sched_yield(); /* between the access and its fault, others are served */
        if (mm_fault(box.mm, addr, access, &signo, &code) || tries > 100000) {
            __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
            return;
        }
    }
}

static void *storing(void *arg)
{
    unsigned int seed = (unsigned int)(uintptr_t)arg;

    for (int i = 0; i < ROUNDS; i++)
        store(area + (uaddr_t)rand_r(&seed) % PAGES * PAGE_SIZE + 8,
              i % 3 ? ACCESS_UNKNOWN : ACCESS_WRITE);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    return NULL;
}

static void *copying(void *arg)
{
    static const uint8_t data[3 * PAGE_SIZE];
    uint8_t back[3 * PAGE_SIZE];

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uaddr_t at = area + 7 * PAGE_SIZE + 100;

        if (copy_to_user(box.mm, at, data, sizeof(data)) ||
            copy_from_user(box.mm, back, at + 5000, sizeof(back)))
            __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void *disturbing(void *arg)
{
    unsigned int seed = 99;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t first = (uint64_t)rand_r(&seed) % (PAGES - 8);
        struct mm *child;

        mm_advise(box.mm, area + first * PAGE_SIZE, 8 * PAGE_SIZE, MADV_DONTNEED);
        if (mm_fork(box.mm, &child) == 0)
            mm_unref(child);
        mm_unmap(box.mm, (uaddr_t)map_anon(box.mm, 4 * PAGE_SIZE, PROT_READ), 4 * PAGE_SIZE);
    }
    return NULL;
}

Test(mm_threads, nobody_is_signalled_by_mistake)
{
    void *(*const bodies[])(void *) = {storing, storing, copying, disturbing};
    pthread_t threads[ARRAY_COUNT(bodies)];

    for (uintptr_t i = 0; i < ARRAY_COUNT(bodies); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, bodies[i], (void *)(i + 1)), 0);
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(failures, 0);
}
