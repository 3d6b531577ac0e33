/*
 * Copies between the Sentry and guest memory. Guest memory is found as the guest's own access finds
 * it: an entry of the page map with the right, else a page fault. So a copy can never do what the
 * program itself could not.
 *
 * mm->lock is held while bytes move, for at most BATCH bytes, so that the page stays.
 */
#include "sentry/mm/usercopy.h"

#include <errno.h>
#include <string.h>

#include "sentry/mm/internal.h"

#define BATCH (64UL << 10)

enum direction { FROM_USER, TO_USER, CLEAR_USER };

static bool range_ok(const struct mm *mm, uaddr_t addr, size_t size)
{
    uaddr_t max = mm->env->limits.user_max;

    return addr <= max && size <= max - addr;
}

/* The Sentry's pointer to a guest byte, good until mm->lock is released; NULL: -EFAULT. */
static inline uint8_t *user_byte(struct mm *mm, uaddr_t addr, enum access access)
    __must_hold(mm->lock)
{
    uint64_t right = access == ACCESS_WRITE ? PROT_WRITE : PROT_READ, entry;
    struct fault_info info;

    for (;;) {
        entry = pmap_get(&mm->pmap, addr);
        if (likely(entry & right))
            return (uint8_t *)memfile_ptr(mm->env->memfile, entry & ~PMAP_FLAGS) +
                   (addr & ~PAGE_MASK);
        if (mm_fault_locked(mm, addr, access, 0, &info))
            return NULL;
    }
}

static void move(uint8_t *guest, uint8_t *host, size_t n, enum direction dir)
{
    if (dir == FROM_USER)
        memcpy(host, guest, n);
    else if (dir == TO_USER)
        memcpy(guest, host, n);
    else
        memset(guest, 0, n);
}

/* Bytes moved. */
static size_t copy(struct mm *mm, uaddr_t addr, void *buf, size_t size, enum direction dir)
{
    enum access access = dir == FROM_USER ? ACCESS_READ : ACCESS_WRITE;
    uint8_t *host = buf, *guest = NULL;
    size_t done = 0;

    if (!range_ok(mm, addr, size))
        return 0;
    while (done < size) {
        size_t stop = MIN(size, done + BATCH);

        lock_acquire(&mm->lock);
        while (done < stop) {
            size_t n = MIN(stop - done, PAGE_SIZE - ((addr + done) & ~PAGE_MASK));

            guest = user_byte(mm, addr + done, access);
            if (!guest)
                break;
            move(guest, dir == CLEAR_USER ? NULL : host + done, n, dir);
            done += n;
        }
        lock_release(&mm->lock);
        if (!guest)
            break;
    }
    return done;
}

int copy_from_user(struct mm *mm, void *dst, uaddr_t src, size_t size)
{
    return copy(mm, src, dst, size, FROM_USER) == size ? 0 : -EFAULT;
}

int copy_to_user(struct mm *mm, uaddr_t dst, const void *src, size_t size)
{
    return copy(mm, dst, (void *)src, size, TO_USER) == size ? 0 : -EFAULT;
}

size_t copy_from_user_partial(struct mm *mm, void *dst, uaddr_t src, size_t size)
{
    return copy(mm, src, dst, size, FROM_USER);
}

size_t copy_to_user_partial(struct mm *mm, uaddr_t dst, const void *src, size_t size)
{
    return copy(mm, dst, (void *)src, size, TO_USER);
}

size_t clear_user_partial(struct mm *mm, uaddr_t dst, size_t size)
{
    return copy(mm, dst, NULL, size, CLEAR_USER);
}

int clear_user(struct mm *mm, uaddr_t dst, size_t size)
{
    return clear_user_partial(mm, dst, size) == size ? 0 : -EFAULT;
}

ssize_t strncpy_from_user(struct mm *mm, char *dst, uaddr_t src, size_t size)
{
    size_t done = 0, step = 64;
    uaddr_t max = mm->env->limits.user_max;

    /* Bytes are copied first and looked at afterwards: the program may change them meanwhile. */
    while (done < size) {
        size_t in_page = PAGE_SIZE - ((src + done) & ~PAGE_MASK), n = MIN(step, size - done);
        const char *nul;

        n = MIN(n, in_page);
        if (src > max || done >= max - src || copy(mm, src + done, dst + done, n, FROM_USER) != n)
            return -EFAULT;
        nul = memchr(dst + done, 0, n);
        if (nul)
            return nul - dst;
        done += n;
        step = MIN(2 * step, PAGE_SIZE);
    }
    return -ENAMETOOLONG;
}

int check_zero_from_user(struct mm *mm, uaddr_t src, size_t known, size_t size)
{
    for (size_t at = known; at < size; at++) {
        uint8_t byte;

        if (copy_struct_from_user(mm, &byte, src + at) < 0)
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    return 0;
}

int user_load32(struct mm *mm, uaddr_t addr, uint32_t *ret)
{
    uint8_t *p;

    if (!is_aligned(addr, sizeof(uint32_t)) || !range_ok(mm, addr, sizeof(uint32_t)))
        return -EFAULT;
    lock_acquire(&mm->lock);
    p = user_byte(mm, addr, ACCESS_READ);
    if (p)
        *ret = __atomic_load_n((uint32_t *)(void *)p, __ATOMIC_SEQ_CST);
    lock_release(&mm->lock);
    return p ? 0 : -EFAULT;
}

int user_cmpxchg32(struct mm *mm, uaddr_t addr, uint32_t expect, uint32_t desired,
                   uint32_t *ret_old)
{
    uint8_t *p;

    if (!is_aligned(addr, sizeof(uint32_t)) || !range_ok(mm, addr, sizeof(uint32_t)))
        return -EFAULT;
    lock_acquire(&mm->lock);
    p = user_byte(mm, addr, ACCESS_WRITE);
    if (p) {
        /* On failure the builtin stores what it found into `expect`. */
        __atomic_compare_exchange_n((uint32_t *)(void *)p, &expect, desired, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *ret_old = expect;
    }
    lock_release(&mm->lock);
    return p ? 0 : -EFAULT;
}
