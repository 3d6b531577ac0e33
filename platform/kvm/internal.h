/*
 * The parts of the KVM platform, bottom up:
 *
 *   slots.c          guest-physical memory: tables of ours from 0, the memfile from MEMFILE_GPA
 *   vcpu.c, cpuid.c  one vCPU and its area
 *   ring0.c          the pages that all vCPUs share, and which kind of host this is
 *   pool.c           who has which vCPU
 *   shootdown.c      making vCPUs forget
 *   address_space.c  as_*
 *   context.c        ctx_*, fp and segment bases
 *   trap.c, switch.c leaving and entering the guest; window.c
 *   exitless.c, worth.c, streak.c, runner.c, exchange.c
 *                    calls served while the guest waits for the answer, instead of leaving
 *   vm.c             the whole; probe.c, stats.c
 *
 * Locks, outermost first: the caller's (one per address space), the address space's own, pool_lock,
 * settle_lock, table_lock.
 * A vCPU's fields belong to the thread that holds the vCPU (see pool.c).
 */
#ifndef PLATFORM_KVM_INTERNAL_H
#define PLATFORM_KVM_INTERNAL_H

#include <linux/kvm.h>

#include "base/compiler.h"
#include "base/list.h"
#include "base/lock.h"
#include "platform/habit.h"
#include "platform/kvm/kvm.h"
#include "ring0/exchange.h"
#include "ring0/layout.h"
#include "ring0/pagetable.h"

#define MEMFILE_GPA  (1UL << 32) /* memfile offset 0; behind the holes that PCs have below 4 GiB */
#define SPARE_GPA    0xe0000000  /* a page that is nowhere mapped: see settle() */
#define SLOT_SPARE   0
#define SLOT_TABLES  1  /* and up to SLOT_MEMFILE - 1 */
#define SLOT_MEMFILE 32 /* and up */
#define MSR_STAR     0xc0000081
#define MSR_LSTAR    0xc0000082
#define MSR_FMASK    0xc0000084
#define XSAVE_MIN    4096 /* bytes of struct kvm_xsave */
#define USER_MAX     0x7ffffffff000UL
#define CR0_VALUE    0x80050033UL /* PG AM WP NE ET MP PE */
#define EFER_VALUE   0xd01UL      /* NXE LMA LME SCE */
#define CR4_BASE     0x620UL      /* PAE OSFXSR OSXMMEXCPT */
#define CR4_FSGSBASE 0x10000UL
#define CR4_OSXSAVE  0x40000UL

enum ring_kind {
    KIND_UNKNOWN,
    KIND_RING0, /* SYSCALL enters ring 0 */
    KIND_RING3, /* SYSCALL stays in ring 3: the trampoline */
};

struct kvm_platform;
struct kvm_context;
struct kvm_address_space;

enum vcpu_state {
    VCPU_IDLE, /* may be taken by cmpxchg to VCPU_HELD */
    VCPU_HELD,
};

struct vcpu {
    uint32_t state; /* enum vcpu_state, atomic */
    unsigned int index;
    int fd;
    struct kvm_run *run;
    uint64_t area;                  /* guest address of our area */
    uint8_t *data, *tables, *stack; /* its own pages, in the VMM */
    struct kvm_context *owner; /* whose FP state and bases are loaded; changes under pool_lock */
    uint64_t root;             /* CR3 */
    bool in_user;              /* stands in the program, not in a stub of ring 0 */
    pid_t tid;                 /* the host thread that ran it last */
    bool sregs_known;          /* run->s.regs.sregs is what the vCPU has */
    struct {
        uint8_t streak, wait;
        int8_t score;
    } window; /* KIND_RING3: see window.c */
};

#define RUNNER_MAX 8U

/* A thread that runs a vCPU while the context's own thread serves its calls. See exitless.c. */
struct runner {
    struct kvm_platform *platform;
    unsigned int index;
    bool started;          /* of whoever has claimed it */
    uint32_t claimed;      /* atomic: some context has it */
    pid_t tid;             /* atomic; 0 until the thread is there */
    uint32_t turn;         /* atomic, futex: enum runner_turn */
    uint32_t rest;         /* atomic, futex: enum runner_rest */
    uint32_t owner_sleeps; /* atomic: the owner does */
    struct kvm_context *ctx;
    struct vcpu *v;
    struct kvm_address_space *as; /* atomic; NULL while nobody is inside */
    int result;                   /* of KVM_RUN */
    uint32_t serving;             /* atomic: a call is in the Sentry ... */
    uint32_t served;              /* atomic: ... so many have been */
    uint32_t served_before;       /* when the watchdog last looked */
    uint32_t expelled;            /* atomic: the watchdog makes it come out */
};

