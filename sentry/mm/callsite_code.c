#include "sentry/mm/callsite_code.h"

#include <elf.h>
#include <string.h>
#include <sys/syscall.h>

#define NUMBER_MAX 1024
#define SEGMENTS   32 /* of an ELF file that are looked at */
#define ISLAND_MIN 64 /* bytes that must be free */

#define MOV_SIZE   5
#define XOR_SIZE   2
#define LOAD_SIZE  5
#define JMP_SIZE   5
#define NOP_SIZE   8
#define NOP_STEP   3 /* where its operand begins */
#define REACH_BACK 128
#define REACH_ON   127

#define TAIL_JMP   10
#define ENTRY_NOP  2
#define ENTRY_LEA  5
#define ENTRY_JMP  12

/* The entry of CALLSITE_LOAD: where its instructions are. */
enum {
    LOAD_LOW = LOAD_SIZE, /* movzwl %ax, %r11d */
    LOAD_NOT = 9,         /* not    %r11 */
    LOAD_HIGH = 12,       /* lea    1(%r11, %rax), %rcx */
    LOAD_TEST = 17,       /* jrcxz  LOAD_SWAP */
    LOAD_CALL = 19,       /* jmp    to the site's SYSCALL */
    LOAD_SWAP = 24,       /* xchg   %al, %ah */
    LOAD_TURN = 26,       /* bswap  %eax */
    LOAD_LEA = 28,        /* lea    behind(%rip), %rcx */
    LOAD_JMP = 35,        /* jmp    tail */
    LOAD_END = 40,
};

