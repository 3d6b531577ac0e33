/* loader_load() over the fake mm: segments, placement, scripts, interpreters, refusals. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "loader/loader.h"
#include "loader/vdso.h"
#include "tests/unit/elf_make.h"
#include "tests/unit/fake_mm.h"
#include "vdso/vdso_image.h"

#define BASE     0x400000UL
#define USER_MIN 0x10000UL
#define USER_MAX 0x7ffffffff000UL

/* A request with its surroundings; `names` are what load_request.open knows. */
struct world {
    struct mm *mm;
    struct load_request req;
    struct load_result result;
    char words[256];
    struct {
        const char *path;
        struct fake_file *file;
    } names[8];
    uint32_t name_count;
};

static struct world w;
static struct elf_make m;
static struct fake_file exe;
static const char *const argv_default[] = {"prog", "one", NULL};
static const char *const envp_default[] = {"A=1", NULL};

static int open_name(void *arg, const char *path, struct file **ret)
{
    struct world *world = arg;

    for (uint32_t i = 0; i < world->name_count; i++) {
        if (strcmp(world->names[i].path, path) == 0) {
            *ret = file_ref(&world->names[i].file->file);
            return 0;
        }
    }
    return -ENOENT;
}

static void setup(void)
{
    memset(&w, 0, sizeof(w));
    w.mm = fake_mm_create(USER_MIN, USER_MAX);
    w.req = (struct load_request){
        .mm = w.mm,
        .exe = &exe.file,
        .path = "/bin/prog",
        .argv = argv_default,
        .envp = envp_default,
        .uid = 1,
        .euid = 2,
        .gid = 3,
        .egid = 4,
        .stack_limit = 8UL << 20,
        .hwcap = 0x1234,
        .hwcap2 = 2,
        .min_sigstack = 3632,
        .open = open_name,
        .open_arg = &w,
    };
    elf_make_init(&m, ET_EXEC, BASE);
    fake_file_init(&exe, m.bytes, m.size, S_IFREG | 0755, true);
}

static void teardown(void)
{
    fake_mm_destroy(w.mm);
}

TestSuite(load, .init = setup, .fini = teardown);

static int load(void)
{
    int r = loader_load(&w.req, &w.result, w.words, sizeof(w.words));

    if (r == 0)
        file_unref(w.result.exe);
    /* The loader keeps no file. */
    cr_assert_eq(refcount_read(&exe.file.refs), 1);
    return r;
}

static void loads(void)
{
    int r = load();

    cr_assert_eq(r, 0, "%d: %s", r, w.words);
}

static void refused(int error, const char *text)
{
    int r = load();

    cr_assert_eq(r, error, "%d (%s) instead of %d (%s)", r, w.words, error, text);
    cr_assert(strstr(w.words, text), "\"%s\" does not say \"%s\"", w.words, text);
}

static uint64_t word_at(uaddr_t addr)
{
    uint64_t word;

    cr_assert(fake_mm_read(w.mm, addr, &word, sizeof(word)), "nothing at %#lx",
              (unsigned long)addr);
    return word;
}

static const char *string_at(uaddr_t addr)
{
    static char text[512];
    size_t i = 0;

    do
        cr_assert(fake_mm_read(w.mm, addr + i, &text[i], 1));
    while (text[i++]);
    return text;
}

static const char *arg(uint32_t i)
{
    return string_at(word_at(w.result.stack + 8 + i * 8));
}

static uint64_t aux(uint64_t type)
{
    const struct mm_layout *layout = mm_layout(w.mm);

    for (uint32_t i = 0; i < layout->auxv_count; i++)
        if (layout->auxv[2 * i] == type)
            return layout->auxv[2 * i + 1];
    cr_assert_fail("no AT_ entry %lu", (unsigned long)type);
    return 0;
}

