/*
 * The loader over the real memory manager and a page cache: what the platform is told to map is
 * what the program must see. The fake platform stands for the guest's page tables.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "loader/loader.h"
#include "loader/vdso.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"
#include "tests/unit/elf_make.h"
#include "tests/unit/mm_check.h"
#include "vdso/vdso_image.h"

#define BASE 0x400000UL

/* A file in a buffer of the test, with a page cache over it. */
struct buffer_file {
    struct file file;
    const struct elf_make *content;
    struct mappable *cache;
};

static ssize_t buffer_read(const struct elf_make *m, uint64_t offset, void *buf, size_t size)
{
    if (offset >= m->size)
        return 0;
    size = MIN(size, m->size - offset);
    memcpy(buf, m->bytes + offset, size);
    return (ssize_t)size;
}

static ssize_t cache_read(void *arg, uint64_t offset, void *buf, size_t size)
{
    return buffer_read(arg, offset, buf, size);
}

static uint64_t cache_size(void *arg)
{
    return ((const struct elf_make *)arg)->size;
}

static void cache_release(void *arg)
{
}

static void cache_name(void *arg, char *buf, size_t size)
{
    buf[0] = '\0';
}

static const struct pagecache_source cache_source = {
    .read = cache_read,
    .size_now = cache_size,
    .release = cache_release,
    .name = cache_name,
};

static ssize_t file_op_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct buffer_file *b = container_of(f, struct buffer_file, file);
    ssize_t n;

    if ((uint64_t)*pos >= b->content->size)
        return 0;
    n = uio_copy_out(uio, b->content->bytes + *pos, b->content->size - (uint64_t)*pos);
    if (n > 0)
        *pos += n;
    return n;
}

static int64_t file_op_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return offset;
}

static int file_op_stat(struct file *f, struct linux_stat *ret_stat)
{
    struct buffer_file *b = container_of(f, struct buffer_file, file);

    *ret_stat =
        (struct linux_stat){.st_mode = S_IFREG | 0755, .st_size = (int64_t)b->content->size};
    return 0;
}

static int file_op_mmap(struct file *f, struct mappable **ret_object)
{
    struct buffer_file *b = container_of(f, struct buffer_file, file);

    if (!b->cache)
        return -ENODEV;
    *ret_object = mappable_ref(b->cache);
    return 0;
}

static void file_op_release(struct file *f)
{
    struct buffer_file *b = container_of(f, struct buffer_file, file);

    mappable_unref(b->cache);
    file_fini(f);
    free(b);
}

static const struct file_operations buffer_ops = {
    .read = file_op_read,
    .llseek = file_op_llseek,
    .stat = file_op_stat,
    .mmap = file_op_mmap,
    .release = file_op_release,
};

static struct sandbox s;
static struct vdso vdso;
static struct elf_make m;
static struct load_result result;

static struct file *buffer_open(bool cached)
{
    struct buffer_file *b = calloc(1, sizeof(*b));

    file_init(&b->file, &buffer_ops, 0);
    b->content = &m;
    if (cached)
        cr_assert_eq(pagecache_create(s.memfile, &cache_source, &m, &b->cache), 0);
    return &b->file;
}

static void load(bool cached)
{
    static const char *const argv[] = {"prog", NULL};
    static const char *const envp[] = {NULL};
    struct file *exe = buffer_open(cached);
    struct load_request req = {
        .mm = s.mm,
        .exe = exe,
        .path = "/bin/prog",
        .argv = argv,
        .envp = envp,
        .stack_limit = 8UL << 20,
        .randomize = true,
        .vdso = &vdso,
    };
    char why[256];
    int r;

    for (size_t i = 0; i < sizeof(req.entropy); i++)
        ((uint8_t *)&req.entropy)[i] = (uint8_t)(i * 77 + 5);
    r = loader_load(&req, &result, why, sizeof(why));
    cr_assert_eq(r, 0, "%d: %s", r, why);
    file_unref(exe);
    mm_check(s.mm);
}

