/*
 * Rewritten call sites: what becomes of the bytes, who gets to see it, and that no page with
 * rewritten calls is ever mapped without the island that they lead to.
 */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/usercopy.h"
#include "tests/unit/mm_check.h"

#define RX         (PROT_READ | PROT_EXEC)
#define CALL_ENTRY 0x7ffff1230120UL
#define AT         0x10000000UL /* where the text is mapped */
#define TEXT       PAGE_SIZE    /* and where it is in the file: three pages and a bit */
#define TEXT_SIZE  (3 * PAGE_SIZE + 0x105)
#define MAP_SIZE   (4 * PAGE_SIZE)
#define ISLAND     (AT + 3 * PAGE_SIZE)
#define TAIL       (ISLAND + 0x110)
#define FIRST      (AT + 0x100) /* a site: getppid */
#define SECOND     (AT + 0x200) /* in the same page */
#define OTHER      (AT + PAGE_SIZE + 0x80)
#define NUMBER     110
#define ONCE       7  /* so many calls until the first program has its site rewritten */
#define HERE       4  /* and the next one */
#define HOT        16 /* more than enough */

static struct {
    uint8_t bytes[8 * PAGE_SIZE];
    bool unstable;
} file;

static struct sandbox box;
static struct mappable *object;

static ssize_t read_file(void *arg, uint64_t offset, void *buf, size_t size)
{
    uint64_t n = offset < sizeof(file.bytes) ? MIN(size, sizeof(file.bytes) - offset) : 0;

    memcpy(buf, file.bytes + offset, n);
    return (ssize_t)n;
}

static uint64_t size_of_file(void *arg)
{
    return sizeof(file.bytes);
}

static uint8_t *in_file(uaddr_t addr)
{
    return file.bytes + TEXT + (addr - AT);
}

static void put_site(uaddr_t addr, uint32_t number)
{
    memcpy(in_file(addr), "\xb8\0\0\0\0\x0f\x05", 7);
    memcpy(in_file(addr) + 1, &number, sizeof(number));
}

static void make_file(void)
{
    Elf64_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64},
                     .e_phoff = sizeof(eh),
                     .e_phentsize = sizeof(Elf64_Phdr),
                     .e_phnum = 2};
    Elf64_Phdr ph[2] = {
        {.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = TEXT, .p_memsz = TEXT},
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_X,
         .p_offset = TEXT,
         .p_filesz = TEXT_SIZE,
         .p_memsz = TEXT_SIZE},
    };

    memset(&file, 0, sizeof(file));
    memcpy(file.bytes, &eh, sizeof(eh));
    memcpy(file.bytes + sizeof(eh), ph, sizeof(ph));
    memset(file.bytes + TEXT, 0x90, TEXT_SIZE);
    put_site(FIRST, NUMBER);
    put_site(SECOND, 39);
    put_site(OTHER, 39);
}

static void map_text_at(struct mm *mm, uaddr_t addr, int flags)
{
    struct mm_map_args args = {.addr = addr,
                               .size = MAP_SIZE,
                               .prot = RX,
                               .flags = flags | MAP_FIXED,
                               .object = object,
                               .offset = TEXT,
                               .max_prot = 7};
    uaddr_t got;

    cr_assert_eq(mm_map(mm, &args, &got), 0);
}

static void setup(void)
{
    static struct pagecache_source source = {.read = read_file, .size_now = size_of_file};

    sandbox_init(&box, 64UL << 20);
    box.env.limits.call_entry = CALL_ENTRY;
    make_file();
    source.is_stable = true;
    cr_assert_eq(pagecache_create(box.memfile, &source, NULL, &object), 0);
    map_text_at(box.mm, AT, MAP_PRIVATE);
}

static void teardown(void)
{
    mm_check(box.mm);
    mappable_unref(object);
    sandbox_fini(&box);
}

TestSuite(callsite, .init = setup, .fini = teardown, .timeout = 60);

/* One call from there, as the program makes it. */
static bool call(struct mm *mm, uaddr_t site, uint64_t number)
{
    bool patched;

    cr_assert_eq(touch(mm, site, ACCESS_EXEC), 0);
    patched = mm_note_call(mm, site + 7, number);
    mm_check(mm);
    return patched;
}

