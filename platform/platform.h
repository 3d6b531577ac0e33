/*
 * The platform interface: "run this context in this address space until a trap".
 *
 *   struct platform        one per sandbox: the VM, or nothing much (ptrace)
 *   struct address_space   what the user program sees: page tables, or a stub process
 *   struct context         one guest thread's registers; driven by one host thread at a time
 *   ctx_switch()           the one verb
 *
 * Nothing above this line knows KVM or ptrace, and nothing assumes one host exit per system call:
 * a platform may answer pure calls inside the guest (fast path, from `struct fastpath_page`).
 *
 * Locking: as_map/as_unmap of one address space are serialised by the caller (mm's lock) and may
 * run while other threads are inside ctx_switch() of the same address space. They may be called by
 * any thread, also one that never ran a context. ctx_* are called by the context's own thread,
 * except ctx_interrupt().
 */
#ifndef PLATFORM_PLATFORM_H
#define PLATFORM_PLATFORM_H

#include "base/compiler.h"
#include "platform/memfile.h"

struct platform;
struct address_space;
struct context;
struct jail_request;

/* General registers of a context, current between ctx_switch() calls and free to be changed. */
struct cpu_regs {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
};
static_assert(sizeof(struct cpu_regs) == 18 * 8, "register block");

/* rflags bits that a program may set: CF PF AF ZF SF TF DF OF RF NT AC ID (SDM vol. 1, 3.4.3). */
#define RFLAGS_USER_MASK 0x254dd5UL
#define RFLAGS_FIXED     0x202UL /* IF and the always-one bit */
#define RFLAGS_TF        0x100UL

enum trap {
    TRAP_SYSCALL,   /* regs.rax is the number; rip is behind the instruction; rcx, r11 as Linux */
    TRAP_FAULT,     /* page fault: trap_info.addr, .access; rip at the faulting instruction */
    TRAP_EXCEPTION, /* any other CPU exception: trap_info.vector, .error_code, .addr */
    TRAP_INTERRUPT, /* ctx_interrupt() was called; registers are at an instruction boundary */
    TRAP_KILLED,    /* the context cannot go on (its stub was killed from outside, vCPU failed) */
};

/* Exception vectors (SDM vol. 3, 6.15). */
enum x86_vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_BR = 5,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
    VECTOR_XM = 19,
};

enum access {
    ACCESS_READ = 1,
    ACCESS_WRITE = 2,
    ACCESS_EXEC = 4,
    /* Not certain (ptrace, which is not told by the host): probably a write, where nothing is
     * mapped. To be granted what the mapping allows, as it comes again as WRITE if that was it. */
    ACCESS_UNKNOWN = 8,
};

struct trap_info {
    uint32_t vector;     /* enum x86_vector, for TRAP_FAULT always VECTOR_PF */
    uint32_t error_code; /* as the CPU pushed it, or as well as can be told */
    uaddr_t addr;        /* CR2 for a page fault, else 0 */
    enum access access;
    int si_code; /* TRAP_EXCEPTION: the host's si_code where the host tells it (ptrace), else 0 */
    int signo;   /* likewise the signal, else 0 */
    bool handed_over; /* TRAP_SYSCALL: without a trap, by way of platform_limits.call_entry */
};

/* The probe's answer, one per back-end, printed by `kvmsentry doctor`. */
struct platform_report {
    bool usable;
    char how[128];       /* "SYSCALL enters ring 0", "ring-3 trampoline", "PTRACE_SYSEMU" */
    char why_not[192];   /* what was tried and what the host answered, when not usable */
    uint64_t syscall_ns; /* one system call to the Sentry and back, median */
    uint64_t fast_ns;    /* one call answered in the guest, 0 where there is no fast path */
    uint64_t fault_ns;   /* one page fault served, median; 0 when not measured */
};

/*
 * Pure calls are answered in the guest from this page, which the Sentry fills (one per context).
 * Zero `enabled` sends every call to the Sentry: traced, filtered or strace'd tasks.
 */
struct fastpath_page {
    uint32_t enabled;
    uint32_t pid, tid, ppid;
    uint32_t uid, euid, gid, egid;
    uint64_t served; /* counted by the guest: how many calls never reached the Sentry (a hint) */
};

