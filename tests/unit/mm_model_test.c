/*
 * Random operations on a few address spaces, compared with a model that is one struct a page. After
 * each operation tree, page map, platform and counts must agree (mm_check), and at the end no page
 * may be left.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "sentry/mm/usercopy.h"
#include "tests/unit/mm_check.h"

#define PAGES                    192
#define BASE                     0x20000000UL
#define PROCESSES                3
#define OBJECTS                  4096
#define OPERATIONS               3000

#define LINUX_MADV_GUARD_INSTALL 102
#define LINUX_MADV_GUARD_REMOVE  103
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

struct model_page {
    bool mapped, guard, wipe;
    int prot;
    int object;      /* 0: private */
    int object_page; /* in the object */
    uint8_t byte;    /* of a private page */
};

struct process {
    struct mm *mm; /* NULL: not there */
    struct model_page pages[PAGES];
};

struct model {
    struct sandbox box;
    struct process processes[PROCESSES];
    uint8_t objects[OBJECTS][PAGES]; /* a byte for each page */
    int object_count;
    uint64_t random;
};

static uint64_t any(struct model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (m->random >> 11) % below;
}

static uaddr_t page_addr(uint64_t page)
{
    return BASE + page * PAGE_SIZE;
}

static uint8_t *byte_of(struct model *m, struct model_page *p)
{
    return p->object ? &m->objects[p->object][p->object_page] : &p->byte;
}

static int any_prot(struct model *m)
{
    static const int prots[] = {PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ,
                                PROT_NONE,
                                PROT_READ | PROT_EXEC,
                                PROT_WRITE};

    return prots[any(m, ARRAY_COUNT(prots))];
}

/* Does the access work, by the model? 0 or -SEGV_*. */
static int expected(const struct model_page *p, enum access access)
{
    int need = access == ACCESS_WRITE  ? PROT_WRITE
               : access == ACCESS_EXEC ? PROT_EXEC
                                       : PROT_READ | PROT_WRITE | PROT_EXEC;

    if (!p->mapped)
        return -SEGV_MAPERR;
    if (!(p->prot & need))
        return -SEGV_ACCERR;
    return p->guard ? -SEGV_MAPERR : 0;
}

static void op_map(struct model *m, struct process *p, uint64_t first, uint64_t count)
{
    int prot = any_prot(m), object = 0;
    int flags = MAP_ANONYMOUS | MAP_FIXED;

    if (any(m, 4) == 0 && m->object_count + 1 < OBJECTS)
        object = ++m->object_count;
    flags |= object ? MAP_SHARED : MAP_PRIVATE;
    if (any(m, 8) == 0)
        flags |= MAP_POPULATE;
    cr_assert_eq((uaddr_t)map_at(p->mm, page_addr(first), count * PAGE_SIZE, prot, flags),
                 page_addr(first));
    for (uint64_t i = 0; i < count; i++)
        p->pages[first + i] = (struct model_page){
            .mapped = true, .prot = prot, .object = object, .object_page = (int)i};
}

static void op_unmap(struct process *p, uint64_t first, uint64_t count)
{
    cr_assert_eq(mm_unmap(p->mm, page_addr(first), count * PAGE_SIZE), 0);
    memset(&p->pages[first], 0, count * sizeof(p->pages[0]));
}

static void op_protect(struct model *m, struct process *p, uint64_t first, uint64_t count)
{
    int prot = any_prot(m), want = 0;

    for (uint64_t i = first; i < first + count; i++) {
        if (!p->pages[i].mapped) {
            want = -ENOMEM;
            break;
        }
        p->pages[i].prot = prot;
    }
    cr_assert_eq(mm_protect(p->mm, page_addr(first), count * PAGE_SIZE, prot), want);
}