/* Calls in a row that left the guest, see streak.c. All zero at first. */
struct streak {
    uint32_t calls, looked;
    uint64_t least_ns, least_yet_ns; /* the shortest way out and in again of the last few */
};

enum exitless_state {
    EXITLESS_OFF,
    EXITLESS_ON,      /* the context's thread is in ctx_switch() with a runner of its own */
    EXITLESS_SERVING, /* it serves a call; the guest waits for the answer, but not for ever */
    EXITLESS_LEAVING, /* it waited too long; the runner brings things in order and turns it off */
};

struct kvm_context {
    struct context base;
    struct kvm_platform *platform;
    struct vcpu *vcpu; /* the last one, while owner == this; cleared under pool_lock by a thief */
    struct fastpath_page fastpath; /* copied to the vCPU's page at each switch */

    /* While no vCPU has them: */
    void *fp; /* xsave_size bytes, or NULL for a fresh program's state */
    uint64_t fs_base, gs_base;
    bool bases_changed; /* fs_base and gs_base are newer than the vCPU's */

    struct {
        uint32_t state; /* atomic, enum exitless_state */
        struct runner *runner;
        struct exchange_page *page;            /* in the VMM */
        struct cpu_regs posted;                /* the call that is being served */
        bool taken;                            /* there is one */
        bool turned;                           /* another context has been inside since */
        bool one_cpu, is_nice, special_policy; /* of its thread: then never */
        uint32_t calls;                        /* served since it is on */
        uint32_t wakes;                        /* of runners, since it last had one */
        bool hot;                              /* the last switch would have gone on */
        struct streak streak;
        struct habit habit;
    } exitless;

    /* ctx_interrupt(), from any thread: */
    uint32_t interrupted;    /* atomic latch */
    struct kvm_run *running; /* atomic; not NULL around KVM_RUN */
    pid_t tid;               /* the thread in there */
};

struct kvm_address_space {
    struct address_space base;
    struct kvm_platform *platform;
    const struct address_space *like; /* of which it was a twin; never followed */
    struct lock lock;                 /* guards what follows: the first switch changes it, too */
    struct pagetable pt;
    bool retired;            /* atomic; pagetable_sweep() is due */
    uint64_t exchange_table; /* guest-physical, the lowest one; 0: none */
    uint64_t exchange_tables[2];
    struct exchange_page *exchange[RUNNER_MAX]; /* for runner n, made when it first comes */
    uint32_t first_need;                        /* atomic: of contexts that have no habit yet */
    struct list node;                           /* in platform.shells once destroyed */
};

/* Pages for page tables and vCPU areas: guest-physical 0 and up, in the VMM at base. */
struct table_memory {
    uint8_t *base;
    uint64_t limit, extent, next;
    uint64_t free_list; /* guest-physical, linked through the first word; 0 ends */
    uint64_t free_count;
    unsigned int slot;
};

struct kvm_platform {
    struct platform base;
    enum ring_kind kind;
    int kvm_fd, vm_fd;
    uint32_t run_size; /* bytes of struct kvm_run and what follows it */
    unsigned int vcpu_max, vcpu_soft_max;
    uint64_t cr4, xcr0, hwcap;
    bool has_xsave2;
    bool tsc_is_hosts;
    uint32_t fp_size;    /* bytes of the standard XSAVE format that upper floors see */
    uint32_t xsave_size; /* bytes that KVM reads and writes, at least as many */
    struct kvm_cpuid2 *cpuid;

    struct memfile *memfile; /* borrowed from the caller of create() */
    uint64_t memfile_limit;
    uint8_t *view; /* the mapping of the memfile that the slots name */
    unsigned int memfile_slot;

    struct lock table_lock;
    struct table_memory tables __guarded_by(table_lock);
    struct list
        shells __guarded_by(table_lock); /* destroyed address spaces, kept for their trees */
    uint64_t shell_pages __guarded_by(table_lock);
    struct pagetable_memory pt_memory;
    uint64_t top_entry;           /* PML4[RING0_PML4_INDEX], the same everywhere */
    uint64_t ring0_table;         /* guest-physical root of the tree under it */
    uint64_t code_page, idt_page; /* guest-physical */