struct platform_limits {
    uaddr_t user_min; /* lowest address that as_map() takes, at least one page */
    uaddr_t user_max; /* one past the highest; at most 0x7ffffffff000 */
    /* AT_HWCAP and AT_HWCAP2: CPUID leaf 1's EDX as programs see it; HWCAP2_FSGSBASE or 0. */
    uint64_t hwcap, hwcap2;
    bool tsc_is_hosts;     /* RDTSC in the guest reads what it reads in the Sentry */
    bool maps_cheaply;     /* as_map() costs far less than the fault that it spares */
    bool maps_give_memory; /* it has the host back what it maps, be it touched or not */
    /*
     * Where a call site of the program may jump instead of executing its SYSCALL, so that the call
     * need not be a trap; 0: nowhere. Expected there: eax = number << 16, rcx = the address behind
     * the SYSCALL, which must still be in its place for when it is to be executed after all;
     * anything else as for the call. What comes back is as behind a SYSCALL.
     */
    uaddr_t call_entry;
};

/* True: the caller wants this mapping as it is. */
typedef bool (*platform_recall_fn)(uaddr_t addr, int prot, struct memfile_range range, void *arg);

/* Whether a call may be served by another processor while the guest waits for the answer inside. */
enum exitless_mode {
    EXITLESS_AUTO,   /* while the calls come fast and there are processors for it */
    EXITLESS_NEVER,  /* each call leaves the guest */
    EXITLESS_ALWAYS, /* whenever it is possible at all */
};

struct platform_ops {
    const char *name; /* "kvm", "ptrace", "fake" */
    /*
     * A host thread may drive one context after another, and had better: KVM waits for an RCU grace
     * period when another thread takes a vCPU (before Linux 6.13), and stubs stay with it.
     */
    bool threads_reusable;

    /* Runs a tiny guest. Never fails: the report says what did not work. */
    void (*probe)(struct platform_report *ret_report);

    /*
     * Both in one: brings the platform up as create() does, measures it as probe() does, and leaves
     * it ready for use. NULL when it is not usable; the report says why.
     */
    struct platform *(*create_measured)(struct memfile *mf, struct platform_report *ret_report);

    /* Takes over the memfile's grow callback. -errno; the reason is also logged at error level. */
    int (*create)(struct memfile *mf, struct platform **ret);
    void (*destroy)(struct platform *p);
    /* May be NULL. Before the process exits while tasks still live: ends and reaps all that the
     * platform has on the host. Contexts are left as they are, and never run again. */
    void (*stop)(struct platform *p);
    /* Called once by runtime after create(), before the jail closes: what the jail must also let
     * through for this platform (host/jail.h). */
    void (*jail)(struct platform *p, struct jail_request *req);
    void (*limits)(struct platform *p, struct platform_limits *ret_limits);
    /* Before jail(). NULL: each call is a trap here. */
    void (*set_exitless)(struct platform *p, enum exitless_mode mode);

    /* `like`: the one of which this will be a twin (fork), or NULL. It is a hint and no more. */
    int (*as_create)(struct platform *p, struct address_space *like, struct address_space **ret);
    void (*as_destroy)(struct address_space *as);
    /*
     * Before anything runs in it. What the platform has mapped for an earlier address space that it
     * has used this for costs less when it is kept than when it is mapped: each such mapping is
     * offered, and one for which `keep` says true is as if as_map() had made it. NULL: there never
     * is any.
     */
    void (*as_recall)(struct address_space *as, platform_recall_fn keep, void *arg);
    /* The host thread that had better run the next context there, or 0. NULL: any. */
    int (*as_thread)(struct address_space *as);
    /*
     * Maps [addr, addr+range.size) to the range with PROT_READ|WRITE|EXEC bits (PROT_WRITE and
     * PROT_EXEC imply readable), replacing what was there. The replaced rights are gone on return
     * when they were wider (every CPU has forgotten them). 0, -ENOMEM.
     *
     * Mappings are a cache, as a TLB is: a platform may forget any of them at any time (ptrace
     * does, at the host's limit of mappings). A fault on what is mapped already asks for as_map()
     * of the same once more.
     */
    int (*as_map)(struct address_space *as, uaddr_t addr, int prot, struct memfile_range range);
    /* Nothing may be mapped there afterwards; returns after every CPU has forgotten the range. */
    int (*as_unmap)(struct address_space *as, uaddr_t addr, uint64_t size);
    /*
     * Between `on` and not `on` a caller makes several changes for one of its own calls: those may
     * be done together at the end. Before a page that was mapped is given to anybody else, and
     * before the call is answered, as_settle() sees to it that all are done. Both NULL: each change
     * is done at once.
     */
    void (*as_gather)(struct address_space *as, bool on);
    void (*as_settle)(struct address_space *as);
    /*
     * Own thread: where something is mapped in this call that was not before, nobody will look
     * before the next call. NULL: that is no matter.
     */
    void (*as_defer)(struct address_space *as);

