#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "tests/unit/mm_check.h"

#define RW  (PROT_READ | PROT_WRITE)
#define KIB (1UL << 10)
#define MIB (1UL << 20)

static struct sandbox box;

static void setup(void)
{
    sandbox_init(&box, 64 * MIB);
}

static void teardown(void)
{
    mm_check(box.mm);
    sandbox_fini(&box);
}

TestSuite(usercopy, .init = setup, .fini = teardown);

Test(usercopy, across_pages_and_mappings)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, MIB, RW);
    static uint8_t out[200000], in[200000];

    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 7 + i / 256);
    cr_assert_eq(copy_to_user(mm, a + 123, out, sizeof(out)), 0);
    cr_assert_eq(mm_protect(mm, a + 8192, 4096, PROT_READ), 0);
    cr_assert_eq(copy_from_user(mm, in, a + 123, sizeof(in)), 0);
    cr_assert_eq(memcmp(in, out, sizeof(in)), 0);
    cr_assert_eq(peek(mm, a + 123 + 70000), out[70000], "the guest sees the same");
    cr_assert_eq(copy_to_user_partial(mm, a + 8000, out, 1000), 192);
    cr_assert_eq(copy_to_user(mm, a + 8000, out, 1000), -EFAULT);
    cr_assert_eq(copy_from_user_partial(mm, in, a + MIB - 10, 100), 10);
    cr_assert_eq(clear_user(mm, a + 4000, 200), 0);
    cr_assert_eq(copy_from_user(mm, in, a + 3999, 202), 0);
    cr_assert_neq(in[0] | in[201], 0);
    for (int i = 1; i < 201; i++)
        cr_assert_eq(in[i], 0);
}

Test(usercopy, hostile_ranges)
{
    struct mm *mm = box.mm;
    char buf[64];
    uint32_t word;

    cr_assert_eq(copy_from_user(mm, buf, 0, 8), -EFAULT);
    cr_assert_eq(copy_from_user(mm, buf, 0, 0), 0);
    cr_assert_eq(copy_from_user(mm, buf, UINT64_MAX - 3, 8), -EFAULT);
    cr_assert_eq(copy_from_user(mm, buf, FAKE_USER_MAX - 4, 8), -EFAULT);
    cr_assert_eq(copy_to_user(mm, 0xffff800000000000, buf, 8), -EFAULT);
    cr_assert_eq(copy_to_user(mm, 1UL << 48, buf, 8), -EFAULT);
    cr_assert_eq(copy_to_user_partial(mm, UINT64_MAX, buf, 64), 0);
    cr_assert_eq(strncpy_from_user(mm, buf, FAKE_USER_MAX, 8), -EFAULT);
    cr_assert_eq(strncpy_from_user(mm, buf, UINT64_MAX, 8), -EFAULT);
    cr_assert_eq(user_load32(mm, FAKE_USER_MAX - 4, &word), -EFAULT);
    cr_assert_eq(user_load32(mm, UINT64_MAX - 3, &word), -EFAULT);
    cr_assert_eq(user_cmpxchg32(mm, 0x10001, 0, 1, &word), -EFAULT);
}

Test(usercopy, strings)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 8 * KIB, RW);
    static char text[8 * KIB], buf[8 * KIB];

    memset(text, 'x', sizeof(text));
    cr_assert_eq(copy_to_user(mm, a, text, sizeof(text)), 0);
    cr_assert_eq(strncpy_from_user(mm, buf, a, 100), -ENAMETOOLONG);
    cr_assert_eq(strncpy_from_user(mm, buf, a + 4096, 8000), -EFAULT, "runs off the mapping");
    cr_assert_eq(copy_to_user(mm, a + 5000, "", 1), 0);
    cr_assert_eq(strncpy_from_user(mm, buf, a, sizeof(buf)), 5000);
    cr_assert_eq(strlen(buf), 5000);
    cr_assert_eq(strncpy_from_user(mm, buf, a + 5000, sizeof(buf)), 0);
    cr_assert_eq(strncpy_from_user(mm, buf, a + 4990, 11), 10);
    cr_assert_eq(strncpy_from_user(mm, buf, a + 4990, 10), -ENAMETOOLONG);
}