    struct lock settle_lock;
    uint64_t generation; /* atomic; completed settle()s + 1 */
    void *spare_page;

    struct lock pool_lock;
    pthread_cond_t pool_cond;
    uint32_t pool_waiters; /* atomic */
    struct vcpu **vcpus;   /* vcpu_max pointers; filled from 0 */
    uint32_t vcpu_count;   /* atomic; entries below are set */
    unsigned int steal_hand;

    struct runner runners[RUNNER_MAX];
    enum exitless_mode exitless_mode;
    unsigned int runner_count; /* 0: calls always leave the guest */
    unsigned int claims_max;   /* so many runners are claimed at most ... */
    uint32_t claims;           /* atomic: ... and so many are */
    uint32_t runner_threads;   /* atomic, futex; the watchdog is one of them */
    uint32_t watchdog;         /* atomic, futex: enum watchdog_state */
    uint32_t first_need;       /* atomic: as an address space's, of all of them */
    uint64_t cpu_mask[16];     /* which processors the sandbox may use ... */
    unsigned int cpus;         /* ... how many */
    uint32_t inside; /* atomic: contexts in ctx_switch(), or with a guest that waits inside */
    const struct kvm_context *last_inside; /* atomic, never followed: who came last ... */
    uint64_t turned_ns;                    /* atomic: ... and since when */

    char why[160]; /* see platform_blame() */
};

/* slots.c */
int slots_init(struct kvm_platform *p, struct memfile *mf);
void slots_destroy(struct kvm_platform *p);
/* A zeroed page for tables or areas: its guest-physical address. -ENOMEM. */
int table_alloc(struct kvm_platform *p, uint64_t *ret_gpa);
/* All its bytes are 0 again. */
void table_free(struct kvm_platform *p, uint64_t gpa);
static inline void *table_ptr(struct kvm_platform *p, uint64_t gpa)
{
    return p->pt_memory.base + gpa;
}

/* cpuid.c */
int cpuid_init(struct kvm_platform *p);
void cpuid_destroy(struct kvm_platform *p);

/* vcpu.c */
int vcpu_create(struct kvm_platform *p, unsigned int index, struct vcpu **ret);
void vcpu_destroy(struct kvm_platform *p, struct vcpu *v);
/* Makes run->s.regs.sregs current. */
int vcpu_know_sregs(struct vcpu *v);
/* Back to the state of a new one, after a shutdown. */
int vcpu_reset(struct kvm_platform *p, struct vcpu *v);
/* The guest address where SYSCALL leads, from now on. */
int vcpu_set_syscall_entry(struct vcpu *v, uint64_t entry, uint64_t mask);
/* Lets ring 3, where it needs to, see this vCPU's code and data page. */
int vcpu_open_area(struct kvm_platform *p, struct vcpu *v);

/* ring0.c: what all vCPUs share in the guest */
int ring0_init(struct kvm_platform *p);
/* Maps a page of ring 0's region, the same in every address space; under pool_lock or at start. */
int ring0_map(struct kvm_platform *p, uint64_t va, uint64_t gpa, uint64_t flags);
/* Finds out how SYSCALL behaves here, with vCPU 0, and sets things up for it. */
int ring0_detect_kind(struct kvm_platform *p);

/* pool.c */
void pool_init(struct kvm_platform *p);
/* Makes vCPU 0. */
int pool_start(struct kvm_platform *p);
void pool_destroy(struct kvm_platform *p);
/* The calling thread's id; makes it ready to be interrupted. */
pid_t pool_thread_id(void);
/* A held vCPU with the context's FP state in it; blocks while all are running. NULL on failure. */
struct vcpu *pool_acquire(struct kvm_context *ctx);
/* Only if the context still has its last one; never blocks. */
struct vcpu *pool_acquire_own(struct kvm_context *ctx);
void pool_release(struct kvm_platform *p, struct vcpu *v);
/* The context is going away. */
void pool_forget(struct kvm_context *ctx);

/* shootdown.c */
void shootdown(struct kvm_platform *p, const struct pagetable_drops *drops);
void settle(struct kvm_platform *p);

