/*
 * System calls as compilers and people write them, each made so often that whoever makes them
 * cheaper by changing the program's text has done so. What they do to the registers stays the same,
 * nobody finds the program anywhere but in its own text, its text reads as its file says, and it
 * can be mapped twice, cut and moved while it runs.
 */
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include "child.h"
#include "tracee.h"

#define PAGE         4096UL
#define TIMES        1000
#define FLAGS        0xcd5UL   /* CF PF AF ZF SF DF OF */
#define RESUME       0x10000UL /* RF, where a fault came at the instruction before */
#define SIGNALS      200
#define TEXT_AT(map) ((map)-text.start)

/* clang-format off */
struct registers {
    uint64_t rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rax, rflags;
    uint8_t xmm[16][16];
};
struct machine {
    struct registers in, out;
};
_Static_assert(sizeof(struct registers) == 384, "the assembly knows it");

/* void NAME(struct machine *): `out` is what the code makes of `in`; it begins at NAME_site. */
__asm__(".macro EACH do, first\n"
        ".set at, \\first\n"
        ".irp r, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15\n"
        "\\do \\r, at\n"
        ".set at, at + 8\n"
        ".endr\n"
        ".endm\n"
        ".macro GET r, at\n movq \\at(%rax), %\\r\n .endm\n"
        ".macro PUT r, at\n movq %\\r, \\at(%rax)\n .endm\n"
        ".macro CODE name, code, then=\n"
        ".globl \\name, \\name\\()_site, \\name\\()_end\n"
        "\\name:\n"
        ".irp r, rbx, rbp, r12, r13, r14, r15, rdi\n pushq %\\r\n .endr\n"
        "movq %rdi, %rax\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "movups 128 + 16 * \\n(%rax), %xmm\\n\n"
        ".endr\n"
        "pushq 120(%rax)\n popfq\n"
        "EACH GET, 0\n"
        "\\name\\()_site:\n"
        "\\code\n"
        "\\name\\()_end:\n"
        "\\then\n"
        "pushfq\n pushq %rax\n"
        "movq 16(%rsp), %rax\n"
        "EACH PUT, 384\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "movups %xmm\\n, 384 + 128 + 16 * \\n(%rax)\n"
        ".endr\n"
        "popq %rbx\n movq %rbx, 384 + 112(%rax)\n"
        "popq %rbx\n movq %rbx, 384 + 120(%rax)\n"
        "pushq $0x202\n popfq\n"
        ".irp r, rdi, r15, r14, r13, r12, rbp, rbx\n popq %\\r\n .endr\n"
        "ret\n"
        ".endm\n"

        ".text\n"
        ".balign 4096\n"
        "CODE plain, \"movl $110, %eax; syscall\"\n"
        "CODE direct, \"jrcxz 1f; jmp 2f; 1: movl $102, %eax; jmp 3f; "
        "2: movl $110, %eax; 3: syscall\"\n"
        "CODE zero, \"xorl %eax, %eax; syscall\", "
        "\"jmp 1f; .byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0; 1:\"\n"
        "CODE zero_through, \"xorl %eax, %eax; syscall\", "
        "\".byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\"\n"
        "CODE zero_before, \"jmp 1f; .byte 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0; "
        "1: xorl %eax, %eax; syscall\"\n"
        "CODE zero_alone, \"xorl %eax, %eax; syscall\"\n"
        /* None of these has the instruction that it looks like. */
        "CODE other_register, \"movl $110, %eax; movl $110, %r8d; syscall\"\n"
        "CODE operand, \"movl $104, %eax; movl 0x68(%r8), %edi; syscall\"\n"
        "CODE address, \"movl $110, %eax; leal 110(%rax), %edi; syscall\"\n"
        "CODE address2, \"xorl %eax, %eax; leal 110(%rax,%rdi,4), %eax; syscall\"\n"
        "CODE wide, \"movabsq $110, %rax; syscall\"\n"
        ".balign 4096\n"
        "CODE second, \"movl $110, %eax; syscall\"\n"
        "CODE failing, \"movl $1023, %eax; syscall\"\n"
        "CODE loaded, \"movq 112(%rax), %rax; leaq -16(%rsp), %rsp; movq %r9, 8(%rsp); "
        "movq %rdx, %r9; movq 8(%rsp), %r9; syscall\", \"leaq 16(%rsp), %rsp\"\n"
        ".fill 8192, 1, 0xcc\n"); /* the end of the text is elsewhere */