static bool calls(struct mm *mm, uaddr_t site, uint64_t number, int times)
{
    bool patched = false;

    while (times-- > 0)
        patched = call(mm, site, number);
    return patched;
}

/* What the program's processor has there. */
static const uint8_t *seen(struct mm *mm, uaddr_t addr)
{
    const struct fake_mapping *m;

    cr_assert_eq(touch(mm, addr, ACCESS_EXEC), 0);
    m = fake_mapping_find(mm_address_space(mm), addr);
    return (uint8_t *)memfile_ptr(box.memfile, m->range.start) + (addr - m->addr);
}

static bool is_rewritten(struct mm *mm, uaddr_t site)
{
    return seen(mm, site)[0] == 0xe9;
}

static bool is_mapped(struct mm *mm, uaddr_t addr)
{
    return fake_mapping_find(mm_address_space(mm), addr) != NULL;
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* Follows the jump as the processor would; what it comes with to call_entry. */
static void check_site(struct mm *mm, uaddr_t site, uint32_t number)
{
    const uint8_t *code = seen(mm, site);
    uaddr_t entry = site + 5 + (uint64_t)(int32_t)get32(code + 1);
    uint64_t target;

    cr_assert_eq(code[0], 0xe9);
    cr_assert_eq(memcmp(code + 5, "\x0f\x05", 2), 0, "the instruction stays");
    cr_assert_eq(entry / PAGE_SIZE, ISLAND / PAGE_SIZE);
    code = seen(mm, entry);
    cr_assert_eq(code[0], 0xb8);
    cr_assert_eq(get32(code + 1), number << 16);
    cr_assert_eq(memcmp(code + 5, "\x48\x8d\x0d", 3), 0);
    cr_assert_eq(entry + 12 + (uint64_t)(int32_t)get32(code + 8), site + 7);
    cr_assert_eq(code[12], 0xe9);
    cr_assert_eq(entry + 17 + (uint64_t)(int32_t)get32(code + 13), TAIL);
    code = seen(mm, TAIL);
    cr_assert_eq(memcmp(code, "\x49\xbb", 2), 0);
    memcpy(&target, code + 2, sizeof(target));
    cr_assert_eq(target, CALL_ENTRY);
    cr_assert_eq(memcmp(code + 10, "\x41\xff\xe3", 3), 0);
}

static void check_island(struct mm *mm)
{
    cr_assert_eq(memcmp(seen(mm, TAIL), "\x49\xbb", 2), 0, "a thread may be inside");
}

Test(callsite, one_that_comes_often_is_rewritten)
{
    cr_assert_not(calls(box.mm, FIRST, NUMBER, ONCE - 1));
    cr_assert_not(is_rewritten(box.mm, FIRST), "not yet");
    cr_assert_not(call(box.mm, FIRST, NUMBER), "it was not, when it trapped");
    check_site(box.mm, FIRST, NUMBER);
    cr_assert(call(box.mm, FIRST, NUMBER));
    cr_assert_eq(seen(box.mm, SECOND)[0], 0xb8, "the one beside it stays");
    cr_assert_eq(seen(box.mm, ISLAND)[0x104], 0x90);
    cr_assert_eq(seen(box.mm, ISLAND)[0x105], 0, "the text does not run into the island");
}

Test(callsite, the_sentry_sees_the_file)
{
    uint8_t bytes[MAP_SIZE];

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert(is_rewritten(box.mm, FIRST));
    cr_assert_eq(mm_remote_read(box.mm, AT, bytes, MAP_SIZE), MAP_SIZE);
    cr_assert_eq(memcmp(bytes, file.bytes + TEXT, MAP_SIZE), 0);
    cr_assert_eq(mm_remote_write(box.mm, SECOND, "\xcc", 1), 1);
    cr_assert_eq(seen(box.mm, SECOND)[0], 0xcc);
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8, "a copy is made of the file's page");
}