Test(usercopy, words)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 4 * KIB, RW);
    uint32_t word = 5;

    cr_assert_eq(user_cmpxchg32(mm, a, 0, 7, &word), 0);
    cr_assert_eq(word, 0);
    cr_assert_eq(user_cmpxchg32(mm, a, 0, 8, &word), 0);
    cr_assert_eq(word, 7);
    cr_assert_eq(user_load32(mm, a, &word), 0);
    cr_assert_eq(word, 7);
    cr_assert_eq(mm_protect(mm, a, 4 * KIB, PROT_READ), 0);
    cr_assert_eq(user_cmpxchg32(mm, a, 7, 8, &word), -EFAULT);
    cr_assert_eq(user_load32(mm, a, &word), 0);
}

Test(usercopy, a_grown_stack_is_written_by_the_kernel_too)
{
    struct mm *mm = box.mm;
    uaddr_t top = 0x20000000;

    cr_assert_gt(
        map_at(mm, top - 8192, 8192, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN),
        0);
    cr_assert_eq(copy_to_user(mm, top - 40000, "frame", 6), 0);
    cr_assert_eq(peek(mm, top - 40000), 'f');
}

/* ---- uio ---------------------------------------------------------------------------------- */

Test(usercopy, uio_scatters_and_gathers)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 64 * KIB, RW);
    uint64_t iov[8] = {a + 10, 5, a + 100, 0, a + 4090, 20, a + 9000, 7};
    char buf[64] = {0};
    struct uio uio;

    cr_assert_eq(copy_to_user(mm, a + 32 * KIB, iov, sizeof(iov)), 0);
    cr_assert_eq(uio_import(&uio, mm, a + 32 * KIB, 4), 0);
    cr_assert_eq(uio.left, 32);
    cr_assert_eq(uio_copy_out(&uio, "abcdefgh", 8), 8);
    cr_assert_eq(uio_zero(&uio, 2), 2);
    cr_assert_eq(uio_copy_out(&uio, "ijklmnopqrstuvwxyz0123456789", 28), 22);
    cr_assert_eq(uio.left, 0);
    uio_release(&uio);
    cr_assert_eq(copy_from_user(mm, buf, a + 10, 6), 0);
    cr_assert_str_eq(buf, "abcde");
    cr_assert_eq(copy_from_user(mm, buf, a + 4090, 21), 0);
    cr_assert_eq(memcmp(buf, "fgh\0\0ijklmnopqrstuvw\0", 20), 0);

    cr_assert_eq(uio_import(&uio, mm, a + 32 * KIB, 4), 0);
    uio_advance(&uio, 3);
    memset(buf, 0, sizeof(buf));
    cr_assert_eq(uio_copy_in(&uio, buf, 4), 4);
    cr_assert_str_eq(buf, "defg");
    uio_release(&uio);
}

Test(usercopy, uio_import_errors)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 64 * KIB, RW);
    uint64_t negative[4] = {a, 8, a, 1UL << 63}, kernel[2] = {1UL << 63, 8};
    uint64_t huge[4] = {a, 0x7ffff000, a, 0x7ffff000};
    struct uio uio;

    cr_assert_eq(uio_import(&uio, mm, a, 1025), -EINVAL);
    cr_assert_eq(uio_import(&uio, mm, a, UINT64_MAX), -EINVAL);
    cr_assert_eq(uio_import(&uio, mm, 8, 2), -EFAULT);
    cr_assert_eq(copy_to_user(mm, a, negative, sizeof(negative)), 0);
    cr_assert_eq(uio_import(&uio, mm, a, 2), -EINVAL);
    cr_assert_eq(copy_to_user(mm, a, kernel, sizeof(kernel)), 0);
    cr_assert_eq(uio_import(&uio, mm, a, 1), -EFAULT);
    cr_assert_eq(copy_to_user(mm, a, huge, sizeof(huge)), 0);
    cr_assert_eq(uio_import(&uio, mm, a, 2), 0);
    cr_assert_eq(uio.left, UIO_MAX_BYTES);
    uio_release(&uio);
    cr_assert_eq(uio_import(&uio, mm, a, 0), 0);
    cr_assert_eq(uio.left, 0);
    uio_release(&uio);
}

Test(usercopy, uio_host_buffers)
{
    char src[] = "sentry", dst[8] = {0};
    struct uio_pin pin;
    struct uio uio;

    uio_init_host(&uio, src, 6);
    cr_assert_eq(uio_copy_in(&uio, dst, 3), 3);
    cr_assert_eq(uio_pin(&uio, 100, false, &pin), 0);
    cr_assert_eq(pin.count, 1);
    cr_assert_eq(pin.iov[0].iov_base, (void *)(src + 3));
    cr_assert_eq(pin.iov[0].iov_len, 3);
    uio_unpin(&pin);
    cr_assert_eq(uio_copy_in(&uio, dst + 3, 100), 3);
    cr_assert_str_eq(dst, "sentry");
}

