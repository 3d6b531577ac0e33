/*
 * execve's sequence: follow `#!` lines to an ELF file, read its plan and its interpreter's, choose
 * the addresses, map segments, vDSO and stack, and record the layout.
 *
 * Everything that can be wrong with the files is found before the first mapping is made.
 */
#include "loader/loader.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/image.h"
#include "loader/place.h"
#include "loader/segment.h"
#include "loader/stack.h"
#include "loader/vdso.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/file.h"

/* rseq(2): as far as the Sentry fills the area, that is without node_id and mm_cid. */
#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#define AT_RSEQ_ALIGN        28
#endif
#define RSEQ_FEATURE_SIZE 28
#define RSEQ_AREA_ALIGN   32

#define SCRIPTS_MAX       5             /* Linux's exec_binprm() gives ELOOP for the sixth */
#define STACK_EXPAND      (128UL << 10) /* below what is used, as setup_arg_pages() */
#define CLOCK_TICKS       100           /* USER_HZ */

struct load {
    const struct load_request *req;
    struct load_request own; /* what req points to: a copy, since whose program it is shows late */
    struct why why;
    /* argv as the `#!` lines make it: `words` come first, then req->argv from rest_index on. */
    const char **argv;
    struct script_line scripts[SCRIPTS_MAX];
    uint32_t script_count;
    struct image exe;
    struct image interp; /* file NULL: none */
    struct placement place;
    uaddr_t vdso;
};

const char *loader_open_words(int error)
{
    switch (-error) {
    case ENOENT:
        return "no such file";
    case ENOTDIR:
        return "no such file (a part of its path is not a directory)";
    case EISDIR:
        return "is a directory";
    case EACCES:
        return "permission denied";
    default:
        return strerror(-error);
    }
}

/* Words that come back from a nested file get its name in front. */
static int why_prefix(struct why *why, int error, const char *what, const char *name)
{
    char inner[128];

    if (why->text && why->size) {
        snprintf(inner, sizeof(inner), "%s", why->text);
        why_set(why, error, "%s %s: %s", what, name, inner);
    }
    return error;
}

static int open_nested(struct load *load, const char *what, const char *path, struct image *image)
{
    struct file *file;
    int r = load->req->open(load->req->open_arg, path, &file);

    if (r)
        return why_set(&load->why, r, "%s %s: %s", what, path, loader_open_words(r));
    r = image_open(image, file, &load->why);
    return r ? why_prefix(&load->why, r, what, path) : 0;
}

/* Follows `#!` lines until load->exe is something else. */
static int follow_scripts(struct load *load)
{
    struct image *exe = &load->exe;
    int r = image_open(exe, file_ref(load->req->exe), &load->why);

    while (r == 0 && exe->head_size >= 2 && memcmp(exe->head, "#!", 2) == 0) {
        struct script_line *line = &load->scripts[load->script_count];

        if (load->script_count == SCRIPTS_MAX)
            return why_set(&load->why, -ELOOP, "more than %d scripts are each other's interpreter",
                           SCRIPTS_MAX);
        r = script_parse(exe->head, exe->head_size, line, &load->why);
        if (r)
            return r;
        load->script_count++;
        image_release(exe);
        r = open_nested(load, "interpreter", line->interpreter, exe);
    }
    return r;
}

/*
 * argv of the ELF program. Each script replaces argv[0] by: interpreter [argument] path-of-script;
 * the path of the first one is what execve was given, of a nested one its name in the `#!` line.
 */
static int build_argv(struct load *load)
{
    const char *const *rest = load->req->argv;
    size_t count = 0, n = 0;

    while (rest[count])
        count++;
    load->argv = calloc(count + 3 * SCRIPTS_MAX + 1, sizeof(*load->argv));
    if (!load->argv)
        return why_set(&load->why, -ENOMEM, "out of memory");

    for (uint32_t i = load->script_count; i > 0; i--) {
        load->argv[n++] = load->scripts[i - 1].interpreter;
        if (load->scripts[i - 1].has_argument)
            load->argv[n++] = load->scripts[i - 1].argument;
    }
    if (load->script_count) {
        load->argv[n++] = load->req->path;
        if (*rest)
            rest++;
    }
    while (*rest)
        load->argv[n++] = *rest++;
    return 0;
}

static int open_interp(struct load *load, uint64_t limit)
{
    const struct elf_plan *plan = load->exe.plan;
    char path[ELF_INTERP_MAX];
    int r;

    if (!plan->interp_size)
        return 0;
    r = read_exact(load->exe.file, plan->interp_offset, path, plan->interp_size);
    if (r)
        return why_set(&load->why, r, "cannot read its interpreter's name (%s)", strerror(-r));
    if (path[plan->interp_size - 1] != '\0')
        return why_set(&load->why, -ENOEXEC, "its interpreter's name has no end");
    r = open_nested(load, "ELF interpreter", path, &load->interp);
    if (r)
        return r;
    r = image_parse(&load->interp, limit, &load->why);
    /* One with a PT_INTERP of its own, which is not looked at, was not checked for this. */
    if (r == 0 && !elf_plan_covers(load->interp.plan, load->interp.plan->header.entry))
        r = why_set(&load->why, -ENOEXEC, "entry point is outside every segment");
    if (r)
        return why_prefix(&load->why, r == -ENOEXEC ? -ELIBBAD : r, "ELF interpreter", path);
    return 0;
}