static void op_remap(struct model *m, struct process *p, uint64_t first, uint64_t count)
{
    uint64_t to = any(m, PAGES - count + 1);
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (any(m, 4) == 0 ? MREMAP_DONTUNMAP : 0), err;
    int want = 0;
    uaddr_t addr = 0;

    if (to < first + count && first < to + count)
        want = -EINVAL;
    else if (!p->pages[first].mapped)
        want = -EFAULT;
    err = mm_remap(p->mm, page_addr(first), count * PAGE_SIZE, count * PAGE_SIZE, flags,
                   page_addr(to), &addr);
    cr_assert_eq(err, want, "mremap %lu+%lu to %lu: %d, not %d", first, count, to, err, want);
    if (err)
        return;
    cr_assert_eq(addr, page_addr(to));
    for (uint64_t i = 0; i < count; i++) {
        struct model_page *from = &p->pages[first + i];

        if (!from->mapped)
            continue;
        p->pages[to + i] = *from;
        if (!(flags & MREMAP_DONTUNMAP))
            *from = (struct model_page){0};
        from->byte = 0;
        from->guard = false;
    }
}

static void op_resize(struct model *m, struct process *p, uint64_t first, uint64_t count)
{
    uint64_t size = 1 + any(m, 40);
    uaddr_t addr = 0;
    int err;

    /* Without MAYMOVE: shrinks, or grows where nothing is in the way, or fails. */
    err = mm_remap(p->mm, page_addr(first), count * PAGE_SIZE, size * PAGE_SIZE, 0, 0, &addr);
    if (!p->pages[first].mapped) {
        cr_assert_eq(err, -EFAULT);
        return;
    }
    if (size <= count) {
        cr_assert_eq(err, 0);
        memset(&p->pages[first + size], 0, (count - size) * sizeof(p->pages[0]));
        return;
    }
    if (err) {
        cr_assert(err == -EFAULT || err == -ENOMEM);
        return;
    }
    for (uint64_t i = first + count; i < first + size; i++) {
        if (i >= PAGES) {
            cr_assert_eq(mm_unmap(p->mm, page_addr(PAGES), (first + size - PAGES) * PAGE_SIZE), 0);
            break;
        }
        cr_assert(!p->pages[i].mapped);
        p->pages[i] = p->pages[i - 1];
        p->pages[i].object_page++;
        p->pages[i].byte = 0;
        p->pages[i].guard = false;
        /* Behind the end of the object there is only SIGBUS: not this test's matter. */
        if (p->pages[i].object) {
            cr_assert_eq(mm_unmap(p->mm, page_addr(i), (first + size - i) * PAGE_SIZE), 0);
            p->pages[i] = (struct model_page){0};
            break;
        }
    }
}

static void op_advise(struct model *m, struct process *p, uint64_t first, uint64_t count)
{
    static const int advices[] = {MADV_DONTNEED,
                                  MADV_DONTNEED,
                                  MADV_WIPEONFORK,
                                  MADV_KEEPONFORK,
                                  LINUX_MADV_GUARD_INSTALL,
                                  LINUX_MADV_GUARD_REMOVE};
    int advice = advices[any(m, ARRAY_COUNT(advices))], want = 0;

    for (uint64_t i = first; i < first + count; i++) {
        struct model_page *page = &p->pages[i];

        if (!page->mapped) {
            want = -ENOMEM;
            continue;
        }
        if (page->object && advice == MADV_WIPEONFORK) {
            want = -EINVAL;
            break;
        }
        if (advice == MADV_WIPEONFORK || advice == MADV_KEEPONFORK)
            page->wipe = advice == MADV_WIPEONFORK;
        else if (advice == MADV_DONTNEED)
            page->byte = 0;
        else
            page->guard = advice == LINUX_MADV_GUARD_INSTALL;
        if (advice == LINUX_MADV_GUARD_INSTALL)
            page->byte = 0;
    }
    cr_assert_eq(mm_advise(p->mm, page_addr(first), count * PAGE_SIZE, advice), want);
}