/* address_space.c */
int kvm_as_create(struct platform *p, struct address_space *like, struct address_space **ret);
/* Before a vCPU runs on it: what the previous owner of the tree had is gone. */
void kvm_as_sweep(struct kvm_address_space *as);
void kvm_as_destroy(struct address_space *as);
int kvm_as_map(struct address_space *as, uaddr_t addr, int prot, struct memfile_range range);
int kvm_as_unmap(struct address_space *as, uaddr_t addr, uint64_t size);
/* Gives table pages back that no living address space needs; true when there were any. */
bool shells_reclaim(struct kvm_platform *p);

/* context.c */
int kvm_ctx_create(struct platform *p, struct context **ret);
void kvm_ctx_destroy(struct context *ctx);
void kvm_ctx_interrupt(struct context *ctx);
uint32_t kvm_fp_size(struct platform *p);
uint64_t kvm_fp_features(struct platform *p);
int kvm_ctx_get_fp(struct context *ctx, void *buf, uint32_t size);
int kvm_ctx_set_fp(struct context *ctx, const void *buf, uint32_t size);
void kvm_ctx_reset_fp(struct context *ctx);
void kvm_ctx_get_bases(struct context *ctx, uint64_t *ret_fs, uint64_t *ret_gs);
int kvm_ctx_set_bases(struct context *ctx, uint64_t fs, uint64_t gs);
struct fastpath_page *kvm_ctx_fastpath(struct context *ctx);
void kvm_ctx_set_cpus(struct context *ctx, const uint64_t *mask, size_t size);
void kvm_ctx_set_nice(struct context *ctx, int nice);
void kvm_ctx_set_policy(struct context *ctx, int policy, int priority);
/* Moves the state out of the vCPU and in; called by the pool with the vCPU held. -errno. */
int context_save(struct kvm_context *ctx, struct vcpu *v);
int context_load(struct kvm_context *ctx, struct vcpu *v);

/* trap.c */
enum verdict {
    VERDICT_TRAP,        /* *ret_trap and *ret_info are set, the registers are in the context */
    VERDICT_AGAIN,       /* in the middle of something of ours: run on as it stands */
    VERDICT_INTERRUPTED, /* in the program, whose registers are in the context */
};
/* What became of KVM_RUN, which returned `result`. */
enum verdict kvm_trap_decode(struct kvm_context *ctx, struct kvm_address_space *as, struct vcpu *v,
                             int result, enum trap *ret_trap, struct trap_info *ret_info);
bool trap_is_canonical(uint64_t address);

/* exchange.c */
/* The page that runner n and the programs of this address space share, mapped. -ENOMEM. */
int exchange_open(struct kvm_address_space *as, unsigned int n, struct exchange_page **ret);
/* With the tables themselves forgotten by all vCPUs. */
void exchange_free(struct kvm_address_space *as);

/* runner.c */
enum runner_turn { TURN_OWNER, TURN_RUNNER, TURN_INSIDE, TURN_END };
enum runner_rest { RUNNER_AWAKE, RUNNER_DOZING, RUNNER_WAKING };
enum watchdog_state { WATCHDOG_NONE, WATCHDOG_AWAKE, WATCHDOG_DOZING, WATCHDOG_ENDS };
/* One that runs beside the caller, free and awake, claimed. NULL: none; soon there may be, and if
 * one was woken for that, *ret_woken is set. */
struct runner *runner_claim(struct kvm_platform *p, bool *ret_woken);
void runner_unclaim(struct runner *r);
/* Lets it enter the guest with r->v; r->turn is TURN_OWNER again when it has come back. */
void runner_go(struct runner *r);
/* Right after that. False: it has not come in time, and nothing has happened. */
bool runner_begins(struct runner *r);
/* Waits for that, making the guest leave. */
void runner_call_back(struct runner *r);
/* By whose turn it is: KVM_RUN, result and all. */
void runner_run_once(struct runner *r);
/* Any thread: makes it come out of the guest, if it is there. */
void runner_kick(struct runner *r);
void runners_stop(struct kvm_platform *p);