/* The program of elf_make_init(), wherever it went. */
static void same_program(uaddr_t base, bool shared)
{
    const struct fake_area *text = fake_mm_area_at(w.mm, base);
    const struct fake_area *data = fake_mm_area_at(w.mm, base + 0x2800);
    const struct fake_area *bss = fake_mm_area_at(w.mm, base + 0x4000);
    uint8_t bytes[0x1000], zeroes[0x1000] = {0};

    cr_assert(text && data && bss);
    cr_assert_eq(text->end - text->start, 0x1000);
    cr_assert_eq(text->prot, PROT_READ | PROT_EXEC);
    cr_assert_eq(!!text->object, shared);
    cr_assert_eq(data->start, base + 0x2000);
    cr_assert_eq(data->end, base + 0x4000);
    cr_assert_eq(data->prot, PROT_READ | PROT_WRITE);
    cr_assert_eq(bss->start, base + 0x4000);
    cr_assert_eq(bss->end, base + 0x5000);
    cr_assert_eq(bss->prot, PROT_READ | PROT_WRITE);
    cr_assert_null(bss->object);
    cr_assert_null(fake_mm_area_at(w.mm, base + 0x1000));
    cr_assert_null(fake_mm_area_at(w.mm, base + 0x5000));

    cr_assert(fake_mm_read(w.mm, base, bytes, 0x1000));
    cr_assert_arr_eq(bytes, m.bytes, 0x1000);
    cr_assert(fake_mm_read(w.mm, base + 0x2800, bytes, 0x900));
    cr_assert_arr_eq(bytes, m.bytes + 0x1800, 0x900);
    /* The file goes on behind the segment: those bytes are cleared to the end of the page. */
    cr_assert(fake_mm_read(w.mm, base + 0x3100, bytes, 0xf00));
    cr_assert_arr_eq(bytes, zeroes, 0xf00);
    cr_assert(fake_mm_read(w.mm, base + 0x4000, bytes, 0x1000));
    cr_assert_arr_eq(bytes, zeroes, 0x1000);
}

Test(load, static_program)
{
    const struct mm_layout *layout = mm_layout(w.mm);

    loads();
    same_program(BASE, true);
    cr_assert_eq(w.result.entry, BASE + 0x300);
    cr_assert_str_eq(w.result.comm, "prog");
    cr_assert_eq(layout->code_start, BASE);
    cr_assert_eq(layout->code_end, BASE + 0x1000);
    cr_assert_eq(layout->data_start, BASE + 0x2800);
    cr_assert_eq(layout->data_end, BASE + 0x3100);
    cr_assert_eq(layout->brk_start, BASE + 0x5000);
    cr_assert_eq(layout->stack_start, w.result.stack);
    cr_assert_str_eq(string_at(layout->arg_start), "prog");
    cr_assert_str_eq(string_at(layout->env_start), "A=1");
}

Test(load, file_without_pages_is_copied)
{
    exe.mappable = false;
    loads();
    cr_assert(exe.mmap_refused);
    same_program(BASE, false);
}

/* Types and order: create_elf_tables() in fs/binfmt_elf.c. */
Test(load, auxiliary_vector)
{
    static const uint64_t order[] = {
        AT_MINSIGSTKSZ, AT_HWCAP,  AT_PAGESZ, AT_CLKTCK, AT_PHDR,     AT_PHENT, AT_PHNUM,
        AT_BASE,        AT_FLAGS,  AT_ENTRY,  AT_UID,    AT_EUID,     AT_GID,   AT_EGID,
        AT_SECURE,      AT_RANDOM, AT_HWCAP2, AT_EXECFN, AT_PLATFORM, 27,       28, /* AT_RSEQ_* */
        AT_NULL,
    };
    const struct mm_layout *layout = mm_layout(w.mm);
    uaddr_t table;

    memcpy(w.req.entropy.at_random, "random bytes 16", 16);
    loads();
    cr_assert_eq(layout->auxv_count, ARRAY_COUNT(order));
    table = w.result.stack + 8 * (1 + 2 + 1 + 1 + 1);
    for (uint32_t i = 0; i < ARRAY_COUNT(order); i++) {
        cr_assert_eq(layout->auxv[2 * i], order[i], "entry %u", i);
        cr_assert_eq(word_at(table + 16 * i), order[i]);
        cr_assert_eq(word_at(table + 16 * i + 8), layout->auxv[2 * i + 1]);
    }
    cr_assert_eq(aux(AT_PHDR), BASE + sizeof(Elf64_Ehdr));
    cr_assert_eq(aux(AT_PHNUM), 2);
    cr_assert_eq(aux(AT_ENTRY), BASE + 0x300);
    cr_assert_eq(aux(AT_BASE), 0);
    cr_assert_eq(aux(AT_UID), 1);
    cr_assert_eq(aux(AT_EUID), 2);
    cr_assert_eq(aux(AT_GID), 3);
    cr_assert_eq(aux(AT_EGID), 4);
    cr_assert_eq(aux(AT_CLKTCK), 100);
    cr_assert_eq(aux(AT_HWCAP), 0x1234);
    cr_assert_eq(aux(AT_MINSIGSTKSZ), 3632);
    cr_assert_str_eq(string_at(aux(AT_RANDOM)), "random bytes 16");
    cr_assert_str_eq(string_at(aux(AT_EXECFN)), "/bin/prog");
    cr_assert_str_eq(string_at(aux(AT_PLATFORM)), "x86_64");
}