static void op_access(struct model *m, struct process *p, uint64_t first, uint64_t count)
{
    static const enum access accesses[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC};
    enum access access = accesses[any(m, 3)];

    for (uint64_t i = first; i < first + MIN(count, 4UL); i++) {
        struct model_page *page = &p->pages[i];
        int want = expected(page, access);

        if (access == ACCESS_EXEC) {
            cr_assert_eq(touch(p->mm, page_addr(i), access), want);
        } else if (access == ACCESS_WRITE) {
            uint8_t value = (uint8_t)any(m, 255);

            cr_assert_eq(poke(p->mm, page_addr(i), value), want, "write to page %lu", i);
            if (want == 0)
                *byte_of(m, page) = value;
        } else {
            cr_assert_eq(peek(p->mm, page_addr(i)), want ? want : *byte_of(m, page),
                         "read of page %lu", i);
        }
    }
}

static void op_copy(struct model *m, struct process *p, uint64_t first, uint64_t count)
{
    static uint8_t buf[PAGES * PAGE_SIZE];
    enum access access = any(m, 2) ? ACCESS_WRITE : ACCESS_READ;
    uint64_t ok = 0, size = count * PAGE_SIZE;

    while (ok < count && expected(&p->pages[first + ok], access) == 0)
        ok++;
    if (access == ACCESS_READ) {
        cr_assert_eq(copy_from_user_partial(p->mm, buf, page_addr(first), size), ok * PAGE_SIZE);
        for (uint64_t i = 0; i < ok; i++)
            cr_assert_eq(buf[i * PAGE_SIZE], *byte_of(m, &p->pages[first + i]));
        return;
    }
    memset(buf, (int)any(m, 256), size);
    cr_assert_eq(copy_to_user_partial(p->mm, page_addr(first), buf, size), ok * PAGE_SIZE);
    for (uint64_t i = 0; i < ok; i++)
        *byte_of(m, &p->pages[first + i]) = buf[0];
}

static void op_fork(struct model *m, struct process *p)
{
    struct process *child = &m->processes[any(m, PROCESSES)];

    if (child == p)
        return;
    child->mm = mm_unref(child->mm);
    cr_assert_eq(mm_fork(p->mm, &child->mm), 0);
    memcpy(child->pages, p->pages, sizeof(p->pages));
    for (int i = 0; i < PAGES; i++) {
        if (child->pages[i].wipe) {
            child->pages[i].byte = 0;
            child->pages[i].guard = false;
        }
    }
}

static void operate(struct model *m, struct process *p)
{
    uint64_t first = any(m, PAGES), count = 1 + any(m, MIN(PAGES - first, 48UL));

    switch (any(m, 20)) {
    case 0 ... 2:
        op_map(m, p, first, count);
        break;
    case 3 ... 4:
        op_unmap(p, first, count);
        break;
    case 5 ... 7:
        op_protect(m, p, first, count);
        break;
    case 8 ... 9:
        op_remap(m, p, first, count);
        break;
    case 10:
        op_resize(m, p, first, count);
        break;
    case 11 ... 12:
        op_advise(m, p, first, count);
        break;
    case 13 ... 14:
        op_copy(m, p, first, count);
        break;
    case 15:
        op_fork(m, p);
        break;
    default:
        op_access(m, p, first, count);
        break;
    }
}

static void run(uint64_t seed)
{
    static struct model m;

    memset(&m, 0, sizeof(m));
    m.random = seed * 0x9e3779b97f4a7c15 + 1;
    sandbox_init(&m.box, 64UL << 20);
    m.box.env.limits.maps_cheaply = seed % 2;
    m.processes[0].mm = mm_ref(m.box.mm);
    for (int i = 0; i < OPERATIONS; i++) {
        struct process *p = &m.processes[any(&m, PROCESSES)];

        if (!p->mm)
            continue;
        if (any(&m, 30) == 0)
            fake_fail_map(mm_address_space(p->mm), any(&m, 4), -ENOMEM);
        operate(&m, p);
        for (int k = 0; k < PROCESSES; k++) {
            if (m.processes[k].mm)
                mm_check(m.processes[k].mm);
        }
    }
    for (int k = 0; k < PROCESSES; k++)
        mm_unref(m.processes[k].mm);
    sandbox_fini(&m.box);
}

TestSuite(mm_model, .timeout = 120);

Test(mm_model, random_operations)
{
    for (uint64_t seed = 1; seed <= 30; seed++)
        run(seed);
}