/* clang-format on */

typedef void (*code_fn)(struct machine *);
#define DECLARE(name) extern char name[], name##_site[], name##_end[]
DECLARE(plain);
DECLARE(direct);
DECLARE(zero);
DECLARE(zero_through);
DECLARE(zero_before);
DECLARE(zero_alone);
DECLARE(other_register);
DECLARE(operand);
DECLARE(address);
DECLARE(address2);
DECLARE(wide);
DECLARE(second);
DECLARE(failing);
DECLARE(loaded);

/* The program's executable segment. */
static struct {
    uintptr_t start, end; /* end: behind its last byte */
    uint64_t offset, map_size;
} text;

static void find_text(void)
{
    const Elf64_Phdr *ph = (const Elf64_Phdr *)getauxval(AT_PHDR);

    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
        if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_X))
            continue;
        text.start = ph[i].p_vaddr & -PAGE;
        text.end = ph[i].p_vaddr + ph[i].p_filesz;
        text.offset = ph[i].p_offset & -PAGE;
        text.map_size = ((text.end + PAGE - 1) & -PAGE) - text.start;
    }
    CHECK(text.end > (uintptr_t)plain_end && text.start <= (uintptr_t)plain);
}

/* ---- registers ------------------------------------------------------------------------------ */

static uint64_t step = 88172645463325252;

static uint64_t any(void)
{
    step ^= step << 13;
    step ^= step >> 7;
    return step ^= step << 17;
}

/* The code, or its twin that is `moved` bytes away. */
static void run(char *code, uintptr_t moved, struct machine *m)
{
    ((code_fn)(code + moved))(m);
}

static void any_registers(struct machine *m)
{
    uint64_t *words = (uint64_t *)&m->in;

    for (size_t i = 0; i < sizeof(m->in) / 8; i++)
        words[i] = any();
    m->in.rflags = (any() & FLAGS) | 0x202;
}

/* As a system call leaves them, with that result; `flags`: of these nothing is known. */
static bool is_as_called(const struct machine *m, const char *end, uint64_t result, uint64_t flags)
{
    struct registers want = m->in;

    want.rax = result;
    want.rcx = (uintptr_t)end;
    want.r11 = m->out.r11;
    want.rflags = (want.rflags & ~flags) | (m->out.rflags & flags);
    return memcmp(&want, &m->out, sizeof(want)) == 0 && (m->out.r11 & ~RESUME) == m->out.rflags;
}

static bool calls_keep(char *code, char *end, uintptr_t moved, uint64_t rdi, uint64_t result,
                       uint64_t flags, int times)
{
    bool good = true;
    struct machine m;

    while (times-- > 0) {
        any_registers(&m);
        m.in.rdi = rdi;
        run(code, moved, &m);
        good &= is_as_called(&m, end + moved, result, flags);
    }
    return good;
}

/* The end of syscall(2): the number is in rax, whatever it is. */
static bool loaded_keeps(uintptr_t moved, int times)
{
    const struct {
        uint64_t number, result;
    } calls[] = {{110, (uint64_t)getppid()},
                 {102, getuid()},
                 {0xffff, (uint64_t)-ENOSYS},
                 {104, getgid()},
                 {107, geteuid()},
                 {0x1006e, (uint64_t)-ENOSYS},
                 {110, (uint64_t)getppid()},
                 {-1UL, (uint64_t)-ENOSYS}};
    bool good = true;
    struct machine m;

    for (int i = 0; i < times; i++) {
        any_registers(&m);
        m.in.rax = calls[i % 8].number;
        run(loaded, moved, &m);
        good &= is_as_called(&m, loaded_end + moved, calls[i % 8].result, 0);
    }
    return good;
}