Test(callsite, a_second_site_makes_a_version_and_others_keep_theirs)
{
    struct mm *other;

    cr_assert_eq(mm_create(&box.env, &other), 0);
    map_text_at(other, AT, MAP_PRIVATE);
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_not(is_rewritten(other, FIRST));
    cr_assert_not(calls(other, FIRST, NUMBER, HERE - 1));
    cr_assert_not(is_rewritten(other, FIRST), "a few calls are not worth it");
    cr_assert_not(call(other, FIRST, NUMBER));
    check_site(other, FIRST, NUMBER);
    cr_assert(call(other, FIRST, NUMBER));

    calls(box.mm, SECOND, 39, HOT);
    check_site(box.mm, FIRST, NUMBER);
    check_site(box.mm, SECOND, 39);
    check_site(other, FIRST, NUMBER);
    cr_assert_not(is_rewritten(other, SECOND));
    calls(other, SECOND, 39, HOT);
    check_site(other, SECOND, 39);
    mm_check(other);
    mm_unref(other);
}

Test(callsite, refused)
{
    in_file(FIRST)[-1] = 0x49;        /* all of it is a movabs */
    put_site(AT + PAGE_SIZE - 3, 39); /* over the end of a page */
    put_site(ISLAND + 0x40, 39);      /* in the page of the island */
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(calls(box.mm, SECOND, 40, HOT), "not the number");
    cr_assert_not(calls(box.mm, AT + PAGE_SIZE - 3, 39, HOT));
    cr_assert_not(calls(box.mm, ISLAND + 0x40, 39, HOT));
    for (uaddr_t at = AT; at < AT + MAP_SIZE; at += PAGE_SIZE)
        cr_assert_eq(memcmp(seen(box.mm, at), in_file(at), PAGE_SIZE), 0);
}

Test(callsite, text_that_fills_its_last_page_has_no_island)
{
    *in_file(ISLAND + PAGE_SIZE - 1) = 1;
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, what_is_no_elf_file_has_no_island)
{
    file.bytes[0] = 0;
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, shared_or_writable_text_stays)
{
    map_text_at(box.mm, AT, MAP_SHARED);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    map_text_at(box.mm, AT, MAP_PRIVATE);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX | PROT_WRITE), 0);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX), 0);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT), "what was hopeless is looked at anew");
}

Test(callsite, a_mapping_that_is_cut_is_forgotten)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_unmap(box.mm, ISLAND, PAGE_SIZE), 0);
    cr_assert_not(is_mapped(box.mm, FIRST));
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT), "there is no island any more");
    cr_assert_not(is_rewritten(box.mm, FIRST));
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8);

    map_text_at(box.mm, AT, MAP_PRIVATE);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_eq(mm_protect(box.mm, AT, PAGE_SIZE, PROT_READ), 0);
    cr_assert_eq(mm_protect(box.mm, AT, PAGE_SIZE, RX), 0);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT), "it is whole again");
}

Test(callsite, what_is_not_executable_is_not_rewritten)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, PROT_READ), 0);
    cr_assert_eq(peek(box.mm, FIRST), 0xb8);
    mm_check(box.mm);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX), 0);
    check_site(box.mm, FIRST, NUMBER);
}

Test(callsite, moved_text_is_as_it_was)
{
    uaddr_t to = 2 * AT, got;

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(
        mm_remap(box.mm, AT, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to, &got), 0);
    mm_check(box.mm);
    cr_assert_eq(seen(box.mm, to + (FIRST - AT))[0], 0xb8);
    cr_assert_eq(memcmp(seen(box.mm, ISLAND), in_file(ISLAND), 0x105), 0);
    cr_assert_not(calls(box.mm, to + (FIRST - AT), NUMBER, HOT), "it has no island");
}

Test(callsite, all_of_the_text_moves_with_its_island)
{
    uaddr_t to = 2 * AT, got;

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_remap(box.mm, AT, MAP_SIZE, MAP_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to, &got),
                 0);
    mm_check(box.mm);
    cr_assert_not(is_mapped(box.mm, AT));
    cr_assert(calls(box.mm, to + (FIRST - AT), NUMBER, HOT));
    mm_check(box.mm);
}