static void put32(uint8_t *at, uint64_t value)
{
    memcpy(at, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
}

/* ---- recognizing ---------------------------------------------------------------------------- */

/* After these the next bytes would be no `mov $N, %eax` or `xor`, or are part of an instruction. */
static bool is_inside_instruction(const uint8_t *site)
{
    static const uint8_t before[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36,
                                     0x3e, 0x26, 0x64, 0x65, 0x0f, 0x8d};

    if ((site[-1] & 0xf0) == 0x40 || memchr(before, site[-1], sizeof(before)))
        return true;
    return site[-2] == 0x8d && (site[-1] & 0xc7) == 0x84; /* lea N(base, index), the other lea */
}

/* These do not profit, or are looked at by who unwinds a stack. */
static bool is_better_left_alone(uint64_t number)
{
    switch (number) {
    case SYS_rt_sigreturn:
    case SYS_clone:
    case SYS_fork:
    case SYS_vfork:
    case SYS_clone3:
    case SYS_execve:
    case SYS_execveat:
    case SYS_exit:
    case SYS_exit_group:
        return true;
    default:
        return number >= NUMBER_MAX;
    }
}

/* A nop whose operand `from`, the byte behind a short jump, can reach. 0: there is none. */
static uint32_t find_step(const uint8_t *page, uint32_t from)
{
    static const uint8_t nop[NOP_SIZE] = {0x0f, 0x1f, 0x84};
    uint32_t low = from > REACH_BACK ? from - REACH_BACK : 0;
    uint32_t high = MIN(from + REACH_ON, (uint32_t)PAGE_SIZE - JMP_SIZE);

    for (uint32_t step = MAX(low, (uint32_t)NOP_STEP); step <= high; step++) {
        if (memcmp(page + step - NOP_STEP, nop, NOP_SIZE) == 0)
            return step;
    }
    return 0;
}

/* The end of syscall(2), at whose start the number is in rax. */
static bool is_syscall_function(const uint8_t *page, uint32_t call)
{
    static const uint8_t load[LOAD_SIZE] = {0x4c, 0x8b, 0x4c, 0x24, 0x08}; /* mov 8(%rsp), %r9 */

    return call >= LOAD_SIZE + 2 && memcmp(page + call - LOAD_SIZE, load, LOAD_SIZE) == 0 &&
           !is_inside_instruction(page + call - LOAD_SIZE);
}

/*
 * mov $N, %eax; mov %rdi, %rsi; mov $AT_FDCWD, %edi: all of it, for it to be no data of others. The
 * last byte of the mov %esi, %edx that may come first looks like a prefix.
 */
static bool is_at_cwd(const uint8_t *page, uint32_t call, uint64_t number)
{
    static const uint8_t load[] = {0x48, 0x89, 0xfe, 0xbf, 0x9c, 0xff, 0xff, 0xff};
    static const uint8_t flags[] = {0x89, 0xf2};
    const uint8_t *mov = page + call - sizeof(load) - MOV_SIZE;
    uint32_t n;

    if (call < sizeof(load) + MOV_SIZE + sizeof(flags) || mov[0] != 0xb8 ||
        memcmp(mov + MOV_SIZE, load, sizeof(load)) != 0 ||
        (is_inside_instruction(mov) && memcmp(mov - sizeof(flags), flags, sizeof(flags)) != 0))
        return false;
    memcpy(&n, mov + 1, sizeof(n));
    return n == number;
}

/* As much of it as is in the page. */
static bool is_call(const uint8_t *page, uint32_t call)
{
    return page[call] == 0x0f && (call + 1 == PAGE_SIZE || page[call + 1] == 0x05);
}

bool callsite_recognize(const uint8_t *page, const uint8_t *current, uint32_t behind,
                        uint64_t number, struct callsite *ret)
{
    uint32_t call = behind - CALLSITE_CALL, n;
    const uint8_t *clear;

    if (behind < CALLSITE_LEAST + 2 || call >= PAGE_SIZE || !is_call(page, call))
        return false;
    *ret = (struct callsite){.behind = behind, .number = (uint32_t)number};
    if (is_syscall_function(page, call) ||
        (is_at_cwd(page, call, number) && !is_better_left_alone(number))) {
        ret->form = CALLSITE_LOAD;
        memcpy(ret->load, page + call - LOAD_SIZE, LOAD_SIZE);
        return true;
    }
    if (is_better_left_alone(number))
        return false;
    clear = page + call - XOR_SIZE;
    if (call >= MOV_SIZE + 2 && page[call - MOV_SIZE] == 0xb8 &&
        !is_inside_instruction(page + call - MOV_SIZE)) {
        memcpy(&n, page + call - MOV_SIZE + 1, sizeof(n));
        if (n == number)
            return true;
    }
    if (number != 0 || clear[0] != 0x31 || clear[1] != 0xc0 || is_inside_instruction(clear))
        return false;
    ret->form = CALLSITE_XOR;
    ret->step = find_step(current, call);
    return ret->step != 0;
}

static uint64_t call_of(const struct callsite *site)
{
    return site->behind - CALLSITE_CALL;
}

uint64_t callsite_start(const struct callsite *site)
{
    static const uint8_t sizes[] = {
        [CALLSITE_MOV] = MOV_SIZE, [CALLSITE_XOR] = XOR_SIZE, [CALLSITE_LOAD] = LOAD_SIZE};

    return call_of(site) - sizes[site->form];
}

uint32_t callsite_slots(const struct callsite *site)
{
    return site->form == CALLSITE_LOAD ? (LOAD_END + ISLAND_SLOT_SIZE - 1) / ISLAND_SLOT_SIZE : 1;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_jmp(uint8_t *at, uint64_t from, uint64_t to)
{
    at[0] = 0xe9;
    put32(at + 1, to - (from + JMP_SIZE));
}

void callsite_write(uint8_t *page, uint64_t base, const struct callsite *site, uint64_t entry)
{
    uint64_t start = callsite_start(site);
    uint8_t *at = page + (start - base);

    if (site->form != CALLSITE_XOR) {
        write_jmp(at, start, entry);
        return;
    }
    write_jmp(page + (site->step - base), site->step, entry);
    at[0] = 0xeb;
    at[1] = (uint8_t)(site->step - (start + XOR_SIZE));
}

void callsite_write_step(uint8_t *page, uint64_t base, const struct callsite *site)
{
    write_jmp(page + (site->step - base), site->step, callsite_start(site));
}

void callsite_write_tail(uint8_t *at, uaddr_t call_entry)
{
    static const uint8_t jmp[] = {0x41, 0xff, 0xe3}; /* *%r11 */

    at[0] = 0x49; /* movabs $call_entry, %r11 */
    at[1] = 0xbb;
    memcpy(at + 2, &call_entry, sizeof(call_entry));
    memcpy(at + TAIL_JMP, jmp, sizeof(jmp));
}

/* clang-format off */
static const uint8_t load_entry[LOAD_END] = { /* none of it changes flags */
    0, 0, 0, 0, 0,                      /* r9 or edi, as at the site */
    0x44, 0x0f, 0xb7, 0xd8,             /* of rax the low 16 bits, */
    0x49, 0xf7, 0xd3,                   /* -1 less these, */
    0x49, 0x8d, 0x4c, 0x03, 0x01,       /* rax less these */
    0xe3, LOAD_SWAP - LOAD_CALL,        /* nothing is left: call_entry takes it */
    0xe9, 0, 0, 0, 0,
    0x86, 0xc4,                         /* to the upper half of eax, */
    0x0f, 0xc8,                         /* in two steps */
    0x48, 0x8d, 0x0d, 0, 0, 0, 0,
    0xe9, 0, 0, 0, 0,
};
/* clang-format on */

static void write_load_entry(uint8_t *at, uint64_t entry, uint64_t tail,
                             const struct callsite *site)
{
    memcpy(at, load_entry, sizeof(load_entry));
    memcpy(at, site->load, sizeof(site->load));
    write_jmp(at + LOAD_CALL, entry + LOAD_CALL, call_of(site));
    put32(at + LOAD_LEA + 3, site->behind - (entry + LOAD_JMP));
    write_jmp(at + LOAD_JMP, entry + LOAD_JMP, tail);
}

void callsite_write_entry(uint8_t *at, uint64_t entry, uint64_t tail, const struct callsite *site)
{
    static const uint8_t clear[] = {0x31, 0xc0, 0x0f, 0x1f, 0x00}; /* for its flags; and a nop */
    static const uint8_t lea[] = {0x48, 0x8d, 0x0d};               /* behind(%rip), %rcx */

    if (site->form == CALLSITE_LOAD) {
        write_load_entry(at, entry, tail, site);
        return;
    }
    if (site->form == CALLSITE_XOR) {
        memcpy(at, clear, sizeof(clear));
    } else {
        at[0] = 0xb8; /* mov $N << 16, %eax */
        put32(at + 1, (uint64_t)site->number << 16);
    }
    memcpy(at + ENTRY_LEA, lea, sizeof(lea));
    put32(at + ENTRY_LEA + 3, site->behind - (entry + ENTRY_JMP));
    write_jmp(at + ENTRY_JMP, entry + ENTRY_JMP, tail);
}

/* ---- back to the site ----------------------------------------------------------------------- */

/* Behind its first instruction the register is loaded: so back to SYSCALL, where rax is the number
 * again. */
static bool undo_load(uint64_t at, const struct callsite *site, uint64_t *rip, uint64_t *rax)
{
    switch (at) {
    case LOAD_LOW:
    case LOAD_NOT:
    case LOAD_HIGH:
    case LOAD_TEST:
    case LOAD_CALL:
    case LOAD_SWAP:
        break;
    case LOAD_TURN:
        *rax = __builtin_bswap16((uint16_t)*rax);
        break;
    case LOAD_LEA:
    case LOAD_JMP:
        *rax = (uint32_t)*rax >> 16;
        break;
    default:
        return false;
    }
    *rip = call_of(site);
    return true;
}

bool callsite_undo_entry(uint64_t at, const struct callsite *site, uint64_t *rip, uint64_t *rax)
{
    if (site->form == CALLSITE_LOAD && at != 0)
        return undo_load(at, site, rip, rax);
    if (at != 0 && at != ENTRY_LEA && at != ENTRY_JMP &&
        !(site->form == CALLSITE_XOR && at == ENTRY_NOP))
        return false;
    *rip = callsite_start(site);
    return true;
}

bool callsite_undo_tail(uint64_t at, const struct callsite *site, uint64_t *rip, uint64_t *rax)
{
    if (at != 0 && at != TAIL_JMP)
        return false;
    if (site->form == CALLSITE_LOAD)
        return undo_load(LOAD_JMP, site, rip, rax);
    *rip = callsite_start(site);
    return true;
}

/* ---- the place for an island ---------------------------------------------------------------- */

uint64_t callsite_text_end(const uint8_t *page, uint64_t offset)
{
    uint64_t end = 0;
    Elf64_Ehdr eh;
    Elf64_Phdr ph;

    memcpy(&eh, page, sizeof(eh));
    if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
        eh.e_phentsize != sizeof(ph))
        return 0;
    for (unsigned int i = 0; i < MIN((unsigned int)eh.e_phnum, (unsigned int)SEGMENTS); i++) {
        if (eh.e_phoff > PAGE_SIZE || eh.e_phoff + (i + 1) * sizeof(ph) > PAGE_SIZE)
            break;
        memcpy(&ph, page + eh.e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type == PT_LOAD && (ph.p_flags & PF_X) && !(ph.p_flags & PF_W) &&
            ph.p_filesz == ph.p_memsz && offset >= ph.p_offset &&
            offset - ph.p_offset < ph.p_filesz)
            end = ph.p_offset + ph.p_filesz;
    }
    return end;
}

uint32_t callsite_island_start(const uint8_t *page, uint64_t end)
{
    uint64_t start = round_up(end % PAGE_SIZE + 1, 16UL);

    if (end % PAGE_SIZE == 0 || start + ISLAND_MIN > PAGE_SIZE)
        return 0;
    for (uint64_t i = end % PAGE_SIZE; i < PAGE_SIZE; i++) {
        if (page[i])
            return 0;
    }
    return (uint32_t)start;
}