/* The forms that there are, `moved` bytes from where the program has them. */
static void check_forms(uintptr_t moved, int times)
{
    uint64_t parent = (uint64_t)getppid(), none = (uint64_t)-EBADF;

    CHECK(calls_keep(plain, plain_end, moved, 0, parent, 0, times));
    CHECK(calls_keep(second, second_end, moved, 0, parent, 0, times));
    CHECK(calls_keep(failing, failing_end, moved, 0, (uint64_t)-ENOSYS, 0, times));
    CHECK(calls_keep(wide, wide_end, moved, 0, parent, 0, times));
    CHECK(calls_keep(zero, zero_end, moved, -1UL, none, FLAGS, times));
    CHECK(calls_keep(zero_through, zero_through_end, moved, -1UL, none, FLAGS, times));
    CHECK(calls_keep(zero_before, zero_before_end, moved, -1UL, none, FLAGS, times));
    CHECK(calls_keep(zero_alone, zero_alone_end, moved, -1UL, none, FLAGS, times));
    CHECK(calls_keep(address2, address2_end, moved, 0, parent, FLAGS, times));
    CHECK(loaded_keeps(moved, times));
}

/* When it is hot, every other one goes straight to the instruction. */
static void check_direct(void)
{
    uint64_t user = getuid(), parent = (uint64_t)getppid();
    struct machine m;
    bool good = true;

    for (int i = 0; i < TIMES; i++) {
        bool straight = i > 20 && i % 2;

        any_registers(&m);
        m.in.rcx = !straight;
        run(direct, 0, &m);
        good &= is_as_called(&m, direct_end, straight ? user : parent, 0);
    }
    CHECK(good);
}

static void check_lookalikes(void)
{
    static uint32_t there[32] = {[0x68 / 4] = 4711};
    uint64_t parent = (uint64_t)getppid(), group = getgid();
    struct machine m;
    bool good = true;

    for (int i = 0; i < TIMES; i++) {
        any_registers(&m);
        run(other_register, 0, &m);
        good &= m.out.rax == parent && m.out.r8 == 110 && m.out.r9 == m.in.r9;
        m.in.r8 = (uintptr_t)there;
        run(operand, 0, &m);
        good &= m.out.rax == group && m.out.rdi == 4711 && m.out.r8 == m.in.r8;
        run(address, 0, &m);
        good &= m.out.rax == parent && m.out.rdi == 220 && m.out.rsi == m.in.rsi;
    }
    CHECK(good);
}

/* ---- the text ------------------------------------------------------------------------------- */

/* What others than the program's processor see is the file. */
static void check_bytes(void)
{
    uint8_t *file = malloc(text.map_size), *memory = malloc(text.map_size);
    int fd = open("/proc/self/exe", O_RDONLY), mem = open("/proc/self/mem", O_RDONLY);
    ssize_t size = (ssize_t)(text.end - text.start);

    CHECK_EQ(pread(fd, file, (size_t)size, (off_t)text.offset), size);
    CHECK_EQ(pread(mem, memory, (size_t)size, (off_t)text.start), size);
    CHECK_EQ(memcmp(file, memory, (size_t)size), 0);
    close(fd);
    close(mem);
    free(file);
    free(memory);
}

static uintptr_t map_text(void)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    void *map =
        mmap(NULL, text.map_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)text.offset);

    CHECK(map != MAP_FAILED);
    close(fd);
    return (uintptr_t)map;
}

