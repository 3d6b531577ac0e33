/* Chooses the addresses of a new address space (place.h). */
#include "loader/place.h"

#define MIB           (1UL << 20)
#define GIB           (1UL << 30)

#define STACK_RANGE   (16 * GIB) /* STACK_RND_MASK */
#define STACK_GUARD   (1 * MIB)  /* stack_guard_gap */
#define STACK_GAP_MIN (128 * MIB)
#define MMAP_RANGE    (1024 * GIB) /* 2^28 pages, vm.mmap_rnd_bits */
#define BRK_RANGE     (1 * GIB)
#define PADDING_RANGE 8192UL

/* A multiple of the page size below `range`, a power of two, or below what `space` can spare. */
static uint64_t random_offset(const struct load_request *req, uint64_t entropy, uint64_t range,
                              uint64_t space)
{
    if (!req->randomize)
        return 0;
    while (range > space / 16)
        range /= 2;
    return range ? entropy & (range - 1) & PAGE_MASK : 0;
}

static uint64_t mmap_gap(const struct load_request *req, uint64_t space)
{
    uint64_t pad = (req->randomize ? MIN(STACK_RANGE, space / 16) : 0) + STACK_GUARD;
    uint64_t gap = req->stack_limit;
    uint64_t max = space / 6 * 5;

    if (gap + pad > gap)
        gap += pad;
    gap = MAX(gap, STACK_GAP_MIN);
    return MIN(gap, max);
}

/* The vDSO shares the stack's 2 MiB block, and so its page tables, when there is ASLR. */
static void place_top(const struct load_request *req, const struct platform_limits *limits,
                      uint64_t space, uint64_t vdso_size, struct placement *p)
{
    uaddr_t top = round_down(limits->user_max, PAGE_SIZE);
    uaddr_t block_end;

    p->stack_top = top - random_offset(req, req->entropy.stack, STACK_RANGE, space);
    p->vdso_hint = 0;
    if (!req->randomize || vdso_size == 0)
        return;
    block_end = MIN(round_up(p->stack_top, HUGE_PAGE_SIZE), top);
    if (block_end - p->stack_top < vdso_size)
        p->stack_top -= vdso_size;
    p->vdso_hint =
        p->stack_top +
        round_down(req->entropy.vdso % (block_end - p->stack_top - vdso_size + 1), PAGE_SIZE);
}

void placement_choose(const struct load_request *req, const struct platform_limits *limits,
                      uint64_t vdso_size, struct placement *ret_placement)
{
    uint64_t space = limits->user_max - limits->user_min;
    struct placement p;

    place_top(req, limits, space, vdso_size, &p);
    p.mmap_base = round_down(limits->user_max - mmap_gap(req, space), PAGE_SIZE) -
                  random_offset(req, req->entropy.mmap, MMAP_RANGE, space);
    /* Linux puts an ET_DYN without interpreter among the mmaps; here all programs go to 2/3, where
     * the heap has room to grow. */
    p.dyn_base = round_down(limits->user_max / 3 * 2, PAGE_SIZE) +
                 random_offset(req, req->entropy.exec, MMAP_RANGE, space);
    p.brk_gap = random_offset(req, req->entropy.brk, BRK_RANGE, space);
    p.stack_padding = req->randomize ? req->entropy.stack_padding % PADDING_RANGE : 0;
    *ret_placement = p;
}