/* Everything that is wrong with the program's files shows here; nothing is mapped yet. */
static int read_files(struct load *load, const struct platform_limits *limits)
{
    const struct elf_plan *plan;
    int r = follow_scripts(load);

    if (r == 0)
        r = build_argv(load);
    if (r == 0) {
        r = image_parse(&load->exe, limits->user_max, &load->why);
        if (r && load->script_count)
            why_prefix(&load->why, r, "interpreter",
                       load->scripts[load->script_count - 1].interpreter);
    }
    if (r == 0)
        r = open_interp(load, limits->user_max);
    if (r)
        return r;
    plan = load->exe.plan;
    if (!plan->header.is_dyn && plan->start < limits->user_min)
        return why_set(&load->why, -EPERM, "a segment at %#lx, below the lowest address %#lx",
                       plan->start, limits->user_min);
    return 0;
}

/* A bias for an ET_DYN interpreter: anywhere. The mm is nobody else's, so the hole stays free. */
static int place_interp(struct load *load)
{
    const struct elf_plan *plan = load->interp.plan;
    struct mm_map_args args = {
        .size = plan->end - plan->start + plan->align - PAGE_SIZE,
        .prot = PROT_NONE,
        .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
    };
    uaddr_t addr;
    int r;

    if (!plan->header.is_dyn)
        return 0;
    r = mm_map(load->req->mm, &args, &addr);
    if (r == 0)
        r = mm_unmap(load->req->mm, addr, args.size);
    if (r)
        return why_set(&load->why, r, "no room for its ELF interpreter");
    load->interp.bias = round_up(addr, plan->align) - plan->start;
    return 0;
}

static int map_images(struct load *load)
{
    struct image *exe = &load->exe, *interp = &load->interp;
    struct mm *mm = load->req->mm;
    int r;

    mm_set_mmap_base(mm, load->place.mmap_base);
    if (exe->plan->header.is_dyn)
        exe->bias = round_down(load->place.dyn_base, exe->plan->align) - exe->plan->start;
    r = segments_map(mm, exe->file, exe->plan, exe->bias, &load->why);
    if (r == 0)
        segments_prefault(mm, exe->plan, exe->bias);
    if (r == 0 && interp->file) {
        r = place_interp(load);
        if (r == 0)
            r = segments_map(mm, interp->file, interp->plan, interp->bias, &load->why);
        if (r == 0)
            segments_prefault(mm, interp->plan, interp->bias);
    }
    if (r == 0 && load->req->vdso) {
        r = vdso_map(load->req->vdso, mm, load->place.vdso_hint, &load->vdso);
        if (r)
            why_set(&load->why, r, "cannot map the vDSO (%s)", strerror(-r));
    }
    return r;
}

/* The order is Linux's create_elf_tables(). */
static uint32_t fill_auxv(const struct load *load, struct auxv_entry *auxv)
{
    const struct load_request *req = load->req;
    const struct elf_plan *plan = load->exe.plan;
    uint64_t bias = load->exe.bias;
    uint32_t n = 0;

#define AUX(t, v)                                                                                  \
    auxv[n++] = (struct auxv_entry)                                                                \
    {                                                                                              \
        (t), (v)                                                                                   \
    }
    if (load->vdso)
        AUX(AT_SYSINFO_EHDR, load->vdso);
    AUX(AT_MINSIGSTKSZ, req->min_sigstack);
    AUX(AT_HWCAP, req->hwcap);
    AUX(AT_PAGESZ, PAGE_SIZE);
    AUX(AT_CLKTCK, CLOCK_TICKS);
    AUX(AT_PHDR, plan->phdr_vaddr ? plan->phdr_vaddr + bias : 0);
    AUX(AT_PHENT, sizeof(Elf64_Phdr));
    AUX(AT_PHNUM, plan->header.phnum);
    AUX(AT_BASE, load->interp.file ? load->interp.bias : 0);
    AUX(AT_FLAGS, 0);
    AUX(AT_ENTRY, plan->header.entry + bias);
    AUX(AT_UID, req->uid);
    AUX(AT_EUID, req->euid);
    AUX(AT_GID, req->gid);
    AUX(AT_EGID, req->egid);
    AUX(AT_SECURE, req->secure);
    AUX(AT_RANDOM, 0);
    AUX(AT_HWCAP2, req->hwcap2);
    AUX(AT_EXECFN, 0);
    AUX(AT_PLATFORM, 0);
    AUX(AT_RSEQ_FEATURE_SIZE, RSEQ_FEATURE_SIZE);
    AUX(AT_RSEQ_ALIGN, RSEQ_AREA_ALIGN);
#undef AUX
    return n;
}

