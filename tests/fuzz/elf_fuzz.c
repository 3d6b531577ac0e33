/*
 * libFuzzer target: any bytes as the program that execve gets, all the way through loader_load()
 * into the fake mm (tests/unit/fake_mm.h), which aborts on a broken contract. What a successful
 * load promises is checked afterwards.
 *
 * The input is the file itself. Its byte 15, padding in an ELF header, chooses the surroundings.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/loader.h"
#include "tests/unit/elf_make.h"
#include "tests/unit/fake_mm.h"
#include "tests/fuzz/fuzz.h"

enum {
    WITH_PAGES = 1,      /* the file can be mapped, else it is copied */
    RANDOMIZED = 2,      /* ASLR */
    SMALL_SPACE = 4,     /* 1 GiB of addresses */
    OWN_INTERPRETER = 8, /* every interpreter is the input itself, else a good ELF */
    NO_INTERPRETER = 16, /* none can be opened */
    SMALL_STACK = 32,    /* RLIMIT_STACK of 64 KiB */
};

struct world {
    struct fake_file input, good;
    uint8_t options;
};

static int open_interpreter(void *arg, const char *path, struct file **ret)
{
    struct world *world = arg;

    CHECK(strlen(path) < 4096);
    if (world->options & NO_INTERPRETER)
        return -2;
    *ret = file_ref(world->options & OWN_INTERPRETER ? &world->input.file : &world->good.file);
    return 0;
}

static void check_areas(struct mm *mm)
{
    const struct platform_limits *limits = &mm_environment(mm)->limits;
    const struct fake_area *areas;
    uint32_t count = fake_mm_areas(mm, &areas);

    CHECK(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(areas[i].start < areas[i].end);
        CHECK(areas[i].start >= limits->user_min && areas[i].end <= limits->user_max);
        CHECK(i == 0 || areas[i - 1].end <= areas[i].start);
    }
}

static void check_result(struct mm *mm, const struct load_result *result)
{
    const struct mm_layout *layout = mm_layout(mm);
    const struct fake_area *stack = fake_mm_area_at(mm, result->stack);
    uint64_t argc, pair[2];

    check_areas(mm);
    CHECK(fake_mm_area_at(mm, result->entry));
    CHECK(result->stack % 16 == 0 && stack && strcmp(stack->name, "[stack]") == 0);
    CHECK(stack->prot & PROT_WRITE);
    CHECK(fake_mm_read(mm, result->stack, &argc, sizeof(argc)) && argc >= 2);
    CHECK(layout->brk_start % PAGE_SIZE == 0 && layout->brk_start >= layout->data_end);
    CHECK(layout->arg_start < layout->arg_end && layout->env_start < layout->env_end);
    /* argv, NULL, one environment string, NULL, then auxv. */
    CHECK(fake_mm_read(mm, result->stack + 8 * (1 + argc + 1 + 2), pair, sizeof(pair)));
    CHECK(pair[0] == layout->auxv[0] && pair[1] == layout->auxv[1]);
    CHECK(layout->auxv[2 * layout->auxv_count - 2] == AT_NULL);
}

static struct load_request request(struct world *world, struct mm *mm, const uint8_t *data,
                                   size_t size)
{
    static const char *const argv[] = {"program", "argument", NULL};
    static const char *const envp[] = {"A=1", NULL};
    struct load_request req = {
        .mm = mm,
        .exe = &world->input.file,
        .path = "/bin/program",
        .argv = argv,
        .envp = envp,
        .randomize = world->options & RANDOMIZED,
        .stack_limit = world->options & SMALL_STACK ? 64UL << 10 : 8UL << 20,
        .open = open_interpreter,
        .open_arg = world,
    };

    /* Also the randomness is the input's: its tail. */
    memcpy(&req.entropy, data + size - MIN(size, sizeof(req.entropy)),
           MIN(size, sizeof(req.entropy)));
    return req;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct elf_make good;
    struct world world = {.options = size > 15 ? data[15] : 0};
    struct load_request req;
    struct load_result result;
    char why[256] = "";
    struct mm *mm;
    int r;

    elf_make_init(&good, ET_DYN, 0);
    fake_file_init(&world.input, data, size, S_IFREG | 0755, world.options & WITH_PAGES);
    fake_file_init(&world.good, good.bytes, good.size, S_IFREG | 0755, true);
    mm = fake_mm_create(0x10000, world.options & SMALL_SPACE ? 1UL << 30 : 0x7ffffffff000);
    req = request(&world, mm, data, size);

    r = loader_load(&req, &result, why, sizeof(why));
    if (r == 0) {
        check_result(mm, &result);
        file_unref(result.exe);
    } else {
        CHECK(r < 0 && r > -4096 && why[0]);
    }
    fake_mm_destroy(mm);
    CHECK(refcount_read(&world.input.file.refs) == 1 && refcount_read(&world.good.file.refs) == 1);
    CHECK(refcount_read(&world.input.object.refs) == 1);
    return 0;
}