Test(load, stack_area)
{
    const struct fake_area *stack;

    loads();
    stack = fake_mm_area_at(w.mm, w.result.stack);
    cr_assert(stack);
    cr_assert_str_eq(stack->name, "[stack]");
    cr_assert(stack->flags & MAP_GROWSDOWN);
    cr_assert_eq(stack->prot, PROT_READ | PROT_WRITE);
    cr_assert_eq(stack->end, USER_MAX);
    cr_assert_geq(w.result.stack - stack->start, 128UL << 10);
    fake_mm_destroy(w.mm);

    w.req.mm = w.mm = fake_mm_create(USER_MIN, USER_MAX);
    elf_make_phdr(&m, PT_GNU_STACK, PF_R | PF_W | PF_X, 0, 0, 0, 0);
    w.req.stack_limit = 64UL << 10;
    loads();
    stack = fake_mm_area_at(w.mm, w.result.stack);
    cr_assert_eq(stack->prot, PROT_READ | PROT_WRITE | PROT_EXEC);
    cr_assert_eq(stack->end - stack->start, 64UL << 10);
}

Test(load, position_independent)
{
    elf_make_init(&m, ET_DYN, 0);
    loads();
    cr_assert_eq(w.result.entry - 0x300, USER_MAX / 3 * 2 & PAGE_MASK);
    same_program(w.result.entry - 0x300, true);
    cr_assert_eq(aux(AT_PHDR), w.result.entry - 0x300 + 64);
}

/* Other randomness, other addresses; always legal ones, and with room for the heap. */
Test(load, randomized)
{
    uaddr_t entries[64], stacks[64], brks[64], bases[64];

    elf_make_init(&m, ET_DYN, 0);
    w.req.randomize = true;
    srandom(1);
    for (uint32_t i = 0; i < ARRAY_COUNT(entries); i++) {
        uint8_t *entropy = (uint8_t *)&w.req.entropy;

        for (size_t k = 0; k < sizeof(w.req.entropy); k++)
            entropy[k] = (uint8_t)(random() >> 8);
        loads();
        same_program(w.result.entry - 0x300, true);
        entries[i] = w.result.entry;
        stacks[i] = w.result.stack;
        brks[i] = mm_layout(w.mm)->brk_start - w.result.entry;
        bases[i] = fake_mm_mmap_base(w.mm);
        cr_assert_lt(bases[i], stacks[i] - (128UL << 20));
        cr_assert_eq(stacks[i] % 16, 0);
        for (uint32_t k = 0; k < i; k++) {
            cr_assert_neq(entries[i], entries[k]);
            cr_assert_neq(stacks[i], stacks[k]);
            cr_assert_neq(brks[i], brks[k]);
            cr_assert_neq(bases[i], bases[k]);
        }
        fake_mm_destroy(w.mm);
        w.req.mm = w.mm = fake_mm_create(USER_MIN, USER_MAX);
    }
}

Test(load, small_address_space)
{
    fake_mm_destroy(w.mm);
    w.req.mm = w.mm = fake_mm_create(0x1000, 1UL << 30);
    w.req.randomize = true;
    memset(&w.req.entropy, 0xff, sizeof(w.req.entropy));
    elf_make_init(&m, ET_DYN, 0);
    loads();
    same_program(w.result.entry - 0x300, true);
    cr_assert_lt(mm_layout(w.mm)->brk_start, 1UL << 30);
}

Test(load, alignment_of_the_segments)
{
    elf_make_init(&m, ET_DYN, 0);
    m.ph[0].p_align = 0x200000;
    w.req.randomize = true;
    memset(&w.req.entropy, 0x5a, sizeof(w.req.entropy));
    loads();
    cr_assert_eq((w.result.entry - 0x300) % 0x200000, 0);
}

