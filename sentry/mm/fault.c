/*
 * Page faults: the one way by which pages come into an address space, also for usercopy and uio.
 *
 *   no VMA (nor a stack to grow) ........................ SEGV_MAPERR
 *   the VMA forbids the access .......................... SEGV_ACCERR
 *   nothing in the page map    anonymous: allocate a run and map it
 *                              object: ask it (mm->lock released), note its pages, look again
 *     (either: a userfaultfd may be asked instead, and the access waits for its answer)
 *   an entry, too few rights   write to a page that others see: copy; map, with its neighbours
 *   an entry, all rights       another thread was faster, or the access is forbidden
 *
 * Runs are 64 KiB, or 256 KiB where the host backs only what is touched of them, aligned, cut at
 * the VMA and at pages that exist; they grow fourfold up to 2 MiB while faults come in ascending
 * order, and with each fault where all of the VMA is but a few times that (.bss). A fault costs
 * much more than the run: its memory is not backed by the host until it is touched. Copies grow
 * likewise in ascending order, less far, since each page of them costs.
 *
 * The last case matters with ACCESS_UNKNOWN (ptrace tells no access type). A thread that finds all
 * rights mapped returns to the program once and notes address and leaf epoch. If it comes back
 * with the same address and the epoch stands, then the page had all its rights during the whole
 * repeated access, and the access itself is wrong. If the epoch changed, rights were taken away
 * in between, and nothing is proved.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <string.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"

#define RUN_SIZE      (64UL << 10)
#define RUN_UNBACKED  (256UL << 10)
#define RUN_GROWTH    4
#define SMALL_SIZE    (2UL << 20)  /* all of a VMA of this size may be runs soon */
#define COPY_SIZE     (16UL << 10) /* copy-on-write: this much around the fault ... */
#define COPY_FILE     (64UL << 10) /* ... and of a file, whose data a program relocates as a whole */
#define COPY_MAX      (256UL << 10)
#define MAP_CALLS     32
#define RECLAIM_TRIES 3

struct fault {
    struct mm *mm;
    uaddr_t addr, page;
    enum access access;
    uint64_t want_size; /* the caller will touch so much from addr on; 0: unknown */
    bool user;          /* the program's own access */
    bool forced;        /* a debugger: what the VMA forbids is no matter, and no stack grows */
    struct fault_info *info;
};

/* Why this thread went back to the program last time. */
static _Thread_local struct {
    uaddr_t addr;
    uint64_t epoch;
} last_doubt;

static int fail(const struct fault *f, int signo, int code)
{
    f->info->signo = signo;
    f->info->code = code;
    return -EFAULT;
}

static bool access_allowed(int prot, enum access access)
{
    switch (access) {
    case ACCESS_WRITE:
        return prot & PROT_WRITE;
    case ACCESS_EXEC:
        return prot & PROT_EXEC;
    default:
        return prot != PROT_NONE;
    }
}

static uint64_t wanted_rights(const struct fault *f, const struct vma *vma)
{
    switch (f->access) {
    case ACCESS_READ:
        return PROT_READ;
    case ACCESS_WRITE:
        return PROT_READ | PROT_WRITE;
    case ACCESS_EXEC:
        return PROT_READ | PROT_EXEC;
    default:
        return prot_rights(vma->prot);
    }
}

/* ---- growing stacks ----------------------------------------------------------------------- */

static bool may_grow_to(struct mm *mm, struct vma *vma, uaddr_t start)
{
    struct vma *prev = vma_prev(vma);
    uint64_t size = vma->start - start;

    if (start < MAX(mm->env->limits.user_min, MMAP_MIN_ADDR) || vma->end - start > mm->limits.stack)
        return false;
    if (prev && prev->end > start)
        return false;
    if (prev && !(prev->flags & VMA_GROWSDOWN) && prev->prot != PROT_NONE &&
        start - prev->end < STACK_GUARD_GAP)
        return false;
    return mm_may_expand(mm, vma->prot, vma->flags, size) && mm_may_lock(mm, vma->flags, size);
}

/* `vma` is the next one above the fault. Grows by a whole run where it may, else by the page. */
static bool grow_stack(struct fault *f, struct vma *vma)
{
    uaddr_t run = round_down(f->addr, RUN_SIZE);

    if (!vma || !(vma->flags & VMA_GROWSDOWN))
        return false;
    if (!may_grow_to(f->mm, vma, run)) {
        run = f->page;
        if (!may_grow_to(f->mm, vma, run))
            return false;
    }
    vma_resize(f->mm, vma, run, vma->end);
    return true;
}

