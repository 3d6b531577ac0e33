/*
 * A debugger's hand in another program's memory: ptrace(2) and /proc/PID/mem. The protection of
 * private memory does not stop it: what may only be executed can be read, and a breakpoint that is
 * written into a program's text makes a private copy of the page (Linux FOLL_FORCE). Shared memory
 * keeps its rights, for others would see the write.
 */
#include <errno.h>
#include <string.h>

#include "sentry/mm/internal.h"
#include "sentry/mm/usercopy.h"

#define BATCH (64UL << 10)

/* The page can be used as it is. */
static bool usable(struct mm *mm, uaddr_t addr, uint64_t entry, bool write) __must_hold(mm->lock)
{
    struct vma *vma;

    if (!(entry & PMAP_PRESENT) || (entry & PMAP_GUARD))
        return false;
    if (!write || (entry & PROT_WRITE))
        return true;
    vma = vma_at(mm, addr);
    return vma && vma_is_private(vma) && !mm_entry_needs_copy(mm, entry);
}

static bool may_write(struct mm *mm, uaddr_t addr) __must_hold(mm->lock)
{
    struct vma *vma = vma_at(mm, addr);

    return vma && (vma_is_private(vma) || (vma->prot & PROT_WRITE));
}

static bool is_secret(struct mm *mm, uaddr_t addr) __must_hold(mm->lock)
{
    const struct vma *vma = vma_at(mm, addr);

    return vma && vma_is_secret(vma);
}

static uint8_t *remote_byte(struct mm *mm, uaddr_t addr, bool write) __must_hold(mm->lock)
{
    if (is_secret(mm, addr))
        return NULL;
    for (;;) {
        uint64_t entry = pmap_get(&mm->pmap, addr);

        if (usable(mm, addr, entry, write))
            return (uint8_t *)memfile_ptr(mm->env->memfile, entry & ~PMAP_FLAGS) +
                   (addr & ~PAGE_MASK);
        if (write && !may_write(mm, addr))
            return NULL;
        if (mm_fault_forced_locked(mm, addr, write))
            return NULL;
    }
}

static size_t transfer(struct mm *mm, uaddr_t addr, uint8_t *host, size_t size, bool write)
{
    uaddr_t max = mm->env->limits.user_max;
    uint8_t *guest = NULL;
    size_t done = 0;

    if (addr > max)
        return 0;
    size = MIN(size, max - addr);
    while (done < size) {
        size_t stop = MIN(size, done + BATCH);

        lock_acquire(&mm->lock);
        while (done < stop) {
            size_t n = MIN(stop - done, PAGE_SIZE - ((addr + done) & ~PAGE_MASK));

            guest = remote_byte(mm, addr + done, write);
            if (!guest)
                break;
            if (write)
                memcpy(guest, host + done, n);
            else
                memcpy(host + done, guest, n);
            done += n;
        }
        lock_release(&mm->lock);
        if (!guest)
            break;
    }
    return done;
}

size_t mm_remote_read(struct mm *mm, uaddr_t addr, void *buf, size_t size)
{
    return transfer(mm, addr, buf, size, false);
}

size_t mm_remote_write(struct mm *mm, uaddr_t addr, const void *buf, size_t size)
{
    return transfer(mm, addr, (uint8_t *)buf, size, true);
}

uint64_t mm_not_secret(struct mm *mm, uaddr_t addr, uint64_t size)
{
    uint64_t before = size;

    lock_acquire(&mm->lock);
    for (struct vma *v = vma_find(mm, addr); v && v->start < addr + size; v = vma_next(v)) {
        if (!vma_is_secret(v))
            continue;
        before = v->start > addr ? v->start - addr : 0;
        break;
    }
    lock_release(&mm->lock);
    return before;
}

/* The page stays in the page map; the platform's mapping comes back with the fault. */
void mm_remote_hide(struct mm *mm, uaddr_t addr)
{
    uaddr_t page = round_down(addr, PAGE_SIZE);
    uint64_t entry;

    if (page >= mm->env->limits.user_max)
        return;
    lock_acquire(&mm->lock);
    entry = pmap_get(&mm->pmap, page);
    if ((entry & PMAP_PRESENT) && (entry & PMAP_RIGHTS)) {
        mm_platform_unmap(mm, page, page + PAGE_SIZE);
        /* The leaf exists: this cannot fail. */
        (void)pmap_set_run(&mm->pmap, page, PAGE_SIZE, entry & ~PMAP_RIGHTS);
    }
    lock_release(&mm->lock);
}