Test(usercopy, pinned_pages_outlive_their_mapping)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, MIB, RW);
    struct memfile_stats stats;
    struct uio_pin pin;
    struct uio uio;

    cr_assert_eq(poke(mm, a + 5000, 42), 0);
    uio_init_user(&uio, mm, a + 4996, 300000);
    cr_assert_eq(uio_pin(&uio, 200000, false, &pin), 0);
    cr_assert_eq(pin.size, 200000);
    cr_assert_eq(uio.left, 300000, "pinning does not advance");
    cr_assert_eq(mm_unmap(mm, a, MIB), 0);
    cr_assert_eq(((uint8_t *)pin.iov[0].iov_base)[4], 42);
    uio_unpin(&pin);
    memfile_get_stats(box.memfile, &stats);
    cr_assert_eq(stats.allocated, 0);
    cr_assert_eq(uio_pin(&uio, 1, false, &pin), -EFAULT);
}

Test(usercopy, a_pin_ends_where_access_ends)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 12 * KIB, RW);
    struct uio_pin pin;
    struct uio uio;

    cr_assert_eq(mm_protect(mm, a + 8 * KIB, 4 * KIB, PROT_READ), 0);
    uio_init_user(&uio, mm, a + 100, 12 * KIB - 100);
    cr_assert_eq(uio_pin(&uio, UINT64_MAX, true, &pin), 0);
    cr_assert_eq(pin.size, 8 * KIB - 100);
    uio_unpin(&pin);
    cr_assert_eq(uio_pin(&uio, UINT64_MAX, false, &pin), 0);
    cr_assert_eq(pin.size, 12 * KIB - 100);
    uio_unpin(&pin);
}

/* ---- files -------------------------------------------------------------------------------- */

struct file_bytes {
    uint8_t bytes[200000];
    uint64_t size;
    int reads;
    bool released, broken;
};

static ssize_t read_bytes(void *arg, uint64_t offset, void *buf, size_t size)
{
    struct file_bytes *f = arg;

    f->reads++;
    if (f->broken)
        return -EIO;
    if (offset >= f->size)
        return 0;
    size = MIN(size, f->size - offset);
    size = MIN(size, (size_t)30000); /* short reads happen */
    memcpy(buf, f->bytes + offset, size);
    return (ssize_t)size;
}

static uint64_t size_of_bytes(void *arg)
{
    return ((struct file_bytes *)arg)->size;
}

static void release_bytes(void *arg)
{
    ((struct file_bytes *)arg)->released = true;
}

static struct file_bytes *file_make(uint64_t size, struct mappable **ret)
{
    static const struct pagecache_source source = {
        .read = read_bytes, .size_now = size_of_bytes, .release = release_bytes};
    static struct file_bytes f;

    f = (struct file_bytes){.size = size};
    for (size_t i = 0; i < sizeof(f.bytes); i++)
        f.bytes[i] = (uint8_t)(i / 1000 + 1);
    cr_assert_eq(pagecache_create(box.memfile, &source, &f, ret), 0);
    return &f;
}

static int64_t map_file(struct mappable *m, uint64_t size, uint64_t offset, int prot, int flags,
                        int max_prot)
{
    struct mm_map_args args = {.size = size,
                               .prot = prot,
                               .flags = flags,
                               .object = m,
                               .offset = offset,
                               .max_prot = max_prot};
    uaddr_t addr = 0;
    int err = mm_map(box.mm, &args, &addr);

    return err ? err : (int64_t)addr;
}