Test(load, refused_files)
{
    exe.mode = S_IFDIR | 0755;
    refused(-EACCES, "is a directory");
    exe.mode = S_IFIFO | 0755;
    refused(-EACCES, "not a regular file");
    exe.mode = S_IFREG | 0644;
    refused(-EACCES, "no execute permission");
    exe.mode = S_IFREG | 0755;
    exe.size = 0;
    refused(-ENOEXEC, "empty file");
    exe.size = 0x1000;
    refused(-ENOEXEC, "truncated ELF file");
    exe.size = m.size;
    m.eh->e_machine = EM_AARCH64;
    refused(-ENOEXEC, "not an x86-64 ELF (machine is aarch64)");
}

Test(load, below_the_lowest_address)
{
    elf_make_init(&m, ET_EXEC, 0x1000);
    refused(-EPERM, "a segment at 0x1000, below the lowest address 0x10000");
}

Test(load, program_where_the_stack_is)
{
    elf_make_init(&m, ET_EXEC, USER_MAX - 0x5000);
    refused(-EEXIST, "cannot map the stack");
}

static struct fake_file scripts[8];
static char script_text[8][64];

static void add_name(const char *path, struct fake_file *file)
{
    w.names[w.name_count].path = path;
    w.names[w.name_count++].file = file;
}

static void make_script(uint32_t i, const char *text)
{
    strcpy(script_text[i], text);
    fake_file_init(&scripts[i], script_text[i], strlen(text), S_IFREG | 0755, false);
}

Test(load, script)
{
    make_script(0, "#!/interp -x y\nhello\n");
    add_name("/interp", &exe);
    w.req.exe = &scripts[0].file;
    w.req.path = "/home/script.sh";
    loads();
    cr_assert_eq(word_at(w.result.stack), 4);
    cr_assert_str_eq(arg(0), "/interp");
    cr_assert_str_eq(arg(1), "-x y");
    cr_assert_str_eq(arg(2), "/home/script.sh");
    cr_assert_str_eq(arg(3), "one");
    cr_assert_str_eq(w.result.comm, "script.sh");
    cr_assert_str_eq(string_at(aux(AT_EXECFN)), "/home/script.sh");
    cr_assert_eq(w.result.exe, &exe.file);
    cr_assert_eq(refcount_read(&scripts[0].file.refs), 1);
}

Test(load, script_of_a_script)
{
    make_script(0, "#!/s1 a\n");
    make_script(1, "#!/interp b\n");
    add_name("/s1", &scripts[1]);
    add_name("/interp", &exe);
    w.req.exe = &scripts[0].file;
    loads();
    cr_assert_eq(word_at(w.result.stack), 6);
    cr_assert_str_eq(arg(0), "/interp");
    cr_assert_str_eq(arg(1), "b");
    cr_assert_str_eq(arg(2), "/s1");
    cr_assert_str_eq(arg(3), "a");
    cr_assert_str_eq(arg(4), "/bin/prog");
    cr_assert_str_eq(arg(5), "one");
}

Test(load, scripts_without_end)
{
    make_script(0, "#!/s\n");
    add_name("/s", &scripts[0]);
    w.req.exe = &scripts[0].file;
    refused(-ELOOP, "more than 5 scripts");
    cr_assert_eq(refcount_read(&scripts[0].file.refs), 1);
}

Test(load, script_with_bad_interpreter)
{
    make_script(0, "#!/nowhere\n");
    w.req.exe = &scripts[0].file;
    refused(-ENOENT, "interpreter /nowhere: no such file");
    make_script(1, "hello\n");
    add_name("/nowhere", &scripts[1]);
    refused(-ENOEXEC, "interpreter /nowhere: neither an ELF file nor a script");
    scripts[1].mode = S_IFDIR | 0755;
    refused(-EACCES, "interpreter /nowhere: is a directory");
    make_script(0, "#!\n");
    refused(-ENOEXEC, "names no interpreter");
    cr_assert_eq(refcount_read(&scripts[1].file.refs), 1);
}

static struct elf_make ld;
static struct fake_file ld_file;

static void make_dynamic(void)
{
    elf_make_init(&ld, ET_DYN, 0);
    fake_file_init(&ld_file, ld.bytes, ld.size, S_IFREG | 0755, true);
    elf_make_init(&m, ET_DYN, 0);
    memcpy(m.bytes + 0x900, "/ld.so", 7);
    elf_make_phdr(&m, PT_INTERP, PF_R, 0x900, 0x900, 7, 7);
}