static void *page_of(uintptr_t map, const char *code)
{
    return (void *)((TEXT_AT(map) + (uintptr_t)code) & -PAGE);
}

/* A second mapping of it, to which this and that happens while its calls are hot. */
static void check_mappings(void)
{
    const int rx = PROT_READ | PROT_EXEC;
    uintptr_t map = map_text(), last = map + text.map_size - PAGE, other;
    char *elsewhere;

    check_forms(TEXT_AT(map), 50);
    CHECK_EQ(mprotect((void *)map, PAGE, PROT_READ), 0);
    check_forms(TEXT_AT(map), 50);
    CHECK_EQ(mprotect((void *)map, PAGE, rx), 0);
    check_forms(TEXT_AT(map), 50);
    CHECK_EQ(mprotect((void *)map, text.map_size, PROT_READ), 0);
    CHECK_EQ(mprotect((void *)map, text.map_size, rx), 0);
    check_forms(TEXT_AT(map), 50);
    CHECK_EQ(mprotect((void *)last, PAGE, PROT_NONE), 0);
    check_forms(TEXT_AT(map), 50);
    CHECK_EQ(mprotect((void *)last, PAGE, rx), 0);
    check_forms(TEXT_AT(map), 50);
    CHECK_EQ(munmap((void *)last, PAGE), 0);
    check_forms(TEXT_AT(map), 50);

    /* All of it goes elsewhere, then the page of the calls alone. */
    other = map_text();
    check_forms(TEXT_AT(other), 50);
    elsewhere = mremap((void *)other, text.map_size, text.map_size, MREMAP_MAYMOVE | MREMAP_FIXED,
                       (void *)map);
    CHECK_EQ(elsewhere, map);
    check_forms(TEXT_AT(map), 50);
    elsewhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(mremap(page_of(map, plain), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere),
             elsewhere);
    CHECK(calls_keep(plain, plain_end, (uintptr_t)elsewhere - ((uintptr_t)plain & -PAGE), 0,
                     (uint64_t)getppid(), 0, 50));
    CHECK(calls_keep(second, second_end, TEXT_AT(map), 0, (uint64_t)getppid(), 0, 50));
    munmap(elsewhere, PAGE);
    munmap((void *)map, text.map_size);
}

/* Its own hand writes to it: there, beside it, and at its end. */
static void check_patching(void)
{
    uintptr_t map = map_text();
    volatile char *site = plain_site + TEXT_AT(map), *end = (char *)map + text.map_size - 1;

    check_forms(TEXT_AT(map), 50);
    CHECK_EQ(mprotect((void *)map, text.map_size, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    check_forms(TEXT_AT(map), 50);
    site[1] = 102; /* another call, written whole: getuid */
    site[0] = (char)0xb8;
    site[2] = site[3] = site[4] = 0;
    CHECK(calls_keep(plain, plain_end, TEXT_AT(map), 0, getuid(), 0, 50));
    *end = 1;
    CHECK(calls_keep(second, second_end, TEXT_AT(map), 0, (uint64_t)getppid(), 0, 50));
    CHECK(calls_keep(plain, plain_end, TEXT_AT(map), 0, getuid(), 0, 50));
    CHECK_EQ(mprotect((void *)map, text.map_size, PROT_READ | PROT_EXEC), 0);
    CHECK(calls_keep(second, second_end, TEXT_AT(map), 0, (uint64_t)getppid(), 0, 50));
    CHECK_EQ(*end, 1);
    munmap((void *)map, text.map_size);
}

/* ---- threads, signals ----------------------------------------------------------------------- */

static _Atomic bool finished;

static void *call_on(void *arg)
{
    uintptr_t moved = (uintptr_t)arg;
    struct machine m = {.in = {.rflags = 0x202}};
    long parent = getppid(), good = 1;

    while (!finished) {
        run(plain, moved, &m);
        good &= m.out.rax == (uint64_t)parent;
        run(second, moved, &m);
        good &= m.out.rax == (uint64_t)parent;
    }
    return (void *)good;
}

static void check_threads(void)
{
    uintptr_t map = map_text();
    pthread_t threads[4];
    void *good;

    finished = false;
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, call_on, (void *)TEXT_AT(map)), 0);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(mprotect((void *)map, PAGE, PROT_READ), 0);
        run(plain, TEXT_AT(map), &(struct machine){.in = {.rflags = 0x202}});
        CHECK_EQ(mprotect((void *)map, PAGE, PROT_READ | PROT_EXEC), 0);
        run(plain, TEXT_AT(map), &(struct machine){.in = {.rflags = 0x202}});
    }
    finished = true;
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(threads[i], &good), 0);
        CHECK(good);
    }
    munmap((void *)map, text.map_size);
}