/* ---- anonymous memory --------------------------------------------------------------------- */

/* Runs are generous with memfile space: that stops before it runs out. */
static bool memory_is_scarce(const struct mm *mm)
{
    struct memfile_stats stats;

    memfile_get_stats(mm->env->memfile, &stats);
    return stats.allocated > stats.limit / 4 * 3;
}

/* A little above where the last fault's run, or copy, ended. */
static bool is_next(const struct vma *vma, uaddr_t addr)
{
    return addr >= vma->fault_next && addr < vma->fault_next + vma->fault_window;
}

/* The size of the run that the VMA's history suggests: a power of two, 4 KiB to 2 MiB. */
static uint64_t run_size(struct fault *f, struct vma *vma)
{
    uint64_t window = f->mm->env->limits.maps_give_memory ? RUN_SIZE : RUN_UNBACKED;

    if (vma->flags & VMA_HUGEPAGE)
        window = HUGE_PAGE_SIZE;
    else if (f->want_size >= HUGE_PAGE_SIZE)
        window = HUGE_PAGE_SIZE;
    else if (vma->fault_window && (is_next(vma, f->addr) || vma->end - vma->start <= SMALL_SIZE))
        window = MIN(RUN_GROWTH * vma->fault_window, HUGE_PAGE_SIZE);
    if (vma->flags & (VMA_NOHUGEPAGE | VMA_RANDOM))
        window = MIN(window, RUN_SIZE);
    return memory_is_scarce(f->mm) ? PAGE_SIZE : window;
}

/* Consumes the range, which fresh pages of it are in the map from start on. */
static int map_fresh(struct mm *mm, struct vma *vma, uaddr_t start, struct memfile_range range)
{
    uint64_t rights = prot_rights(vma->prot);
    int err;

    vma->fault_next = start + range.size;
    err =
        pmap_set_run(&mm->pmap, start, range.size, range.start | PMAP_PRESENT | PMAP_ANON | rights);
    if (err) {
        memfile_unref(mm->env->memfile, range);
        return err;
    }
    return mm_platform_map(mm, start, rights, range);
}

static int map_anonymous(struct fault *f, struct vma *vma)
{
    struct mm *mm = f->mm;
    uint64_t window = run_size(f, vma), align;
    uaddr_t start = MAX(round_down(f->addr, window), vma->start);
    uaddr_t end = MIN(round_down(f->addr, window) + window, vma->end);
    struct memfile_range range;
    int err;

    start = pmap_free_below(&mm->pmap, f->page, start);
    end = pmap_next_used(&mm->pmap, f->page, end);
    align = end - start == window ? window : PAGE_SIZE;
    err = memfile_alloc_soon(mm->env->memfile, end - start, align, &range);
    if (err) {
        start = f->page;
        err = memfile_alloc(mm->env->memfile, PAGE_SIZE, PAGE_SIZE, &range);
        if (err)
            return err;
    }
    vma->fault_window = window;
    return map_fresh(mm, vma, start, range);
}

/* A page that is protected from the start; the next look at it maps it. */
static int bring_marked(struct fault *f)
{
    struct mm *mm = f->mm;
    struct memfile_range page;
    int err = memfile_alloc(mm->env->memfile, PAGE_SIZE, PAGE_SIZE, &page);

    if (err)
        return err;
    /* The leaf exists: this cannot fail. */
    (void)pmap_set_run(&mm->pmap, f->page, PAGE_SIZE,
                       page.start | PMAP_PRESENT | PMAP_ANON | PMAP_UFFD_WP);
    return 0;
}

void mm_anticipate(struct mm *mm, uaddr_t start, uint64_t size, bool all)
{
    struct memfile *mf = mm->env->memfile;
    struct vma *vma = vma_at(mm, start);
    struct memfile_range range;
    int err;

    if (size > MM_ANTICIPATE_MAX || !vma || vma->end < start + size || vma->object ||
        vma->userfault_modes || (vma->prot & PROT_WRITE) == 0 || memory_is_scarce(mm) ||
        pmap_next_used(&mm->pmap, start, start + size) < start + size)
        return;
    err = all ? memfile_alloc_soon(mf, size, PAGE_SIZE, &range)
              : memfile_alloc(mf, size, PAGE_SIZE, &range);
    if (!err)
        (void)map_fresh(mm, vma, start, range); /* what is not there now comes by faults */
}