Test(usercopy, private_file_mapping)
{
    struct mm *mm = box.mm, *child;
    struct mappable *m;
    struct file_bytes *f = file_make(100000, &m);
    uaddr_t a = (uaddr_t)map_file(m, 128 * KIB, 0, RW, MAP_PRIVATE, 7);
    uaddr_t b = (uaddr_t)map_file(m, 8 * KIB, 64 * KIB, PROT_READ, MAP_PRIVATE, 7);

    mappable_unref(m);
    cr_assert_eq(peek(mm, a + 50000), 51);
    cr_assert_eq(f->reads, 3, "64 KiB at once");
    cr_assert_eq(peek(mm, a + 99999), 100);
    cr_assert_eq(peek(mm, a + 100000), 0, "the last page's rest is zero");
    cr_assert_eq(touch(mm, a + 102400, ACCESS_READ), -(BUS_ADRERR + 100), "beyond the end");
    cr_assert_eq(poke(mm, a + 70000, 200), 0);
    cr_assert_eq(peek(mm, a + 70000), 200);
    cr_assert_eq(peek(mm, b + 70000 - 65536), 71, "others do not see it");
    mm_check(mm);
    cr_assert_eq(mm_fork(mm, &child), 0);
    cr_assert_eq(peek(child, a + 70000), 200);
    cr_assert_eq(peek(child, a + 50000), 51);
    cr_assert_eq(poke(child, a + 50000, 3), 0);
    cr_assert_eq(peek(mm, a + 50000), 51);
    mm_check(child);
    mm_unref(child);
    cr_assert(!f->released);
    cr_assert_eq(mm_unmap(mm, a, 128 * KIB), 0);
    cr_assert_eq(mm_unmap(mm, b, 8 * KIB), 0);
    cr_assert(f->released, "the last mapping holds the object");
}

Test(usercopy, file_mapping_errors)
{
    struct mm *mm = box.mm;
    struct mappable *m;
    struct file_bytes *f = file_make(100000, &m);
    uaddr_t a;

    cr_assert_eq(map_file(m, 4096, 0, RW, MAP_SHARED, PROT_READ | PROT_EXEC), -EACCES);
    cr_assert_eq(map_file(m, 4096, 0, PROT_READ, MAP_SHARED, PROT_WRITE), -EACCES);
    cr_assert_eq(map_file(m, 4096, 1, PROT_READ, MAP_PRIVATE, 7), -EINVAL);
    cr_assert_eq(map_file(m, 8192, (uint64_t)INT64_MAX - 4095, PROT_READ, MAP_PRIVATE, 7),
                 -EOVERFLOW);
    cr_assert_eq(map_file(m, 4096, 0, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, 7), -EINVAL);
    cr_assert_eq(map_file(m, 4096, 0, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, 7), -EOPNOTSUPP);
    cr_assert_eq(map_file(m, 4096, 0, PROT_READ, 0, 7), -EINVAL);
    a = (uaddr_t)map_file(m, 4096, 0, PROT_READ, MAP_SHARED, PROT_READ);
    cr_assert_eq(mm_protect(mm, a, 4096, RW), -EACCES);
    f->broken = true;
    cr_assert_eq(touch(mm, a, ACCESS_READ), -(BUS_ADRERR + 100));
    f->broken = false;
    cr_assert_eq(peek(mm, a), 1);
    mappable_unref(m);
}

Test(usercopy, truncation_reaches_mappings)
{
    struct mm *mm = box.mm, *child;
    struct mappable *m;
    struct file_bytes *f = file_make(100000, &m);
    uaddr_t a = (uaddr_t)map_file(m, 128 * KIB, 0, RW, MAP_PRIVATE, 7);
    uaddr_t b = (uaddr_t)map_file(m, 64 * KIB, 32 * KIB, PROT_READ, MAP_SHARED, PROT_READ);

    cr_assert_eq(poke(mm, a + 60000, 9), 0);
    cr_assert_eq(peek(mm, a + 10000), 11);
    cr_assert_eq(mm_fork(mm, &child), 0);
    cr_assert_eq(peek(child, b), 33);
    f->size = 40000;
    pagecache_cut_held(m, 100000, 40000);
    mappable_invalidate(m, round_up(40000, PAGE_SIZE), UINT64_MAX, true);
    mm_check(mm);
    mm_check(child);
    cr_assert_eq(touch(mm, a + 60000, ACCESS_READ), -(BUS_ADRERR + 100));
    cr_assert_eq(touch(child, b + 60000 - 32768, ACCESS_READ), -(BUS_ADRERR + 100));
    cr_assert_eq(peek(child, b), 33);
    cr_assert_eq(peek(mm, a + 10000), 11);
    mm_unref(child);
    mappable_unref(m);
}

/* An object that is truncated while it is asked: what it then gives must not be used. */
struct restless {
    struct mappable base;
    int asked;
    struct memfile_range stale;
};

static int restless_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                              struct memfile_range *ret_range)
{
    struct restless *r = container_of(m, struct restless, base);

    if (r->asked++ > 0)
        return -EFAULT;
    cr_assert_eq(memfile_alloc(box.memfile, PAGE_SIZE, PAGE_SIZE, ret_range), 0);
    mappable_invalidate(m, 0, UINT64_MAX, true);
    return 0;
}

static void restless_release(struct mappable *m)
{
    mappable_fini(m);
}