Test(callsite, a_copy_of_the_islands_page_ends_it)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_remote_write(box.mm, ISLAND, "\xcc", 1), 1);
    mm_check(box.mm);
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, a_guard_in_the_islands_place_ends_it)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_advise(box.mm, ISLAND, PAGE_SIZE, 102 /* MADV_GUARD_INSTALL */), 0);
    mm_check(box.mm);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, text_that_changes_is_left_alone)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    mappable_drop(object);
    mm_check(box.mm);
    check_site(box.mm, FIRST, NUMBER);
    mappable_invalidate(object, TEXT + 5 * PAGE_SIZE, PAGE_SIZE, false);
    mm_check(box.mm);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8);
    cr_assert_eq(memcmp(seen(box.mm, ISLAND), in_file(ISLAND), 0x105), 0);
}

Test(callsite, a_platform_that_forgets_gets_the_same_again)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    calls(box.mm, OTHER, 39, HOT);
    fake_fail_map(mm_address_space(box.mm), 1, -ENOMEM);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, PROT_READ), 0);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX), 0);
    mm_check(box.mm);
    check_site(box.mm, FIRST, NUMBER);
    check_site(box.mm, OTHER, 39);
    mm_check(box.mm);
}

Test(callsite, a_child_keeps_what_fits)
{
    struct mm *child;

    fake_offer_mappings(mm_address_space(box.mm));
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert(is_rewritten(box.mm, FIRST));
    (void)seen(box.mm, ISLAND);
    cr_assert_eq(mm_fork(box.mm, &child), 0);
    mm_check(child);
    cr_assert(is_mapped(child, FIRST));
    check_site(child, FIRST, NUMBER);
    cr_assert(call(child, FIRST, NUMBER), "it is known there");
    mm_unref(child);
}

Test(callsite, a_child_takes_no_old_version)
{
    struct mm *child, *other;

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_create(&box.env, &other), 0);
    map_text_at(other, AT, MAP_PRIVATE);
    calls(other, SECOND, 39, HOT);
    check_site(other, SECOND, 39);
    mm_unref(other);

    fake_offer_mappings(mm_address_space(box.mm));
    cr_assert_eq(mm_fork(box.mm, &child), 0);
    mm_check(child);
    cr_assert_not(is_mapped(child, FIRST));
    cr_assert_eq(mm_unmap(box.mm, AT, MAP_SIZE), 0);
    cr_assert(calls(child, FIRST, NUMBER, HOT));
    check_site(child, SECOND, 39);
    mm_unref(child);
}

Test(callsite, none_is_kept_beside_the_page_without_the_island)
{
    struct mm *child, *plain;

    /* The child's page map has the island's page; its platform is offered the file's. */
    cr_assert_eq(mm_create(&box.env, &plain), 0);
    map_text_at(plain, AT, MAP_PRIVATE);
    (void)seen(plain, FIRST);
    (void)seen(plain, ISLAND);
    calls(box.mm, FIRST, NUMBER, HOT);
    fake_offer_mappings(mm_address_space(plain));
    cr_assert_eq(mm_fork(plain, &child), 0);
    mm_check(child);
    cr_assert_eq(seen(child, FIRST)[0], 0xb8);
    cr_assert(calls(child, FIRST, NUMBER, HOT));
    check_site(child, FIRST, NUMBER);
    mm_unref(child);
    mm_unref(plain);
}

Test(callsite, a_page_has_many_sites)
{
    uaddr_t sites = AT + PAGE_SIZE + 0x200;

    for (uint32_t i = 0; i < 100; i++)
        put_site(sites + 16UL * i, i + 330);
    for (uint32_t i = 0; i < 100; i++)
        calls(box.mm, sites + 16UL * i, i + 330, HOT);
    for (uint32_t i = 0; i < 100; i++)
        check_site(box.mm, sites + 16UL * i, i + 330);
    for (uint32_t i = 100; i-- > 0;)
        cr_assert(calls(box.mm, sites + 16UL * i, i + 330, HOT), "the table may have lost it");
}

Test(callsite, the_island_ends_with_the_page)
{
    uaddr_t sites = AT + PAGE_SIZE + 0x100;
    int rewritten = 0, fit = (0x1000 - 0x110 - 16) / 17;

    for (uint32_t i = 0; i < 230; i++)
        put_site(sites + 16UL * i, i + 400);
    for (uint32_t i = 0; i < 230; i++)
        calls(box.mm, sites + 16UL * i, i + 400, HOT);
    for (uint32_t i = 0; i < 230; i++)
        rewritten += is_rewritten(box.mm, sites + 16UL * i);
    cr_assert_eq(rewritten, fit);
}

