/* The loader's surroundings for tests and fuzzers (fake_mm.h). */
#include "tests/unit/fake_mm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"

#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "fake mm: contract broken: %s\n", #cond);                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct page {
    uaddr_t addr;
    uint8_t *bytes;
};

struct mm {
    struct mm_env env;
    struct mm_layout layout;
    uaddr_t brk_start, mmap_base;
    struct fake_area *areas; /* sorted */
    uint32_t area_count;
    struct page *pages; /* unsorted */
    uint32_t page_count;
};

struct mm *fake_mm_create(uaddr_t user_min, uaddr_t user_max)
{
    struct mm *mm = calloc(1, sizeof(*mm));

    mm->env.limits = (struct platform_limits){user_min, user_max};
    mm->mmap_base = user_max;
    return mm;
}

static void drop_pages(struct mm *mm, uaddr_t start, uaddr_t end)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < mm->page_count; i++) {
        if (mm->pages[i].addr >= start && mm->pages[i].addr < end)
            free(mm->pages[i].bytes);
        else
            mm->pages[kept++] = mm->pages[i];
    }
    mm->page_count = kept;
}

static void remove_area(struct mm *mm, uint32_t i)
{
    memmove(&mm->areas[i], &mm->areas[i + 1], (mm->area_count - i - 1) * sizeof(mm->areas[0]));
    mm->area_count--;
}

static void insert_area(struct mm *mm, struct fake_area area)
{
    uint32_t i = 0;

    mm->areas = realloc(mm->areas, (mm->area_count + 1) * sizeof(mm->areas[0]));
    while (i < mm->area_count && mm->areas[i].start < area.start)
        i++;
    memmove(&mm->areas[i + 1], &mm->areas[i], (mm->area_count - i) * sizeof(mm->areas[0]));
    mm->areas[i] = area;
    mm->area_count++;
}

/* So that `addr` lies in no area's middle. */
static void split_at(struct mm *mm, uaddr_t addr)
{
    for (uint32_t i = 0; i < mm->area_count; i++) {
        struct fake_area tail = mm->areas[i];

        if (tail.start >= addr || tail.end <= addr)
            continue;
        mm->areas[i].end = addr;
        tail.offset += addr - tail.start;
        tail.start = addr;
        if (tail.object)
            mappable_ref(tail.object);
        insert_area(mm, tail);
        return;
    }
}

int mm_unmap(struct mm *mm, uaddr_t addr, uint64_t size)
{
    REQUIRE(is_aligned(addr, PAGE_SIZE) && is_aligned(size, PAGE_SIZE) && addr + size > addr);
    split_at(mm, addr);
    split_at(mm, addr + size);
    for (uint32_t i = 0; i < mm->area_count;) {
        if (mm->areas[i].start >= addr && mm->areas[i].end <= addr + size) {
            mappable_unref(mm->areas[i].object);
            remove_area(mm, i);
        } else {
            i++;
        }
    }
    drop_pages(mm, addr, addr + size);
    return 0;
}

static bool is_free(struct mm *mm, uaddr_t start, uaddr_t end)
{
    for (uint32_t i = 0; i < mm->area_count; i++)
        if (mm->areas[i].start < end && start < mm->areas[i].end)
            return false;
    return true;
}

/* The highest hole below mmap_base, else below the top. */
static int find_hole(struct mm *mm, uint64_t size, uaddr_t *ret_addr)
{
    uaddr_t end = mm->mmap_base;

    for (int64_t i = (int64_t)mm->area_count - 1; i >= -1; i--) {
        uaddr_t low = i < 0 ? mm->env.limits.user_min : mm->areas[i].end;

        if (low < end && end - low >= size) {
            *ret_addr = end - size;
            return 0;
        }
        if (i >= 0)
            end = MIN(end, mm->areas[i].start);
    }
    return -ENOMEM;
}