static volatile int signals, strays;

static void on_alarm(int signo, siginfo_t *info, void *context)
{
    uintptr_t rip = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

    signals++;
    if (rip < text.start || rip >= text.end)
        strays++;
}

static void check_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    uint64_t parent = (uint64_t)getppid();
    bool good = true;

    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    while (signals < SIGNALS) {
        good &= calls_keep(plain, plain_end, 0, 0, parent, 0, 20);
        good &= calls_keep(zero, zero_end, 0, -1UL, (uint64_t)-EBADF, FLAGS, 20);
        good &= loaded_keeps(0, 20);
    }
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK(good);
    CHECK_EQ(strays, 0);
}

/* ---- other processes ------------------------------------------------------------------------ */

static void check_children(void)
{
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            check_forms(0, 20);
            if (i == 2)
                execl("/proc/self/exe", "rewritten", "again", NULL);
            _exit(check_failures != 0);
        }
        CHECK_EQ(status_of(pid), 0);
    }
}

static int call_and_exit(void)
{
    return calls_keep(plain, plain_end, 0, 0, (uint64_t)getppid(), 0, 20) ? 0 : 1;
}

/* Who traces it finds its text, and goes through it instruction by instruction. */
static void check_tracer(void)
{
    pid_t pid = start_tracee(call_and_exit, 0);
    struct user_regs_struct regs = regs_of(pid), before = regs;
    uint64_t word = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, plain_site, 0);

    CHECK_EQ(word & 0xffffffffffffff, 0x050f0000006eb8);
    regs.rip = (uintptr_t)plain_site;
    regs.orig_rax = -1UL;
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
    CHECK_EQ(go(pid, PTRACE_SINGLESTEP, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(regs_of(pid).rip, plain_site + 5);
    CHECK_EQ(regs_of(pid).rax, 110);
    CHECK_EQ(go(pid, PTRACE_SINGLESTEP, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(regs_of(pid).rip, plain_end);
    CHECK_EQ(regs_of(pid).rax, getpid());
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &before), 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 0);
}

/* One that makes calls all the time is stopped by a tracer, wherever it is. */
static void check_attach(void)
{
    finished = false;
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        uintptr_t rip;

        if (pid == 0)
            (void)call_on(NULL);
        usleep(2000);
        CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
        CHECK_EQ(status_of(pid), STOPPED(SIGSTOP, 0));
        rip = regs_of(pid).rip;
        CHECK(rip >= text.start && rip < text.end);
        CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
        usleep(100);
        CHECK_EQ(kill(pid, SIGKILL), 0);
        CHECK_EQ(status_of(pid), SIGKILL);
    }
}

int main(int argc, char **argv)
{
    find_text();
    check_forms(0, argc > 1 ? 20 : TIMES);
    if (argc > 1)
        return check_failures != 0;
    check_direct();
    check_lookalikes();
    check_bytes();
    check_mappings();
    check_patching();
    check_threads();
    check_signals();
    check_children();
    check_tracer();
    check_attach();
    check_forms(0, 20);
    return check_done();
}