Test(usercopy, a_page_that_was_invalidated_on_its_way_is_not_used)
{
    static const struct mappable_ops ops = {.get_pages = restless_get_pages,
                                            .release = restless_release};
    struct restless r = {.asked = 0};
    uaddr_t a;

    mappable_init(&r.base, &ops);
    a = (uaddr_t)map_file(&r.base, 4096, 0, PROT_READ, MAP_SHARED, PROT_READ);
    cr_assert_eq(touch(box.mm, a, ACCESS_READ), -(BUS_ADRERR + 100));
    cr_assert_eq(r.asked, 2);
    cr_assert_eq(mm_unmap(box.mm, a, 4096), 0);
    mappable_unref(&r.base);
}

/* An object that wants to know what is written, and gives another page for it. */
struct tracked {
    struct mappable base;
    struct memfile_range clean, dirty;
    int reads, writes;
};

static int tracked_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                             struct memfile_range *ret_range)
{
    struct tracked *t = container_of(m, struct tracked, base);

    t->reads += !write;
    t->writes += write;
    *ret_range = write ? t->dirty : t->clean;
    memfile_ref(box.memfile, *ret_range);
    return 0;
}

static void tracked_release(struct mappable *m)
{
    struct tracked *t = container_of(m, struct tracked, base);

    memfile_unref(box.memfile, t->clean);
    memfile_unref(box.memfile, t->dirty);
    mappable_fini(m);
}

Test(usercopy, objects_are_told_of_the_first_write)
{
    static const struct mappable_ops ops = {
        .get_pages = tracked_get_pages, .release = tracked_release, .wants_write_notice = true};
    struct mm *mm = box.mm;
    struct tracked t = {.reads = 0};
    uaddr_t a;

    mappable_init(&t.base, &ops);
    cr_assert_eq(memfile_alloc(box.memfile, PAGE_SIZE, PAGE_SIZE, &t.clean), 0);
    cr_assert_eq(memfile_alloc(box.memfile, PAGE_SIZE, PAGE_SIZE, &t.dirty), 0);
    a = (uaddr_t)map_file(&t.base, 4096, 0, RW, MAP_SHARED, 7);
    mappable_unref(&t.base);
    cr_assert_eq(peek(mm, a), 0);
    cr_assert_eq(t.reads, 1);
    cr_assert_eq(t.writes, 0);
    cr_assert_eq(poke(mm, a, 5), 0);
    cr_assert_eq(t.writes, 1);
    cr_assert_eq(*(uint8_t *)memfile_ptr(box.memfile, t.dirty.start), 5);
    cr_assert_eq(copy_to_user(mm, a, "x", 1), 0);
    cr_assert_eq(t.writes, 1);
    cr_assert_eq(mm_protect(mm, a, 4096, PROT_READ), 0);
    cr_assert_eq(mm_protect(mm, a, 4096, RW), 0);
    cr_assert_eq(poke(mm, a, 6), 0);
    cr_assert_eq(mm_unmap(mm, a, 4096), 0);
}

static ssize_t read_offsets(void *arg, uint64_t offset, void *buf, size_t size)
{
    for (size_t i = 0; i < size; i += sizeof(uint64_t))
        ((uint64_t *)buf)[i / sizeof(uint64_t)] = offset + i;
    return (ssize_t)size;
}

static uint64_t forty_mib(void *arg)
{
    return 40 * MIB;
}

Test(usercopy, cached_pages_make_room_when_memory_runs_out)
{
    static const struct pagecache_source source = {.read = read_offsets, .size_now = forty_mib};
    struct mm *mm = box.mm;
    struct mappable *m;
    uaddr_t file, anon = (uaddr_t)map_anon(mm, 48 * MIB, RW);

    cr_assert_eq(pagecache_create(box.memfile, &source, NULL, &m), 0);
    file = (uaddr_t)map_file(m, 40 * MIB, 0, PROT_READ, MAP_SHARED, PROT_READ);
    mappable_unref(m);
    for (int round = 0; round < 2; round++) {
        for (uint64_t at = 0; at < 40 * MIB; at += PAGE_SIZE) {
            uint64_t value;

            cr_assert_eq(copy_from_user(mm, &value, file + at + 8, 8), 0);
            cr_assert_eq(value, at + 8);
        }
        for (uint64_t at = 0; at < 48 * MIB; at += PAGE_SIZE)
            cr_assert_eq(poke(mm, anon + at, 1), 0);
    }
    mm_check(mm);
}