static int map_stack(struct load *load, const struct stack_image *image)
{
    uint64_t limit = round_down(load->req->stack_limit, PAGE_SIZE);
    uaddr_t top = load->place.stack_top;
    uint64_t used = top - round_down(image->sp, PAGE_SIZE);
    uint64_t expanded = MIN(used + STACK_EXPAND, limit);
    uint64_t size = MAX(expanded, used);
    struct mm_map_args args = {
        .addr = top - size,
        .size = size,
        .prot = PROT_READ | PROT_WRITE | (load->exe.plan->exec_stack ? PROT_EXEC : 0),
        .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE,
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
        .name = "[stack]",
    };
    uaddr_t addr;
    int r = mm_map(load->req->mm, &args, &addr);

    if (r == 0)
        r = copy_to_user(load->req->mm, image->sp, image->bytes, image->size);
    if (r)
        why_set(&load->why, r, "cannot map the stack (%s)", strerror(-r));
    return r;
}

/* For /proc and brk: which segments are code and data is told by PF_X, as in load_elf_binary(). */
static void record_layout(const struct load *load, const struct stack_image *stack)
{
    struct mm_layout *layout = mm_layout(load->req->mm);
    const struct elf_plan *plan = load->exe.plan;
    uint64_t bias = load->exe.bias;

    *layout = (struct mm_layout){.code_start = UINT64_MAX};
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        uaddr_t start = plan->segments[i].vaddr + bias;
        uaddr_t end = start + plan->segments[i].filesz;

        if (plan->segments[i].prot & PROT_EXEC) {
            layout->code_start = MIN(layout->code_start, start);
            layout->code_end = MAX(layout->code_end, end);
        }
        layout->data_start = MAX(layout->data_start, start);
        layout->data_end = MAX(layout->data_end, end);
    }
    layout->brk_start = round_up(plan->brk + bias, PAGE_SIZE) + load->place.brk_gap;
    layout->stack_start = stack->sp;
    layout->arg_start = stack->arg_start;
    layout->arg_end = stack->arg_end;
    layout->env_start = stack->env_start;
    layout->env_end = stack->env_end;
    layout->vdso = load->vdso;
    layout->auxv_count = stack->auxv_count;
    static_assert(sizeof(layout->auxv) == sizeof(stack->auxv), "one auxv");
    memcpy(layout->auxv, stack->auxv, sizeof(layout->auxv));
    mm_set_brk_start(load->req->mm, layout->brk_start);
}

static int make_stack(struct load *load, uaddr_t *ret_sp)
{
    struct auxv_entry auxv[STACK_AUXV_MAX];
    struct stack_spec spec = {
        .top = load->place.stack_top,
        .path = load->req->path,
        .argv = load->argv,
        .envp = load->req->envp,
        .limit = load->req->stack_limit,
        .padding = load->place.stack_padding,
        .at_random = load->req->entropy.at_random,
        .auxv = auxv,
        .auxv_count = fill_auxv(load, auxv),
    };
    struct stack_image image;
    int r = stack_build(&spec, &image, &load->why);

    if (r)
        return r;
    r = map_stack(load, &image);
    if (r == 0) {
        record_layout(load, &image);
        *ret_sp = image.sp;
    }
    free(image.bytes);
    return r;
}

static void fill_result(const struct load *load, uaddr_t sp, struct load_result *ret_result)
{
    const struct image *first = load->interp.file ? &load->interp : &load->exe;
    const char *slash = strrchr(load->req->path, '/');

    *ret_result = (struct load_result){
        .entry = first->plan->header.entry + first->bias,
        .stack = sp,
        .exe = file_ref(load->exe.file),
    };
    snprintf(ret_result->comm, sizeof(ret_result->comm), "%s", slash ? slash + 1 : load->req->path);
}

int loader_load(const struct load_request *req, struct load_result *ret_result, char *ret_why,
                size_t why_size)
{
    const struct platform_limits *limits = &mm_environment(req->mm)->limits;
    struct load *load = calloc(1, sizeof(*load));
    uaddr_t sp;
    int r;

    if (!load)
        return -ENOMEM;
    load->own = *req;
    load->req = &load->own;
    load->why = (struct why){ret_why, why_size};
    r = read_files(load, limits);
    if (r == 0 && req->identify) {
        r = req->identify(req->identify_arg, load->exe.file, &load->own);
        if (r)
            why_set(&load->why, r, "may not be run (%s)", strerror(-r));
    }
    if (r == 0) {
        placement_choose(&load->own, limits, req->vdso ? vdso_size(req->vdso) : 0, &load->place);
        r = map_images(load);
    }
    if (r == 0)
        r = make_stack(load, &sp);
    if (r == 0)
        fill_result(load, sp, ret_result);
    image_release(&load->exe);
    image_release(&load->interp);
    free(load->argv);
    free(load);
    return r;
}