int mm_map(struct mm *mm, const struct mm_map_args *args, uaddr_t *ret_addr)
{
    const struct platform_limits *limits = &mm->env.limits;
    bool fixed = args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    uaddr_t addr = args->addr;

    REQUIRE(args->size && is_aligned(args->size, PAGE_SIZE) && is_aligned(addr, PAGE_SIZE));
    REQUIRE(is_aligned(args->offset, PAGE_SIZE) && addr + args->size >= addr);
    if (args->size > limits->user_max - limits->user_min)
        return -ENOMEM;
    if (fixed && (addr < limits->user_min || addr + args->size > limits->user_max))
        return addr < limits->user_min ? -EPERM : -ENOMEM;
    if (args->flags & MAP_FIXED_NOREPLACE && !is_free(mm, addr, addr + args->size))
        return -EEXIST;
    if (!fixed &&
        (addr < limits->user_min || addr + args->size > limits->user_max ||
         !is_free(mm, addr, addr + args->size)) &&
        find_hole(mm, args->size, &addr))
        return -ENOMEM;

    mm_unmap(mm, addr, args->size);
    insert_area(mm, (struct fake_area){
                        .start = addr,
                        .end = addr + args->size,
                        .prot = args->prot,
                        .flags = args->flags,
                        .object = args->object ? mappable_ref(args->object) : NULL,
                        .offset = args->offset,
                        .name = args->name,
                    });
    *ret_addr = addr;
    return 0;
}

int mm_protect(struct mm *mm, uaddr_t addr, uint64_t size, int prot)
{
    REQUIRE(is_aligned(addr, PAGE_SIZE) && is_aligned(size, PAGE_SIZE));
    split_at(mm, addr);
    split_at(mm, addr + size);
    for (uint32_t i = 0; i < mm->area_count; i++)
        if (mm->areas[i].start >= addr && mm->areas[i].end <= addr + size)
            mm->areas[i].prot = prot;
    return 0;
}

/* What the loader wishes for is never needed. */
int mm_advise(struct mm *mm, uaddr_t addr, uint64_t size, int advice)
{
    REQUIRE(is_aligned(addr, PAGE_SIZE) && is_aligned(size, PAGE_SIZE) && addr + size >= addr);
    return -EAGAIN;
}

void fake_mm_destroy(struct mm *mm)
{
    mm_unmap(mm, mm->env.limits.user_min, mm->env.limits.user_max - mm->env.limits.user_min);
    free(mm->areas);
    free(mm->pages);
    free(mm);
}

struct mm_env *mm_environment(struct mm *mm)
{
    return &mm->env;
}

struct mm_layout *mm_layout(struct mm *mm)
{
    return &mm->layout;
}

void mm_set_brk_start(struct mm *mm, uaddr_t start)
{
    mm->brk_start = start;
}

void mm_set_mmap_base(struct mm *mm, uaddr_t base)
{
    mm->mmap_base = base;
}

uaddr_t fake_mm_mmap_base(struct mm *mm)
{
    return mm->mmap_base;
}

uint32_t fake_mm_areas(struct mm *mm, const struct fake_area **ret_areas)
{
    *ret_areas = mm->areas;
    return mm->area_count;
}

const struct fake_area *fake_mm_area_at(struct mm *mm, uaddr_t addr)
{
    for (uint32_t i = 0; i < mm->area_count; i++)
        if (addr >= mm->areas[i].start && addr < mm->areas[i].end)
            return &mm->areas[i];
    return NULL;
}

/* The page at addr, filled from its object at first sight; NULL where nothing is. */
static uint8_t *page_at(struct mm *mm, uaddr_t addr, int need_prot)
{
    const struct fake_area *area = fake_mm_area_at(mm, addr);
    uaddr_t start = round_down(addr, PAGE_SIZE);
    uint8_t *bytes;

    if (!area || (area->prot & need_prot) != need_prot)
        return NULL;
    for (uint32_t i = 0; i < mm->page_count; i++)
        if (mm->pages[i].addr == start)
            return mm->pages[i].bytes;

    bytes = calloc(1, PAGE_SIZE);
    if (area->object) {
        struct fake_file *f = container_of(area->object, struct fake_file, object);
        uint64_t offset = area->offset + (start - area->start);

        if (offset >= f->size) {
            free(bytes);
            return NULL;
        }
        memcpy(bytes, f->bytes + offset, MIN(PAGE_SIZE, f->size - offset));
    }
    mm->pages = realloc(mm->pages, (mm->page_count + 1) * sizeof(mm->pages[0]));
    mm->pages[mm->page_count++] = (struct page){start, bytes};
    return bytes;
}