Test(callsite, a_part_that_comes_back_finds_the_island)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_unmap(box.mm, ISLAND, PAGE_SIZE), 0);
    {
        struct mm_map_args args = {.addr = ISLAND,
                                   .size = PAGE_SIZE,
                                   .prot = RX,
                                   .flags = MAP_PRIVATE | MAP_FIXED,
                                   .object = object,
                                   .offset = TEXT + (ISLAND - AT),
                                   .max_prot = 7};
        uaddr_t got;

        cr_assert_eq(mm_map(box.mm, &args, &got), 0);
    }
    mm_check(box.mm);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT));
    check_site(box.mm, FIRST, NUMBER);
}

Test(callsite, a_copy_beside_the_island_leaves_it)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    (void)seen(box.mm, ISLAND);
    cr_assert_eq(mm_remote_write(box.mm, ISLAND - 1, "\xcc", 1), 1);
    mm_check(box.mm);
    cr_assert_eq(seen(box.mm, ISLAND - 1)[0], 0xcc);
    check_island(box.mm);
}

Test(callsite, a_debugger_ends_it_for_all_that_follow)
{
    struct mm *child;

    calls(box.mm, FIRST, NUMBER, HOT);
    mm_call_sites_off(box.mm);
    mm_check(box.mm);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
    check_island(box.mm);
    fake_offer_mappings(mm_address_space(box.mm));
    cr_assert_eq(mm_fork(box.mm, &child), 0);
    cr_assert_not(calls(child, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(child, FIRST));
    mm_unref(child);
}

/* Where a signal finds it, and where it is taken. */
static uaddr_t undone(uaddr_t rip, uaddr_t rcx)
{
    struct cpu_regs regs = {.rip = rip, .rcx = rcx};

    mm_call_site_undo(box.mm, &regs);
    return regs.rip;
}

Test(callsite, a_signal_finds_no_island)
{
    uaddr_t first = TAIL + 16, second = first + 17;

    cr_assert_eq(undone(first, 0), first, "there is none yet");
    calls(box.mm, FIRST, NUMBER, HOT);
    calls(box.mm, OTHER, 39, HOT);
    cr_assert_eq(undone(first, 0), FIRST);
    cr_assert_eq(undone(first + 5, 0), FIRST);
    cr_assert_eq(undone(first + 12, 0), FIRST);
    cr_assert_eq(undone(second, 0), OTHER);
    cr_assert_eq(undone(TAIL, FIRST + 7), FIRST);
    cr_assert_eq(undone(TAIL + 10, OTHER + 7), OTHER);

    cr_assert_eq(undone(TAIL, 0), TAIL, "from nowhere");
    cr_assert_eq(undone(TAIL, SECOND + 7), TAIL, "from a site that is none");
    cr_assert_eq(undone(TAIL + 1, FIRST + 7), TAIL + 1, "no instruction");
    cr_assert_eq(undone(first + 1, FIRST + 7), first + 1);
    cr_assert_eq(undone(second + 17, FIRST + 7), second + 17, "behind the last");
    cr_assert_eq(undone(FIRST, FIRST + 7), FIRST);
    cr_assert_eq(undone(UINT64_MAX, UINT64_MAX), UINT64_MAX);

    cr_assert_eq(mm_protect(box.mm, AT, PAGE_SIZE, PROT_READ), 0);
    cr_assert_eq(undone(TAIL, OTHER + 7), OTHER, "a thread may still be inside");
    cr_assert_eq(undone(second, 0), OTHER);
    cr_assert_eq(undone(first, 0), first, "the site is not in the mapping any more");
}

/* ---- syscall(2): mov 8(%rsp), %r9; syscall -------------------------------------------------- */

#define LOAD (AT + 2 * PAGE_SIZE + 0x300)

static void put_load(uaddr_t site)
{
    memcpy(in_file(site), "\x4c\x8b\x4c\x24\x08\x0f\x05", 7);
}

/* Its entry is at `entry`. */
static void check_load(struct mm *mm, uaddr_t site, uaddr_t entry)
{
    const uint8_t *code = seen(mm, site);

    cr_assert_eq(code[0], 0xe9);
    cr_assert_eq(site + 5 + (uint64_t)(int32_t)get32(code + 1), entry);
    cr_assert_eq(memcmp(code + 5, "\x0f\x05", 2), 0, "the instruction stays");
    code = seen(mm, entry);
    cr_assert_eq(memcmp(code, in_file(site), 5), 0, "the first instruction of the site");
    cr_assert_eq(entry + 24 + (uint64_t)(int32_t)get32(code + 20), site + 5);
    cr_assert_eq(entry + 35 + (uint64_t)(int32_t)get32(code + 31), site + 7);
    cr_assert_eq(entry + 40 + (uint64_t)(int32_t)get32(code + 36), TAIL);
}

static void check_undone(struct cpu_regs regs, uaddr_t rip, uint64_t rax)
{
    mm_call_site_undo(box.mm, &regs);
    cr_assert_eq(regs.rip, rip);
    cr_assert_eq(regs.rax, rax);
}

Test(callsite, one_of_any_number)
{
    uaddr_t entry = TAIL + 16 + 17;

    put_load(LOAD);
    calls(box.mm, FIRST, NUMBER, HOT);
    for (uint64_t i = 0; i < HOT; i++)
        call(box.mm, LOAD, i % 2 ? SYS_clone : 202 + i);
    check_load(box.mm, LOAD, entry);
    cr_assert(call(box.mm, LOAD, 39));
    cr_assert_not(call(box.mm, LOAD, 0x10000), "that is a trap, whoever listens");
    cr_assert(call(box.mm, LOAD, 0xffff));
    calls(box.mm, OTHER, 39, HOT);
    check_site(box.mm, FIRST, NUMBER);
    check_site(box.mm, OTHER, 39);
    cr_assert_eq(memcmp(seen(box.mm, entry + 40), "\0\0\0\0\0\0\0\0\0\0\0\xb8", 12), 0,
                 "the next one begins behind three slots");

    check_undone((struct cpu_regs){.rip = entry, .rax = 202}, LOAD, 202);
    check_undone((struct cpu_regs){.rip = entry + 19, .rax = -1UL}, LOAD + 5, -1UL);
    check_undone((struct cpu_regs){.rip = entry + 26, .rax = 0xca00}, LOAD + 5, 202);
    check_undone((struct cpu_regs){.rip = entry + 28, .rax = 202 << 16}, LOAD + 5, 202);
    check_undone((struct cpu_regs){.rip = entry + 34, .rax = 202}, entry + 34, 202);
    check_undone((struct cpu_regs){.rip = entry + 40, .rax = 202}, entry + 40, 202);
    check_undone((struct cpu_regs){.rip = entry + 51, .rax = 202}, OTHER, 202);
    check_undone((struct cpu_regs){.rip = TAIL, .rax = 202 << 16, .rcx = LOAD + 7}, LOAD + 5, 202);
    check_undone((struct cpu_regs){.rip = TAIL + 10, .rax = 202 << 16, .rcx = LOAD + 7}, LOAD + 5,
                 202);
    check_undone((struct cpu_regs){.rip = TAIL, .rax = 202 << 16, .rcx = LOAD}, TAIL, 202 << 16);

    cr_assert_eq(mm_protect(box.mm, AT + 2 * PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
    check_undone((struct cpu_regs){.rip = entry + 28, .rax = 202 << 16}, entry + 28, 202 << 16);
}

Test(callsite, the_island_has_room_for_a_whole_entry)
{
    uaddr_t sites = AT + PAGE_SIZE + 0x100, last = TAIL + 16;
    int fit = (0x1000 - 0x110 - 16) / 17;

    for (int i = 0; i < 78; i++)
        put_load(sites + 16UL * (unsigned int)i);
    for (int i = 0; i < 78; i++)
        calls(box.mm, sites + 16UL * (unsigned int)i, 39, HOT);
    for (int i = 0; i < 78; i++, last += 51) {
        if (i < fit / 3)
            check_load(box.mm, sites + 16UL * (unsigned int)i, last);
        else
            cr_assert_not(is_rewritten(box.mm, sites + 16UL * (unsigned int)i));
    }
    cr_assert_neq(fit % 3, 0);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT), "there is room for a small one");
}

/* ---- read(2): xor %eax, %eax; syscall ------------------------------------------------------- */

#define ZERO (AT + 2 * PAGE_SIZE + 0x100)
#define NOP  (ZERO + 20) /* of ten bytes */
#define STEP (NOP + 5)

static void put_zero(uaddr_t site)
{
    memcpy(in_file(site), "\x31\xc0\x0f\x05", 4);
}

static void put_nop(uaddr_t at)
{
    memcpy(in_file(at), "\x66\x2e\x0f\x1f\x84\0\0\0\0", 10);
}

static bool call_zero(struct mm *mm, uaddr_t site, int times)
{
    bool patched = false;

    while (times-- > 0) {
        cr_assert_eq(touch(mm, site, ACCESS_EXEC), 0);
        patched = mm_note_call(mm, site + 4, 0);
        mm_check(mm);
    }
    return patched;
}

static void check_zero(struct mm *mm, uaddr_t site, uaddr_t step)
{
    const uint8_t *code = seen(mm, site);
    uaddr_t entry;

    cr_assert_eq(code[0], 0xeb);
    cr_assert_eq(site + 2 + (uint64_t)(int8_t)code[1], step);
    cr_assert_eq(memcmp(code + 2, "\x0f\x05", 2), 0, "the instruction stays");
    code = seen(mm, step);
    cr_assert_eq(memcmp(code - 3, "\x0f\x1f\x84\xe9", 4), 0, "in the nop");
    entry = step + 5 + (uint64_t)(int32_t)get32(code + 1);
    code = seen(mm, entry);
    cr_assert_eq(memcmp(code, "\x31\xc0\x0f\x1f\0\x48\x8d\x0d", 8), 0);
    cr_assert_eq(entry + 12 + (uint64_t)(int32_t)get32(code + 8), site + 4);
    cr_assert_eq(code[12], 0xe9);
    cr_assert_eq(entry + 17 + (uint64_t)(int32_t)get32(code + 13), TAIL);
}

Test(callsite, a_short_one_has_a_step_in_a_nop)
{
    put_zero(ZERO);
    put_nop(NOP);
    cr_assert(call_zero(box.mm, ZERO, HOT));
    check_zero(box.mm, ZERO, STEP);
    cr_assert_eq(memcmp(seen(box.mm, NOP), in_file(NOP), 5), 0);
    cr_assert_eq(undone(STEP, 0), ZERO, "a signal finds no step");
    cr_assert_eq(undone(TAIL + 16 + 2, 0), ZERO);
    cr_assert_eq(undone(TAIL, ZERO + 4), ZERO);
}

Test(callsite, a_step_is_of_one_site)
{
    put_zero(ZERO);
    put_zero(ZERO + 8);
    put_nop(NOP);
    call_zero(box.mm, ZERO, HOT);
    cr_assert_not(call_zero(box.mm, ZERO + 8, HOT));
    check_zero(box.mm, ZERO, STEP);
    cr_assert_eq(seen(box.mm, ZERO + 8)[0], 0x31);
}

Test(callsite, who_is_on_a_step_when_all_is_undone_gets_back)
{
    const uint8_t *code;

    put_zero(ZERO);
    put_nop(NOP);
    put_site(ZERO + 0x40, 39);
    call_zero(box.mm, ZERO, HOT);
    calls(box.mm, ZERO + 0x40, 39, HOT);
    cr_assert_eq(mm_unmap(box.mm, ISLAND, PAGE_SIZE), 0);
    cr_assert_eq(memcmp(seen(box.mm, ZERO), in_file(ZERO), 4), 0);
    cr_assert_eq(seen(box.mm, ZERO + 0x40)[0], 0xb8);
    code = seen(box.mm, STEP);
    cr_assert_eq(code[0], 0xe9);
    cr_assert_eq(STEP + 5 + (uint64_t)(int32_t)get32(code + 1), ZERO);
    cr_assert_eq(undone(STEP, 0), ZERO);
    cr_assert_not(call_zero(box.mm, ZERO, HOT));
}