Test(load, elf_interpreter)
{
    uaddr_t base;

    make_dynamic();
    ld.eh->e_entry = 0x480;
    add_name("/ld.so", &ld_file);
    loads();
    base = aux(AT_BASE);
    cr_assert_eq(w.result.entry, base + 0x480);
    cr_assert_neq(aux(AT_ENTRY), w.result.entry);
    same_program(aux(AT_ENTRY) - 0x300, true);
    cr_assert(fake_mm_area_at(w.mm, base)->object == &ld_file.object);
    cr_assert_eq(w.result.exe, &exe.file);
    cr_assert_eq(refcount_read(&ld_file.file.refs), 1);
}

Test(load, bad_elf_interpreter)
{
    make_dynamic();
    refused(-ENOENT, "ELF interpreter /ld.so: no such file");
    add_name("/ld.so", &ld_file);
    ld.eh->e_machine = EM_386;
    refused(-ELIBBAD, "ELF interpreter /ld.so: not an x86-64 ELF (machine is i386)");
    ld.eh->e_machine = EM_X86_64;
    ld.eh->e_entry = 0x9000;
    elf_make_phdr(&ld, PT_INTERP, PF_R, 0x900, 0x900, 7, 7);
    refused(-ELIBBAD, "ELF interpreter /ld.so: entry point is outside every segment");
    m.bytes[0x906] = 'x';
    refused(-ENOEXEC, "interpreter's name has no end");
    cr_assert_eq(refcount_read(&ld_file.file.refs), 1);
}

/* [vvar] and [vdso] side by side, near the stack; AT_SYSINFO_EHDR names the second. */
Test(load, vdso)
{
    struct fake_file pages;
    static uint8_t bytes[0x2000];
    struct vdso vdso = {.object = &pages.object, .image_size = 0x1000};
    uaddr_t addr;

    fake_file_init(&pages, bytes, sizeof(bytes), S_IFREG, true);
    bytes[0x1000] = 0x7f;
    w.req.vdso = &vdso;
    w.req.randomize = true;
    for (uint64_t i = 0; i < 100; i++) {
        w.req.entropy.stack = i << 12;
        w.req.entropy.vdso = i * 12345678;
        loads();
        addr = aux(AT_SYSINFO_EHDR);
        cr_assert_eq(addr, mm_layout(w.mm)->vdso);
        cr_assert_str_eq(fake_mm_area_at(w.mm, addr)->name, "[vdso]");
        cr_assert_eq(fake_mm_area_at(w.mm, addr)->prot, PROT_READ | PROT_EXEC);
        cr_assert_str_eq(fake_mm_area_at(w.mm, addr - 1)->name, "[vvar]");
        cr_assert_eq(fake_mm_area_at(w.mm, addr - 1)->prot, PROT_READ);
        cr_assert_eq(word_at(addr), 0x7f);
        cr_assert_eq(addr >> 21, (fake_mm_area_at(w.mm, w.result.stack)->end - 1) >> 21);
        fake_mm_destroy(w.mm);
        w.req.mm = w.mm = fake_mm_create(USER_MIN, USER_MAX);
    }
}

/* The one object of the sandbox: parameters first, then the image; never given for writing. */
Test(load, vdso_object)
{
    struct memfile_range range;
    struct memfile *mf;
    struct vdso vdso;

    cr_assert_eq(memfile_create(64UL << 20, &mf), 0);
    cr_assert_eq(vdso_create(mf, &vdso), 0);
    cr_assert_eq(vdso_size(&vdso), PAGE_SIZE + vdso.image_size);
    cr_assert_geq(vdso.image_size, vdso_image_size);
    cr_assert_eq(vdso.timepage->mode, 0);
    cr_assert_eq(vdso.object->ops->get_pages(vdso.object, 0, 1UL << 20, true, &range), -EACCES);
    cr_assert_eq(
        vdso.object->ops->get_pages(vdso.object, vdso_size(&vdso), PAGE_SIZE, false, &range),
        -EFAULT);
    cr_assert_eq(vdso.object->ops->get_pages(vdso.object, PAGE_SIZE, 1UL << 20, false, &range), 0);
    cr_assert_eq(range.size, vdso.image_size);
    cr_assert_arr_eq(memfile_ptr(mf, range.start), vdso_image, vdso_image_size);
    memfile_unref(mf, range);
    vdso_destroy(&vdso);
    memfile_destroy(mf);
}