/* ---- objects ------------------------------------------------------------------------------ */

static int fetch_object(struct fault *f, struct vma *vma, bool write)
{
    int err = mm_fetch_object(f->mm, vma, f->page, write);

    return err == -EFAULT ? fail(f, SIGBUS, BUS_ADRERR) : err;
}

/* ---- userfaultfd -------------------------------------------------------------------------- */

static int ask_user(struct fault *f, struct vma *vma, uint64_t flags) __must_hold(f->mm->lock)
{
    int err = mm_userfault_ask(f->mm, vma, f->addr, f->access, f->user, flags);

    return err == -EFAULT ? fail(f, SIGBUS, BUS_ADRERR) : err;
}

/* Nothing is there, and somebody wants to be told. 0: look again. */
static int fault_watched(struct fault *f, struct vma *vma) __must_hold(f->mm->lock)
{
    uint64_t flags = 0;
    int err = vma->object ? mm_userfault_take(f->mm, vma, f->page, &flags) : -EAGAIN;

    if (err == -EAGAIN)
        return ask_user(f, vma, flags);
    return err == -EFAULT ? fail(f, SIGBUS, BUS_ADRERR) : err;
}

/* A write to a page that is protected so. With an unknown access, the second fault is a write. */
static bool is_protected(const struct fault *f, const struct vma *vma, uint64_t entry)
{
    return f->access == ACCESS_WRITE ||
           (f->access == ACCESS_UNKNOWN && (vma->prot & PROT_WRITE) && (entry & PROT_READ));
}

/* ---- pages that are there ----------------------------------------------------------------- */

bool mm_entry_needs_copy(struct mm *mm, uint64_t entry)
{
    return (entry & PMAP_PRESENT) &&
           (!(entry & PMAP_ANON) || (mm_entry_settle(mm, entry) & PMAP_COW));
}

static bool may_join(struct mm *mm, const struct vma *vma, uaddr_t addr)
{
    uint64_t entry = pmap_get(&mm->pmap, addr);

    return mm_entry_needs_copy(mm, entry) && !(entry & PMAP_UFFD_WP) &&
           !(vma->rewritten && mm_call_sites_are_at(vma, addr));
}

static uint64_t copy_size(const struct fault *f, const struct vma *vma)
{
    if (vma->fault_window && is_next(vma, f->page))
        return MIN(RUN_GROWTH * vma->fault_window, COPY_MAX);
    /* Such as a library's data and relocated pointers. */
    return vma->object && vma->end - vma->start <= COPY_FILE ? COPY_FILE : COPY_SIZE;
}

/* Private pages that someone else holds too: a copy of the page and of such neighbours. */
static int copy_pages(struct fault *f, struct vma *vma)
{
    struct mm *mm = f->mm;
    struct memfile *mf = mm->env->memfile;
    uint64_t around = copy_size(f, vma);
    uaddr_t low = MAX(round_down(f->page, around), vma->start), start = f->page;
    uaddr_t high = MIN(round_down(f->page, around) + around, vma->end);
    uaddr_t end = f->page + PAGE_SIZE;
    uint64_t rights = prot_rights(vma->prot), old[COPY_MAX / PAGE_SIZE];
    struct memfile_range range;
    unsigned int count = 0;
    int err;

    while (start > low && may_join(mm, vma, start - PAGE_SIZE))
        start -= PAGE_SIZE;
    while (end < high && may_join(mm, vma, end))
        end += PAGE_SIZE;
    err = memfile_alloc_dirty(mf, end - start, &range);
    if (err) {
        start = f->page;
        end = start + PAGE_SIZE;
        err = memfile_alloc_dirty(mf, PAGE_SIZE, &range);
        if (err)
            return err;
    }
    if (range.size > PAGE_SIZE)
        memfile_make_ready(mf, range);
    for (uaddr_t at = start; at < end; at += PAGE_SIZE, count++) {
        old[count] = pmap_get(&mm->pmap, at);
        memcpy(memfile_ptr(mf, range.start + (at - start)),
               memfile_ptr(mf, old[count] & ~PMAP_FLAGS), PAGE_SIZE);
    }
    if (vma->prot & PROT_EXEC)
        mm_call_sites_replaced(mm, vma, start, end);
    vma->fault_window = around;
    vma->fault_next = end;
    /* The leaf exists: this cannot fail. */
    (void)pmap_set_run(&mm->pmap, start, range.size,
                       range.start | PMAP_PRESENT | PMAP_ANON | rights);
    err = mm_platform_map(mm, start, rights, range);
    mm_settle(mm);
    while (count-- > 0)
        memfile_unref(mf, (struct memfile_range){old[count] & ~PMAP_FLAGS, PAGE_SIZE});
    return err;
}

