/*
 * One stub: the page that it consists of, and host calls injected into it.
 *
 * An injected call replaces all registers of the stopped stub: the caller keeps the guest's own
 * and writes them before the guest runs again, as it does at every resume anyway. The call runs
 * under PTRACE_CONT, past PTRACE_SYSEMU, and is held only by the stub's seccomp filter:
 *
 *   from stub_call   mmap of the memfile (shared, fixed), munmap, fork of a leader, exit
 *   from stub_batch  mmap of the memfile, munmap
 *   from stub_clone  a new thread; pause
 *   from the host's vsyscall page: trapped, to be answered by the Sentry
 *   anything else, or from any other address: kills the stub
 *
 * so a guest gains nothing even from a bug that would let its own `syscall` run past SYSEMU.
 */
#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/log.h"
#include "platform/ptrace/internal.h"

extern const uint8_t stub_code[], stub_code_end[];

#define AWAKE_LOOKS  100 /* for a stub's stop, before its tracer sleeps: some 40 us */

#define LEADER_FLAGS (CLONE_PTRACE | CLONE_PARENT | CLONE_FILES | CLONE_FS)
#define MEMBER_FLAGS                                                                               \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |            \
     CLONE_UNTRACED)

/* --- The page --- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(field)                                                                           \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), yes, no)
#define RETURN(action)     BPF_STMT(BPF_RET | BPF_K, action)

/* Blocks that return or fall through to the next. */
#define ALLOW_AT(offset, number)                                                                   \
    LOAD(instruction_pointer), IF(STUB_BASE + (offset), 0, 3), LOAD(nr), IF(number, 0, 1),         \
        RETURN(SECCOMP_RET_ALLOW)
#define ALLOW_AT_IF(offset, number, n, value)                                                      \
    LOAD(instruction_pointer), IF(STUB_BASE + (offset), 0, 5), LOAD(nr), IF(number, 0, 3),         \
        LOAD(args[n]), IF(value, 0, 1), RETURN(SECCOMP_RET_ALLOW)
#define TRAP_IF(number) LOAD(nr), IF(number, 0, 1), RETURN(SECCOMP_RET_TRAP)

