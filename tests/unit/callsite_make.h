/*
 * A file with text in which some calls are made often, mapped in an mm over the fake platform: for
 * the tests of rewritten call sites.
 */
#ifndef TESTS_UNIT_CALLSITE_MAKE_H
#define TESTS_UNIT_CALLSITE_MAKE_H

#include <criterion/criterion.h>
#include <elf.h>
#include <string.h>

#include "sentry/mm/mappable.h"
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
} file;

static struct sandbox box;
static struct mappable *object;

static inline ssize_t read_file(void *arg, uint64_t offset, void *buf, size_t size)
{
    uint64_t n = offset < sizeof(file.bytes) ? MIN(size, sizeof(file.bytes) - offset) : 0;

    memcpy(buf, file.bytes + offset, n);
    return (ssize_t)n;
}

static inline uint64_t size_of_file(void *arg)
{
    return sizeof(file.bytes);
}

static inline uint8_t *in_file(uaddr_t addr)
{
    return file.bytes + TEXT + (addr - AT);
}

static inline void put_site(uaddr_t addr, uint32_t number)
{
    memcpy(in_file(addr), "\xb8\0\0\0\0\x0f\x05", 7);
    memcpy(in_file(addr) + 1, &number, sizeof(number));
}

static inline void make_file(void)
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

/* A part of the text, where it belongs. */
static inline void map_part(struct mm *mm, uaddr_t addr, uint64_t size, int flags)
{
    struct mm_map_args args = {.addr = addr,
                               .size = size,
                               .prot = RX,
                               .flags = flags | MAP_FIXED,
                               .object = object,
                               .offset = TEXT + (addr - AT),
                               .max_prot = 7};
    uaddr_t got;

    cr_assert_eq(mm_map(mm, &args, &got), 0);
}

static inline void map_text(struct mm *mm, int flags)
{
    map_part(mm, AT, MAP_SIZE, flags);
}

static inline void setup(void)
{
    static struct pagecache_source source = {.read = read_file, .size_now = size_of_file};

    sandbox_init(&box, 64UL << 20);
    box.env.limits.call_entry = CALL_ENTRY;
    make_file();
    source.is_stable = true;
    cr_assert_eq(pagecache_create(box.memfile, &source, NULL, &object), 0);
    map_text(box.mm, MAP_PRIVATE);
}

static inline void teardown(void)
{
    mm_check(box.mm);
    mappable_unref(object);
    sandbox_fini(&box);
}

TestSuite(callsite, .init = setup, .fini = teardown, .timeout = 60);

/* Calls from a site of so many bytes, as the program makes them; true if the last was rewritten. */
static inline bool calls_of(struct mm *mm, uaddr_t site, unsigned int size, uint64_t number,
                            int times)
{
    bool patched = false;

    while (times-- > 0) {
        cr_assert_eq(touch(mm, site, ACCESS_EXEC), 0);
        patched = mm_note_call(mm, site + size, number);
        mm_check(mm);
    }
    return patched;
}

static inline bool calls(struct mm *mm, uaddr_t site, uint64_t number, int times)
{
    return calls_of(mm, site, 7, number, times);
}

static inline bool call(struct mm *mm, uaddr_t site, uint64_t number)
{
    return calls(mm, site, number, 1);
}

/* What the program's processor has there. */
static inline const uint8_t *seen(struct mm *mm, uaddr_t addr)
{
    const struct fake_mapping *m;

    cr_assert_eq(touch(mm, addr, ACCESS_EXEC), 0);
    m = fake_mapping_find(mm_address_space(mm), addr);
    return (uint8_t *)memfile_ptr(box.memfile, m->range.start) + (addr - m->addr);
}

static inline bool is_rewritten(struct mm *mm, uaddr_t site)
{
    return seen(mm, site)[0] == 0xe9;
}

static inline bool is_mapped(struct mm *mm, uaddr_t addr)
{
    return fake_mapping_find(mm_address_space(mm), addr) != NULL;
}

static inline uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* Where an instruction at `at` leads that ends, with a distance, n bytes behind. */
static inline uaddr_t leads_to(struct mm *mm, uaddr_t at, unsigned int n)
{
    return at + n + (uint64_t)(int32_t)get32(seen(mm, at + n - 4));
}

/* Follows the jump as the processor would; what it comes with to call_entry. */
static inline void check_site(struct mm *mm, uaddr_t site, uint32_t number)
{
    const uint8_t *code = seen(mm, site);
    uaddr_t entry = leads_to(mm, site, 5);
    uint64_t target;

    cr_assert_eq(code[0], 0xe9);
    cr_assert_eq(memcmp(code + 5, "\x0f\x05", 2), 0, "the instruction stays");
    cr_assert_eq(entry / PAGE_SIZE, ISLAND / PAGE_SIZE);
    code = seen(mm, entry);
    cr_assert_eq(code[0], 0xb8);
    cr_assert_eq(get32(code + 1), number << 16);
    cr_assert_eq(memcmp(code + 5, "\x48\x8d\x0d", 3), 0);
    cr_assert_eq(leads_to(mm, entry, 12), site + 7);
    cr_assert_eq(code[12], 0xe9);
    cr_assert_eq(leads_to(mm, entry, 17), TAIL);
    code = seen(mm, TAIL);
    cr_assert_eq(memcmp(code, "\x49\xbb", 2), 0);
    memcpy(&target, code + 2, sizeof(target));
    cr_assert_eq(target, CALL_ENTRY);
    cr_assert_eq(memcmp(code + 10, "\x41\xff\xe3", 3), 0);
}

static inline void check_island(struct mm *mm)
{
    cr_assert_eq(memcmp(seen(mm, TAIL), "\x49\xbb", 2), 0, "a thread may be inside");
}

/* Where a signal finds it, and where it is taken. */
static inline uaddr_t undone(uaddr_t rip, uaddr_t rcx)
{
    struct cpu_regs regs = {.rip = rip, .rcx = rcx};

    mm_call_site_undo(box.mm, &regs);
    return regs.rip;
}

#endif