int mm_map_present(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end, uint64_t only,
                   unsigned int *calls)
{
    while (*calls > 0 && start < end) {
        uint64_t entry = mm_entry_settle(mm, pmap_get(&mm->pmap, start));
        uint64_t rights = mm_entry_rights(vma, entry), size = PAGE_SIZE;
        int err;

        if (!(entry & PMAP_PRESENT) || (entry & PMAP_RIGHTS) == rights ||
            (only && rights != only)) {
            start = pmap_next_used(&mm->pmap, start + PAGE_SIZE, end);
            continue;
        }
        while (start + size < end) {
            uint64_t next = mm_entry_settle(mm, pmap_get(&mm->pmap, start + size));

            if ((next & ~PMAP_RIGHTS) != (entry & ~PMAP_RIGHTS) + size ||
                (next & PMAP_RIGHTS) == rights)
                break;
            size += PAGE_SIZE;
        }
        entry = (entry & ~PMAP_RIGHTS) | rights;
        (void)pmap_set_run(&mm->pmap, start, size, entry);
        err = mm_platform_map(mm, start, rights, (struct memfile_range){entry & ~PMAP_FLAGS, size});
        if (err)
            return err;
        (*calls)--;
        start += size;
    }
    return 0;
}

/*
 * The neighbours, too, as far as that spares faults: where each call is dear, only those with the
 * same rights. A page that is to be copied on write would fault again.
 */
static int map_around(struct fault *f, const struct vma *vma)
{
    struct mm *mm = f->mm;
    uaddr_t low = MAX(round_down(f->page, FAULT_AROUND), vma->start);
    uaddr_t high = MIN(round_down(f->page, FAULT_AROUND) + FAULT_AROUND, vma->end);
    uint64_t entry = mm_entry_settle(mm, pmap_get(&mm->pmap, f->page));
    uint64_t only = mm->env->limits.maps_cheaply ? 0 : mm_entry_rights(vma, entry);
    unsigned int calls = MAP_CALLS;
    int err;

    err = mm_map_present(mm, vma, f->page, high, only, &calls);
    if (err || calls == 0)
        return err;
    return mm_map_present(mm, vma, low, f->page, only, &calls);
}

/* All that is wanted is mapped already. */
static int nothing_to_do(struct fault *f, uint64_t entry)
{
    struct mm *mm = f->mm;
    uint64_t epoch = pmap_epoch(&mm->pmap, f->page);

    if (last_doubt.addr != f->addr || last_doubt.epoch != epoch) {
        last_doubt.addr = f->addr;
        last_doubt.epoch = epoch;
        return 0;
    }
    last_doubt.epoch = 0;
    if (f->access == ACCESS_UNKNOWN)
        return fail(f, SIGSEGV, SEGV_ACCERR);
    /* The access is allowed and yet fails: the platform has lost the page, which it may. */
    return mm_platform_map(mm, f->page, entry & PMAP_RIGHTS,
                           (struct memfile_range){entry & ~PMAP_FLAGS, PAGE_SIZE});
}