/* libseccomp has no rules on the instruction pointer, hence by hand. */
static const struct sock_filter stub_filter[] = {
    LOAD(arch),
    IF(AUDIT_ARCH_X86_64, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    /* The host emulates the page at 0xffffffffff600000: seccomp sees the call it would make. */
    LOAD_HIGH(instruction_pointer),
    IF(0xffffffff, 0, 10),
    TRAP_IF(SYS_gettimeofday),
    TRAP_IF(SYS_time),
    TRAP_IF(SYS_getcpu),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    IF(STUB_BASE >> 32, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    ALLOW_AT_IF(STUB_CALLED, SYS_mmap, 3, STUB_MAP_FLAGS),
    ALLOW_AT_IF(STUB_CALLED, SYS_mmap, 3, STUB_MAP_FLAGS | MAP_POPULATE),
    ALLOW_AT(STUB_CALLED, SYS_munmap),
    ALLOW_AT_IF(STUB_BATCHED, SYS_mmap, 3, STUB_MAP_FLAGS),
    ALLOW_AT_IF(STUB_BATCHED, SYS_mmap, 3, STUB_MAP_FLAGS | MAP_POPULATE),
    ALLOW_AT(STUB_BATCHED, SYS_munmap),
    ALLOW_AT_IF(STUB_CALLED, SYS_clone, 0, LEADER_FLAGS),
    ALLOW_AT(STUB_CALLED, SYS_exit),
    ALLOW_AT(STUB_CALLED, SYS_exit_group),
    ALLOW_AT_IF(STUB_CLONED, SYS_clone, 0, MEMBER_FLAGS),
    ALLOW_AT(STUB_PAUSED, SYS_pause),
    RETURN(SECCOMP_RET_KILL_PROCESS),
};

void stub_image_build(uint8_t image[STUB_SIZE])
{
    Elf64_Ehdr ehdr = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = STUB_LOADED + STUB_CALL,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    Elf64_Phdr phdr[2] = {
        {
            .p_type = PT_LOAD,
            .p_flags = PF_R | PF_X,
            .p_vaddr = STUB_LOADED,
            .p_filesz = STUB_SIZE,
            .p_memsz = STUB_SIZE,
            .p_align = PAGE_SIZE,
        },
        /* without it old hosts make every readable mapping executable */
        {.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W},
    };
    struct sock_fprog prog = {
        .len = ARRAY_COUNT(stub_filter),
        .filter = (struct sock_filter *)(STUB_BASE + STUB_FILTER + sizeof(struct sock_fprog)),
    };

    static_assert(sizeof(ehdr) + sizeof(phdr) <= STUB_CODE, "headers run into the code");
    static_assert(STUB_FILTER + sizeof(prog) + sizeof(stub_filter) <= STUB_SIZE, "filter too long");
    BUG_ON(stub_code + (STUB_CLONE - STUB_CALL) >= stub_code_end ||
           stub_code_end - stub_code > STUB_FILTER - STUB_CODE);
    memset(image, 0xcc, STUB_SIZE); /* int3 wherever nothing is */
    memcpy(image, &ehdr, sizeof(ehdr));
    memcpy(image + sizeof(ehdr), phdr, sizeof(phdr));
    memcpy(image + STUB_CODE, stub_code, (size_t)(stub_code_end - stub_code));
    memcpy(image + STUB_FILTER, &prog, sizeof(prog));
    memcpy(image + STUB_FILTER + sizeof(prog), stub_filter, sizeof(stub_filter));
}

/* --- Injection --- */

static bool status_is_end(int status)
{
    return WIFEXITED(status) || WIFSIGNALED(status);
}

static const struct host_user_regs blank_regs = {
    .orig_rax = -1UL, /* or the host would look for a call to restart */
    .eflags = RFLAGS_FIXED,
    .cs = STUB_CS,
    .ss = STUB_SS,
};

/* Where the stub has a processor of its own, being woken would take longer than its call. */
static int await(const struct stub *stub, int *ret_status)
{
    for (int i = 0; stub->apart && i < AWAKE_LOOKS; i++) {
        int stopped = host_poll_stub(stub->tid, ret_status);

        if (stopped)
            return stopped < 0 ? stopped : 0;
    }
    return host_wait_stub(stub->tid, ret_status);
}

/* Resumes at `entry` until the int3 before `done`; ret_regs are those of that moment. */
static int run_until(struct stub *stub, uaddr_t done, struct host_user_regs *ret_regs)
{
    int status;

    for (;;) {
        if (host_ptrace_cont(stub->tid) < 0 || await(stub, &status) < 0)
            return -ESRCH;
        if (status_is_end(status)) {
            __atomic_store_n(&stub->tid, 0, __ATOMIC_RELAXED); /* the keeper may look: shell.c */
            return -ESRCH;
        }
        if (status >> 8 != SIGTRAP) /* a kick, or somebody's signal: the host restarts the call */
            continue;
        if (host_ptrace_get_regs(stub->tid, ret_regs) < 0)
            return -ESRCH;
        if (ret_regs->rip == done)
            return 0;
    }
}

/* rax of the stub that began with these registers and comes to `done`. */
static long run_with(struct stub *stub, struct host_user_regs *regs, uaddr_t done)
{
    int err;

    if (stub->tid == 0)
        return -ESRCH;
    stub->as_read = false;
    if (host_ptrace_set_regs(stub->tid, regs) < 0)
        return -ESRCH;
    err = run_until(stub, done, regs);
    return err < 0 ? err : (long)regs->rax;
}

static long call_at(struct stub *stub, uaddr_t entry, uaddr_t done, long number,
                    const unsigned long args[6])
{
    struct host_user_regs regs = blank_regs;

    regs.rip = entry;
    regs.rax = (unsigned long)number;
    regs.rdi = args[0];
    regs.rsi = args[1];
    regs.rdx = args[2];
    regs.r10 = args[3];
    regs.r8 = args[4];
    regs.r9 = args[5];
    return run_with(stub, &regs, done);
}

long stub_batch(struct stub *stub, unsigned int count)
{
    struct host_user_regs regs = blank_regs;

    regs.rip = STUB_BASE + STUB_BATCH;
    regs.r14 = count;
    regs.r15 = STUB_ORDERS;
    return run_with(stub, &regs, STUB_BASE + STUB_BATCH_DONE);
}

long stub_call(struct stub *stub, long number, const unsigned long args[6])
{
    return call_at(stub, STUB_BASE + STUB_CALL, STUB_BASE + STUB_DONE, number, args);
}

/* After execve, clone or a seize: the stub is on its way to its first stop. */
static int await_stop(struct stub *stub)
{
    int status;

    if (host_wait_stub(stub->tid, &status) < 0)
        return -ESRCH;
    if (status_is_end(status)) {
        stub->tid = 0;
        return -ESRCH;
    }
    return 0;
}

/*
 * Hosts may refuse to unmap their vDSO (CONFIG_MSEAL_SYSTEM_MAPPINGS). Then the guest's range ends
 * below it: it lies in the topmost GiB, since the master was started without randomisation.
 */
static int clear_range(struct stub *stub, uaddr_t *ret_user_max)
{
    uaddr_t good = 0, bad = STUB_BASE;

    if (stub_call(stub, SYS_munmap, (unsigned long[6]){0, STUB_BASE}) == 0) {
        *ret_user_max = STUB_ORDERS;
        return 0;
    }
    while (bad - good > PAGE_SIZE) {
        uaddr_t middle = round_down(good + (bad - good) / 2, PAGE_SIZE);
        long result = stub_call(stub, SYS_munmap, (unsigned long[6]){good, middle - good});

        if (result == -ESRCH)
            return -ESRCH;
        *(result == 0 ? &good : &bad) = middle;
    }
    log_info("ptrace: the host keeps a mapping at %#lx in stubs", (unsigned long)good);
    *ret_user_max = MIN(good, (uaddr_t)STUB_ORDERS);
    return good < (1UL << 46) ? -EPERM : 0;
}

int stub_prepare(struct stub *stub, uaddr_t *ret_user_max)
{
    uaddr_t fprog = STUB_BASE + STUB_FILTER;
    long result;
    int err;

    /* The execve has yet to return, which would overwrite rax: go to the next stop first. */
    if (host_ptrace_interrupt(stub->tid) < 0 || host_ptrace_cont(stub->tid) < 0)
        return -ESRCH;
    err = await_stop(stub);
    if (err < 0)
        return err;
    result = call_at(stub, STUB_LOADED + STUB_CALL, STUB_LOADED + STUB_DONE, SYS_mmap,
                     (unsigned long[6]){STUB_BASE, STUB_SIZE, PROT_READ | PROT_EXEC,
                                        MAP_PRIVATE | MAP_FIXED, HOST_STUB_IMAGE_FD});
    if (result != (long)STUB_BASE)
        return result < 0 ? (int)result : -EIO;
    result = stub_call(stub, SYS_close, (unsigned long[6]){HOST_STUB_IMAGE_FD});
    if (result == 0)
        result =
            stub_call(stub, SYS_seccomp, (unsigned long[6]){SECCOMP_SET_MODE_FILTER, 0, fprog});
    return result < 0 ? (int)result : clear_range(stub, ret_user_max);
}

int stub_fork(struct stub *master, struct stub *ret_leader)
{
    struct stub leader = {0};
    long pid = stub_call(master, SYS_clone, (unsigned long[6]){LEADER_FLAGS});

    if (pid < 0)
        return (int)pid;
    leader.tid = leader.tgid = (pid_t)pid;
    if (await_stop(&leader) < 0)
        return -EAGAIN;
    *ret_leader = leader;
    return 0;
}

int stub_spawn_thread(struct stub *leader, struct stub *ret_member)
{
    long tid = call_at(leader, STUB_BASE + STUB_CLONE, STUB_BASE + STUB_CLONE_DONE, SYS_clone,
                       (unsigned long[6]){MEMBER_FLAGS});

    if (tid < 0)
        return (int)tid;
    *ret_member = (struct stub){.tgid = leader->tgid, .tid = (pid_t)tid};
    return 0;
}

void stub_reap(pid_t tid)
{
    int status;

    while (host_wait_stub(tid, &status) == 0 && !status_is_end(status))
        host_ptrace_cont(tid); /* somebody's signal */
}

int stub_seize(struct stub *stub)
{
    int err = host_ptrace_seize(stub->tid, STUB_OPTIONS);

    if (err < 0)
        return err;
    if (host_ptrace_interrupt(stub->tid) < 0) {
        /* Killed in between, and ours to reap: its leader cannot be until that is done. */
        stub_reap(stub->tid);
        return -ESRCH;
    }
    return await_stop(stub);
}

void stub_end(struct stub *stub, bool process)
{
    struct host_user_regs regs = blank_regs;

    regs.rip = STUB_BASE + STUB_CALL;
    regs.rax = process ? SYS_exit_group : SYS_exit;
    /* Both fail when it was killed meanwhile: the zombie is still to be reaped. */
    if (host_ptrace_set_regs(stub->tid, &regs) < 0 || host_ptrace_cont(stub->tid) < 0)
        log_debug("ptrace: stub %d was gone already", stub->tid);
}

void stub_exit(struct stub *stub, bool process)
{
    if (stub->tid == 0)
        return;
    stub_end(stub, process);
    stub_reap(stub->tid);
    stub->tid = 0;
}

/*
 * The host refuses (-EIO) what a guest can well load by itself: selectors with another requested
 * privilege level (`mov $0x28, %ds`), and with wrfsbase a base in the kernel's half. Such a guest
 * gets the nearest that is accepted.
 */
int stub_set_regs(struct stub *stub, struct host_user_regs *regs)
{
    uint64_t *selectors[] = {&regs->ds, &regs->es, &regs->fs, &regs->gs};
    int err = host_ptrace_set_regs(stub->tid, regs);

    if (likely(err != -EIO))
        return err;
    for (size_t i = 0; i < ARRAY_COUNT(selectors); i++) {
        if (*selectors[i] & ~3ULL)
            *selectors[i] |= 3;
        else
            *selectors[i] = 0;
    }
    if (regs->fs_base >= STUB_BASE)
        regs->fs_base = 0;
    if (regs->gs_base >= STUB_BASE)
        regs->gs_base = 0;
    regs->cs = STUB_CS;
    regs->ss = STUB_SS;
    return host_ptrace_set_regs(stub->tid, regs);
}
