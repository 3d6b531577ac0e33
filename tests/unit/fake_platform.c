#include "tests/unit/fake_platform.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bug.h"

static const struct platform_ops fake_ops;

static struct fake_as *to_fake(struct address_space *as)
{
    return container_of(as, struct fake_as, base);
}

/* Index of the first page at or above addr. */
static size_t position(const struct fake_as *as, uaddr_t addr)
{
    size_t low = 0, high = as->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (as->pages[mid].addr < addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct fake_page *fake_find(struct fake_as *as, uaddr_t addr)
{
    size_t i = position(as, round_down(addr, PAGE_SIZE));

    return i < as->count && as->pages[i].addr == round_down(addr, PAGE_SIZE) ? &as->pages[i] : NULL;
}

static void check_place(uaddr_t addr, uint64_t size)
{
    BUG_ON(size == 0 || !is_aligned(addr | size, PAGE_SIZE));
    BUG_ON(addr < FAKE_USER_MIN || addr > FAKE_USER_MAX || size > FAKE_USER_MAX - addr);
}

static int fake_as_create(struct platform *p, struct address_space **ret)
{
    struct fake_platform *fp = container_of(p, struct fake_platform, base);
    struct fake_as *as = calloc(1, sizeof(*as));

    BUG_ON(!as);
    as->base.ops = &fake_ops;
    as->memfile = fp->memfile;
    fp->spaces++;
    *ret = &as->base;
    return 0;
}

static void fake_as_destroy(struct address_space *base)
{
    struct fake_as *as = to_fake(base);

    free(as->pages);
    free(as);
}

static int fake_as_unmap(struct address_space *base, uaddr_t addr, uint64_t size)
{
    struct fake_as *as = to_fake(base);
    size_t from, to;

    check_place(addr, size);
    as->unmap_calls++;
    from = position(as, addr);
    to = position(as, addr + size);
    memmove(as->pages + from, as->pages + to, (as->count - to) * sizeof(*as->pages));
    as->count -= to - from;
    return 0;
}

static int fake_as_map(struct address_space *base, uaddr_t addr, int prot,
                       struct memfile_range range)
{
    struct fake_as *as = to_fake(base);
    size_t n = range.size / PAGE_SIZE, at;

    check_place(addr, range.size);
    BUG_ON(!is_aligned(range.start, PAGE_SIZE));
    BUG_ON(prot == 0 || (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)));
    as->map_calls++;
    if (as->fail_maps > 0) {
        as->fail_maps--;
        return -ENOMEM;
    }
    fake_as_unmap(base, addr, range.size);
    as->unmap_calls--;
    if (as->count + n > as->capacity) {
        as->capacity = 2 * (as->count + n);
        as->pages = realloc(as->pages, as->capacity * sizeof(*as->pages));
        BUG_ON(!as->pages);
    }
    at = position(as, addr);
    memmove(as->pages + at + n, as->pages + at, (as->count - at) * sizeof(*as->pages));
    as->count += n;
    for (size_t i = 0; i < n; i++) {
        uint64_t offset = range.start + i * PAGE_SIZE;

        BUG_ON(memfile_page_refs(as->memfile, offset) == 0);
        as->pages[at + i] = (struct fake_page){addr + i * PAGE_SIZE, offset, prot};
    }
    return 0;
}

static const struct platform_ops fake_ops = {
    .name = "fake",
    .as_create = fake_as_create,
    .as_destroy = fake_as_destroy,
    .as_map = fake_as_map,
    .as_unmap = fake_as_unmap,
};

void fake_platform_init(struct fake_platform *fp, struct memfile *mf)
{
    *fp = (struct fake_platform){.base.ops = &fake_ops, .memfile = mf};
}