    int (*ctx_create)(struct platform *p, struct context **ret);
    void (*ctx_destroy)(struct context *ctx);
    /* Runs until a trap. FP and segment bases of the context persist in it. */
    enum trap (*ctx_switch)(struct context *ctx, struct address_space *as,
                            struct trap_info *ret_info);
    /* Any thread: the running ctx_switch(), or else the next one, returns TRAP_INTERRUPT. */
    void (*ctx_interrupt)(struct context *ctx);

    /*
     * The extended state in the standard (not compacted) XSAVE format, as in a signal frame.
     * `size` is what ctx_fp_size() said. ctx_set_fp() takes hostile contents: the platform masks
     * MXCSR and XSTATE_BV, and -EINVAL refuses what the CPU would refuse.
     */
    uint32_t (*fp_size)(struct platform *p);     /* bytes of the XSAVE area */
    uint64_t (*fp_features)(struct platform *p); /* XCR0 as the guest has it */
    int (*ctx_get_fp)(struct context *ctx, void *buf, uint32_t size);
    int (*ctx_set_fp)(struct context *ctx, const void *buf, uint32_t size);
    /* Back to the state of a fresh program (execve). */
    void (*ctx_reset_fp)(struct context *ctx);

    void (*ctx_get_bases)(struct context *ctx, uint64_t *ret_fs, uint64_t *ret_gs);
    int (*ctx_set_bases)(struct context *ctx, uint64_t fs, uint64_t gs);

    /*
     * Nanoseconds of processor time that the guest has used beside that of the thread which runs
     * ctx_switch(); any thread. NULL: the guest runs in that thread.
     */
    uint64_t (*ctx_cpu_ns)(struct context *ctx);

    /*
     * Own thread: which processors the host may run this context on from now on (a mask as
     * sched_setaffinity(2) takes it), how nice it is (a host lets nobody go back down, unless
     * RLIMIT_NICE says so), and its policy: SCHED_OTHER, SCHED_BATCH, SCHED_FIFO or SCHED_RR with
     * their priority. As far as the host allows. NULL: it cannot be told.
     */
    void (*ctx_set_cpus)(struct context *ctx, const uint64_t *mask, size_t size);
    void (*ctx_set_nice)(struct context *ctx, int nice);
    void (*ctx_set_policy)(struct context *ctx, int policy, int priority);

    /*
     * Own thread: it waited in the Sentry and was woken by a thread that ran on this processor (a
     * hint, or negative). `apart`: it does better elsewhere than there. NULL: that is no matter.
     */
    void (*ctx_woken)(struct context *ctx, int cpu, bool apart);
    /* Own thread: it is about to wait in the Sentry, nobody knows how long. NULL: that is no
     * matter. */
    void (*ctx_sleeps)(struct context *ctx);

    /* This context's page for the fast path, or NULL where the platform has none. */
    struct fastpath_page *(*ctx_fastpath)(struct context *ctx);
};

/* The head of every back-end's context: upper floors read and write `regs` in place. */
struct context {
    const struct platform_ops *ops;
    struct cpu_regs regs;
    /* Calls that trapped only because nobody listened at platform_limits.call_entry, halved by
     * every other trap; upper floors count, and the platform sees what it can do. */
    uint32_t missed;
};
struct address_space {
    const struct platform_ops *ops;
};
struct platform {
    const struct platform_ops *ops;
    /* For --stats, both atomic: calls that were served while the program waited inside the guest;
     * and, where the platform counts them, what else the guest was stopped for (ptrace). */
    uint64_t calls_inside, stops;
};

#endif