static int fault_present(struct fault *f, struct vma *vma, uint64_t entry, bool *ret_again)
{
    struct mm *mm = f->mm;
    uint64_t want = wanted_rights(f, vma), settled = mm_entry_settle(mm, entry);
    bool write = want & PROT_WRITE;

    if (entry & PMAP_POISON)
        return fail(f, SIGBUS, BUS_MCEERR_AR);
    if (entry & PMAP_GUARD)
        return fail(f, SIGSEGV, SEGV_MAPERR);
    if ((entry & want) == want)
        return nothing_to_do(f, entry);
    if ((entry & PMAP_UFFD_WP) && (vma->userfault_modes & MM_UFFD_WP)) {
        *ret_again = is_protected(f, vma, entry);
        if (*ret_again && vma->userfault->lets_writes)
            return mm_userfault_let_write(mm, f->page);
        return *ret_again ? ask_user(f, vma, UFFD_PAGEFAULT_FLAG_WP) : map_around(f, vma);
    }
    if (write && (entry & PMAP_COW) && mm->hot)
        hot_pages_note(mm->hot, f->page);
    if (write && vma_is_private(vma) && mm_entry_needs_copy(mm, settled))
        return copy_pages(f, vma);
    /* A private page is ours by now, even if its last other holder went only after we had looked.
     */
    if (write && !vma_is_private(vma) && !(mm_entry_rights(vma, settled) & PROT_WRITE)) {
        *ret_again = true; /* a shared page whose object wants to be told */
        return fetch_object(f, vma, true);
    }
    return map_around(f, vma);
}

/* Nothing is there, at most a marker. 0: look again. */
static int bring_page(struct fault *f, struct vma *vma, uint64_t entry) __must_hold(f->mm->lock)
{
    if (vma->userfault_modes & (MM_UFFD_MISSING | MM_UFFD_MINOR))
        return fault_watched(f, vma);
    if (!vma->object)
        return bring_marked(f);
    return fetch_object(f, vma, (wanted_rights(f, vma) & PROT_WRITE) && !vma_is_private(vma));
}

/* ---- the fault ---------------------------------------------------------------------------- */

static int serve(struct fault *f)
{
    struct mm *mm = f->mm;

    for (;;) {
        struct vma *vma = vma_find(mm, f->addr);
        uint64_t entry;
        bool again = false;
        int err;

        if (!vma || vma->start > f->addr) {
            if (f->addr >= mm->env->limits.user_max || f->forced || !grow_stack(f, vma))
                return fail(f, SIGSEGV, SEGV_MAPERR);
        }
        if (!f->forced && !access_allowed(vma->prot, f->access))
            return fail(f, SIGSEGV, SEGV_ACCERR);
        entry = pmap_get(&mm->pmap, f->page);
        if (entry && !pmap_is_marker(entry)) {
            err = fault_present(f, vma, entry, &again);
            if (err || !again)
                return err;
        } else if (!entry && !vma->object && !(vma->userfault_modes & MM_UFFD_MISSING)) {
            return map_anonymous(f, vma);
        } else {
            err = bring_page(f, vma, entry);
            if (err)
                return err;
        }
    }
}

static int serve_with_reclaim(struct fault *f)
{
    struct mm *mm = f->mm;

    for (int tries = 0;; tries++) {
        bool freed;
        int err = serve(f);

        if (likely(err != -ENOMEM) || tries == RECLAIM_TRIES)
            return err;
        lock_release(&mm->lock);
        freed = pagecache_reclaim() || mm_await_burials();
        lock_acquire(&mm->lock);
        if (!freed)
            return err;
    }
}

int mm_fault_locked(struct mm *mm, uaddr_t addr, enum access access, uint64_t want_size,
                    struct fault_info *ret_info)
{
    struct fault f = {
        .mm = mm,
        .addr = addr,
        .page = round_down(addr, PAGE_SIZE),
        .access = access,
        .want_size = want_size,
        .info = ret_info,
    };

    return serve_with_reclaim(&f);
}

int mm_fault_forced_locked(struct mm *mm, uaddr_t addr, bool write)
{
    struct fault_info info;
    struct fault f = {
        .mm = mm,
        .addr = addr,
        .page = round_down(addr, PAGE_SIZE),
        .access = write ? ACCESS_WRITE : ACCESS_READ,
        .forced = true,
        .info = &info,
    };

    return serve_with_reclaim(&f);
}

int mm_fault(struct mm *mm, uaddr_t addr, enum access access, int *ret_signo, int *ret_code)
{
    struct fault_info info = {0};
    struct fault f = {
        .mm = mm,
        .addr = addr,
        .page = round_down(addr, PAGE_SIZE),
        .access = access,
        .user = true,
        .info = &info,
    };
    int err;

    lock_acquire(&mm->lock);
    err = serve_with_reclaim(&f);
    lock_release(&mm->lock);
    if (err == -EFAULT) {
        *ret_signo = info.signo;
        *ret_code = info.code;
    }
    /* A signal ended the wait for a userfaultfd: after it the access is repeated. */
    return err == -EINTR ? 0 : err;
}