/* Copies page by page; `dst` or `src` NULL: reads only, or zeroes. */
static int copy(struct mm *mm, uaddr_t addr, void *dst, const void *src, size_t size, int prot)
{
    REQUIRE(addr + size >= addr);
    for (size_t done = 0; done < size;) {
        size_t in_page = (addr + done) % PAGE_SIZE;
        size_t n = MIN(size - done, PAGE_SIZE - in_page);
        uint8_t *page = page_at(mm, addr + done, prot);

        if (!page)
            return -EFAULT;
        if (dst)
            memcpy((char *)dst + done, page + in_page, n);
        else if (src)
            memcpy(page + in_page, (const char *)src + done, n);
        else
            memset(page + in_page, 0, n);
        done += n;
    }
    return 0;
}

int copy_to_user(struct mm *mm, uaddr_t dst, const void *src, size_t size)
{
    return copy(mm, dst, NULL, src, size, PROT_WRITE);
}

int clear_user(struct mm *mm, uaddr_t dst, size_t size)
{
    return copy(mm, dst, NULL, NULL, size, PROT_WRITE);
}

bool fake_mm_read(struct mm *mm, uaddr_t addr, void *buf, size_t size)
{
    return copy(mm, addr, buf, NULL, size, 0) == 0;
}

void uio_init_host(struct uio *uio, void *base, uint64_t size)
{
    *uio = (struct uio){.single = {(uintptr_t)base, size}, .count = 1, .left = size};
}

void uio_init_user(struct uio *uio, struct mm *mm, uaddr_t base, uint64_t size)
{
    *uio = (struct uio){.mm = mm, .single = {base, size}, .count = 1, .left = size};
}

/* Odd sizes on purpose, so that callers must loop. */
ssize_t file_pread(struct file *f, struct uio *uio, int64_t pos)
{
    struct fake_file *fake = container_of(f, struct fake_file, file);
    uint64_t to = uio->single.base + uio->done_in_segment;
    uint64_t n = MIN(uio->left, 4000UL);

    REQUIRE(pos >= 0);
    if ((uint64_t)pos >= fake->size)
        return 0;
    n = MIN(n, fake->size - (uint64_t)pos);
    if (!uio->mm)
        memcpy((void *)to, fake->bytes + pos, n);
    else if (copy_to_user(uio->mm, to, fake->bytes + pos, n))
        return -EFAULT;
    uio->done_in_segment += n;
    uio->left -= n;
    return (ssize_t)n;
}

static int fake_stat(struct file *f, struct linux_stat *ret_stat)
{
    struct fake_file *fake = container_of(f, struct fake_file, file);

    *ret_stat = (struct linux_stat){.st_mode = fake->mode, .st_size = (int64_t)fake->size};
    return 0;
}

static int fake_mmap(struct file *f, struct mappable **ret_object)
{
    struct fake_file *fake = container_of(f, struct fake_file, file);

    fake->mmap_refused = !fake->mappable;
    if (!fake->mappable)
        return -ENODEV;
    *ret_object = mappable_ref(&fake->object);
    return 0;
}

static const struct file_operations fake_file_ops = {.stat = fake_stat, .mmap = fake_mmap};
static const struct mappable_ops fake_mappable_ops = {0};

void fake_file_init(struct fake_file *f, const void *bytes, uint64_t size, uint32_t mode,
                    bool mappable)
{
    *f = (struct fake_file){.bytes = bytes, .size = size, .mode = mode, .mappable = mappable};
    f->file.ops = &fake_file_ops;
    refcount_set(&f->file.refs, 1);
    mappable_init(&f->object, &fake_mappable_ops);
}

struct file *file_ref(struct file *f)
{
    refcount_get(&f->refs);
    return f;
}

int file_stat(struct file *f, struct linux_stat *ret)
{
    return -ENOSYS;
}

struct file *file_unref(struct file *f)
{
    if (f && refcount_put(&f->refs))
        REQUIRE(!"the test's own reference was given away");
    return NULL;
}

void mappable_init(struct mappable *m, const struct mappable_ops *ops)
{
    *m = (struct mappable){.ops = ops};
    refcount_set(&m->refs, 1);
}

void mappable_fini(struct mappable *m)
{
}