/* exitless.c */
void exitless_set_mode(struct platform *p, enum exitless_mode mode);
/* At the end of setting up, before the jail closes. */
void exitless_init(struct kvm_platform *p);
/* The exchange page that the guest may be using, or NULL. */
static inline struct exchange_page *exitless_page(const struct kvm_context *ctx)
{
    return __atomic_load_n(&ctx->exitless.state, __ATOMIC_RELAXED) == EXITLESS_ON
               ? ctx->exitless.page
               : NULL;
}
/* The context's thread is back with a runner still at work; its vCPU, held. NULL: there is none. */
struct vcpu *exitless_rejoin(struct kvm_context *ctx);
/*
 * After exitless_rejoin(): answers the call, and the guest runs on until a trap. False: it is over,
 * nobody is inside, and the context has the registers.
 */
bool exitless_answer(struct kvm_context *ctx, struct kvm_address_space *as, enum trap *ret_trap,
                     struct trap_info *ret_info);
/* Is it worth it now? Then the context has a runner for this vCPU, which holds its registers. */
bool exitless_begin(struct kvm_context *ctx, struct kvm_address_space *as, struct vcpu *v);
/* Runs it by the runner until a trap; false as above. */
bool exitless_run(struct kvm_context *ctx, enum trap *ret_trap, struct trap_info *ret_info);
/* At the end of a switch. True: the guest waits for an answer, and the vCPU is not ours. */
bool exitless_end(struct kvm_context *ctx);
/* Own thread, outside of ctx_switch(): the vCPU is in the pool again. */
void exitless_leave(struct kvm_context *ctx);
/* By the runner: the guest has left with nobody watching. True: there is nothing to tell. */
bool exitless_abandon(struct runner *r);
/* Before the tables of an address space go: nobody waits inside any more. */
void exitless_evict(struct kvm_platform *p, struct kvm_address_space *as);

/* worth.c: whether calls are to be served inside */
/* At the beginning of a switch. */
void worth_take_turn(struct kvm_context *ctx);
bool worth_trying(struct kvm_context *ctx, struct kvm_address_space *as);
/* A runner was woken, who was not there in time when it was so before. */
void worth_waking(struct kvm_context *ctx, struct kvm_address_space *as);
/* Those with a runner: */
/* The guest was made to come out behind a call, since more than rax is to change; in that time. */
void worth_recalled(struct kvm_context *ctx, uint64_t ns);
bool worth_going_on(const struct kvm_context *ctx);
void worth_win(struct kvm_context *ctx);
/* So many nanoseconds were lost. */
void worth_lose(struct kvm_context *ctx, uint64_t ns);
/* It will take long until it is tried again. */
void worth_despair(struct kvm_context *ctx);
void worth_watching(struct kvm_context *ctx, struct habit_watch *ret_watch);

/* streak.c */
/* A call left the guest, `ns` after that was entered. */
void streak_add(struct streak *s, uint64_t ns);
uint32_t streak_calls(const struct streak *s);

/* window.c: for KIND_RING3 */
void window_off(struct vcpu *v);
void window_init(struct vcpu *v);
/* A system call left the guest. */
void window_called(struct vcpu *v);
/* The window opened where there was no system call. */
void window_missed(struct vcpu *v);
/* The window opened on a call that the guest should answer by itself. */
bool window_leaves_to_fastpath(struct vcpu *v, const struct fastpath_page *page, uint64_t number);

/* switch.c */
/* The context's registers into the vCPU, which it holds; for this address space. -errno. */
int switch_enter(struct kvm_context *ctx, struct kvm_address_space *as, struct vcpu *v);
bool switch_take_interrupt(struct kvm_context *ctx);
enum trap kvm_ctx_switch(struct context *ctx, struct address_space *as, struct trap_info *ret_info);

/* probe.c */
void kvm_probe(struct platform_report *ret_report);
struct platform *kvm_create_measured(struct memfile *mf, struct platform_report *ret_report);

/* vm.c */
/* Remembers the first reason why the platform does not come up. */
void platform_blame(struct kvm_platform *p, const char *fmt, ...) __printf(2, 3);
/* As create(), but the reason goes to `why` instead of the log. */
int platform_open(struct memfile *mf, struct kvm_platform **ret, char *why, size_t why_size);
void platform_close(struct kvm_platform *p);

static inline struct kvm_platform *to_platform(struct platform *p)
{
    return container_of(p, struct kvm_platform, base);
}
static inline struct kvm_context *to_context(struct context *ctx)
{
    return container_of(ctx, struct kvm_context, base);
}
static inline struct kvm_address_space *to_address_space(struct address_space *as)
{
    return container_of(as, struct kvm_address_space, base);
}

#endif