static void setup(void)
{
    sandbox_init(&s, 256UL << 20);
    cr_assert_eq(vdso_create(s.memfile, &vdso), 0);
    elf_make_init(&m, ET_EXEC, BASE);
}

/* sandbox_fini() demands that no page is left: what the loader held it has given back. */
static void teardown(void)
{
    vdso_destroy(&vdso);
    file_unref(result.exe);
    sandbox_fini(&s);
}

TestSuite(load_mm, .init = setup, .fini = teardown);

static void same_program(uaddr_t base)
{
    for (uint64_t i = 0; i < 0x1000; i += 13)
        cr_assert_eq(peek(s.mm, base + i), m.bytes[i], "text %#lx", (unsigned long)i);
    for (uint64_t i = 0; i < 0x900; i += 13)
        cr_assert_eq(peek(s.mm, base + 0x2800 + i), m.bytes[0x1800 + i], "data %#lx",
                     (unsigned long)i);
    for (uint64_t i = 0x3100; i < 0x5000; i += 7)
        cr_assert_eq(peek(s.mm, base + i), 0, "bss %#lx", (unsigned long)i);
    cr_assert_eq(poke(s.mm, base, 1), -SEGV_ACCERR);
    cr_assert_eq(poke(s.mm, base + 0x2800, 0xa5), 0);
    cr_assert_eq(peek(s.mm, base + 0x2800), 0xa5);
    cr_assert_eq(m.bytes[0x1800], (uint8_t)(0x1800 * 7), "the file is untouched");
}

Test(load_mm, from_the_page_cache)
{
    load(true);
    same_program(BASE);
}

Test(load_mm, copied)
{
    load(false);
    same_program(BASE);
}

Test(load_mm, stack_and_vdso)
{
    uaddr_t addr;

    load(true);
    addr = mm_layout(s.mm)->vdso;
    cr_assert_eq(peek(s.mm, result.stack), 1);
    cr_assert_eq(peek(s.mm, mm_layout(s.mm)->arg_start), 'p');
    for (size_t i = 0; i < vdso_image_size; i += 11)
        cr_assert_eq(peek(s.mm, addr + i), vdso_image[i]);
    vdso.timepage->resolution_ns = 0x5a;
    cr_assert_eq(peek(s.mm, addr - PAGE_SIZE + offsetof(struct timepage, resolution_ns)), 0x5a);
    cr_assert_neq(poke(s.mm, addr - PAGE_SIZE, 1), 0);
    cr_assert_neq(mm_protect(s.mm, addr - PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
    /* A breakpoint in the code stays in this address space. */
    cr_assert_eq(mm_protect(s.mm, addr, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
    cr_assert_eq(poke(s.mm, addr, 0xcc), 0);
    cr_assert_eq(peek(s.mm, addr), 0xcc);
    cr_assert_eq(((uint8_t *)vdso.timepage)[PAGE_SIZE], vdso_image[0]);
}

Test(load_mm, heap_follows_the_program)
{
    uaddr_t start;

    load(true);
    start = mm_layout(s.mm)->brk_start;
    cr_assert_eq(mm_brk(s.mm, 0), start);
    cr_assert_eq(mm_brk(s.mm, start + 0x3000), start + 0x3000);
    cr_assert_eq(poke(s.mm, start + 0x2fff, 7), 0);
}

/* A small program's pages and the top of its stack need no fault. */
Test(load_mm, comes_in_before_it_runs)
{
    size_t calls;

    load(true);
    calls = map_calls(s.mm);
    for (uint64_t i = 0; i < 0x5000; i += PAGE_SIZE)
        if (i != 0x1000)
            cr_assert_eq(touch(s.mm, BASE + i, i ? ACCESS_WRITE : ACCESS_EXEC), 0);
    cr_assert_eq(touch(s.mm, result.stack, ACCESS_WRITE), 0);
    cr_assert_eq(map_calls(s.mm), calls);
}
