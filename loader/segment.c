/*
 * Segments into memory.
 *
 *   file page   | ....data.... | da'0000 |            '0': cleared when the segment is writable
 *   memory      [------ file mapping ----][-- anonymous, zero --]
 *               ^vaddr         vaddr+filesz^               vaddr+memsz (rounded up)
 */
#include "loader/segment.h"

#include <errno.h>
#include <string.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/file.h"

/* Bytes of one program that are worth it; beyond that, most would come for nothing. */
#define PREFAULT_READ  (1UL << 20)
#define PREFAULT_WRITE (128UL << 10)

/* Where the parts of a segment go; all but file_end are page aligned. */
struct extent {
    uaddr_t start, file_end, file_pages_end, end;
    uint64_t offset; /* of the first page in the file */
};

static struct extent segment_extent(const struct elf_segment *seg, uint64_t bias)
{
    uaddr_t addr = seg->vaddr + bias;
    struct extent x = {
        .start = round_down(addr, PAGE_SIZE),
        .file_end = addr + seg->filesz,
        .end = round_up(addr + seg->memsz, PAGE_SIZE),
        .offset = round_down(seg->offset, PAGE_SIZE),
    };

    x.file_pages_end = seg->filesz ? round_up(x.file_end, PAGE_SIZE) : x.start;
    return x;
}

static int read_uio(struct file *file, uint64_t pos, struct uio *uio)
{
    while (uio->left) {
        ssize_t n = file_pread(file, uio, (int64_t)pos);

        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EIO;
        pos += (uint64_t)n;
    }
    return 0;
}

int read_exact(struct file *file, uint64_t pos, void *buf, uint64_t size)
{
    struct uio uio;

    uio_init_host(&uio, buf, size);
    return read_uio(file, pos, &uio);
}

static int map_anonymous(struct mm *mm, uaddr_t start, uaddr_t end, int prot)
{
    struct mm_map_args args = {
        .addr = start,
        .size = end - start,
        .prot = prot,
        .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
    };
    uaddr_t addr;

    return start < end ? mm_map(mm, &args, &addr) : 0;
}

static int map_file(struct mm *mm, struct mappable *object, const struct extent *x, int prot)
{
    struct mm_map_args args = {
        .addr = x->start,
        .size = x->file_pages_end - x->start,
        .prot = prot,
        .flags = MAP_PRIVATE | MAP_FIXED,
        .object = object,
        .offset = x->offset,
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
    };
    uaddr_t addr;

    return mm_map(mm, &args, &addr);
}

/* For files that have no pages to share: the same bytes, owned by this address space. */
static int copy_file(struct mm *mm, struct file *file, const struct extent *x, int prot)
{
    int r = map_anonymous(mm, x->start, x->file_pages_end, PROT_READ | PROT_WRITE);
    struct uio uio;

    if (r)
        return r;
    uio_init_user(&uio, mm, x->start, x->file_end - x->start);
    r = read_uio(file, x->offset, &uio);
    if (r == 0 && prot != (PROT_READ | PROT_WRITE))
        r = mm_protect(mm, x->start, x->file_pages_end - x->start, prot);
    return r;
}

static int map_segment(struct mm *mm, struct file *file, struct mappable *object,
                       const struct elf_segment *seg, uint64_t bias)
{
    struct extent x = segment_extent(seg, bias);
    int r = 0;

    if (seg->filesz) {
        r = object ? map_file(mm, object, &x, seg->prot) : copy_file(mm, file, &x, seg->prot);
        if (r)
            return r;
        if (seg->memsz > seg->filesz && (seg->prot & PROT_WRITE))
            r = clear_user(mm, x.file_end, x.file_pages_end - x.file_end);
    }
    /* Writable whatever the segment says: that is Linux's vm_brk_flags(). */
    if (r == 0)
        r = map_anonymous(mm, x.file_pages_end, x.end,
                          PROT_READ | PROT_WRITE | (seg->prot & PROT_EXEC));
    return r;
}

int segments_map(struct mm *mm, struct file *file, const struct elf_plan *plan, uint64_t bias,
                 struct why *why)
{
    struct mappable *object = NULL;
    struct linux_stat st;
    int r = 0;

    if (file->ops->mmap && file->ops->mmap(file, &object) < 0)
        object = NULL;
    if (object && file->at.dentry && file_stat(file, &st) == 0)
        mappable_label(object, st.st_dev, st.st_ino);
    for (uint32_t i = 0; i < plan->segment_count && r == 0; i++) {
        const struct elf_segment *seg = &plan->segments[i];

        r = map_segment(mm, file, object, seg, bias);
        if (r)
            why_set(why, r, "cannot map the segment at %#lx+%#lx (%s)", (seg->vaddr + bias),
                    seg->memsz, strerror(-r));
    }
    mappable_unref(object);
    return r;
}

void segments_prefault(struct mm *mm, const struct elf_plan *plan, uint64_t bias)
{
    uint64_t read_left = PREFAULT_READ, write_left = PREFAULT_WRITE;

    for (uint32_t i = 0; i < plan->segment_count; i++) {
        const struct elf_segment *seg = &plan->segments[i];
        struct extent x = segment_extent(seg, bias);
        bool writable = seg->prot & PROT_WRITE;
        uint64_t *left = writable ? &write_left : &read_left;
        uint64_t size = x.end - x.start;

        if (size > *left || !(seg->prot & PROT_READ))
            continue;
        *left -= size;
        (void)mm_advise(mm, x.start, size, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    }
}
