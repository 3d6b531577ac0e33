/*
 * What the files of the ptrace platform share.
 *
 *   Sentry process                              stub processes (no memory of the Sentry)
 *   --------------                              ----------------------------------------
 *   keeper thread  --traces-->  master          the first stub; forked for each address space
 *        |         --traces-->  leader of A     one per address space: never runs guest code
 *        |         --traces-->  leader of B
 *   task thread 1  --traces-->  member of A     threads of the leader's process: run guest code
 *   task thread 2  --traces-->  member of A
 *   task thread 3  --traces-->  member of B
 *
 * Changing an address space. as_map() and as_unmap() are host calls injected into a stub of that
 * address space, or put off until its only member runs (orders.c). The calling thread's own member
 * does it when it has one there, being stopped while its thread is in the Sentry, or its helper
 * beside it (helper.c); else the keeper makes the leader do it, which always waits for that. So no
 * change ever waits for a task thread, which might be blocked on the very lock that the caller
 * holds; and since all stubs of an address space share one host mm, the host's own TLB shootdown
 * has reached running members when the call returns.
 *
 * The keeper takes no lock but its own and calls nothing above this folder: waiting for it under
 * any lock of the Sentry is safe.
 *
 * No stub outlives the sandbox. The master is born with PDEATHSIG and seized with EXITKILL;
 * leaders are cloned with CLONE_PTRACE, so that they are traced with EXITKILL from their first
 * moment; a member is untraced until its thread comes for it (its tracer is another thread than its
 * maker's), but it waits in the stub's own page, belongs to a leader's thread group and dies with
 * it.
 *
 * The host's mappings are a cache, as a TLB is: when the host's limit of mappings is reached
 * (vm.max_map_count), a space forgets all of them and the guest faults again.
 */
#ifndef PLATFORM_PTRACE_INTERNAL_H
#define PLATFORM_PTRACE_INTERNAL_H

#include <pthread.h>
#include <sched.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "host/ptrace.h"
#include "platform/habit.h"
#include "platform/platform.h"
#include "platform/ptrace/handover.h"
#include "platform/ptrace/record.h"
#include "platform/ptrace/stub_layout.h"

/* Ignored by default, so harmless should one ever hit a thread that is no stub any more. */
#define STUB_SIGNAL SIGURG

/* How every guest mapping is made: file pages, never private copies. */
#define STUB_MAP_FLAGS (MAP_SHARED | MAP_FIXED)

#define STUB_OPTIONS   (PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)

/* One traced host thread, used by its tracer only. */
struct stub {
    pid_t tgid, tid; /* tid 0: none, or gone and reaped */
    bool as_read;    /* its registers are those that trap_load_regs() read last */
    bool apart;      /* it runs beside its tracer, which had better stay awake for it */
};

/* --- stub.c: one stub --- */

/* The executable that becomes the master: ELF header, stub.S and the seccomp filter. */
void stub_image_build(uint8_t image[STUB_SIZE]);

/* Makes the fresh master (stopped behind its execve) into a stub with nothing but its one page.
 * *ret_user_max: where the guest's range ends. */
int stub_prepare(struct stub *stub, uaddr_t *ret_user_max);

/*
 * Runs one host call in the stopped stub, with whatever registers it had lost. Returns the call's
 * result, or -ESRCH when the stub is gone (killed from outside).
 */
long stub_call(struct stub *stub, long number, const unsigned long args[6]);
/* The first `count` orders of its space, up to the first that fails: the last one's result. */
long stub_batch(struct stub *stub, unsigned int count);
/* In the stopped master: a new leader, stopped, traced by this thread. */
int stub_fork(struct stub *master, struct stub *ret_leader);
/* In the stopped leader: a new thread of it, untraced, that waits for stub_seize(). */
int stub_spawn_thread(struct stub *leader, struct stub *ret_member);
/* Makes the calling thread the tracer; the stub is stopped on return. */
int stub_seize(struct stub *stub);
/* Ends the stopped stub, as a thread or with its whole process, and reaps it. */
void stub_exit(struct stub *stub, bool process);
/* The same in two steps: other threads of the process are to be reaped in between. */
void stub_end(struct stub *stub, bool process);
void stub_reap(pid_t tid);
/* Writes registers that a guest may have had; see there for what the host refuses. */
int stub_set_regs(struct stub *stub, struct host_user_regs *regs);

/* --- keeper.c: the thread that traces master and leaders --- */

struct keeper_request {
    struct list node;
    int (*run)(void *arg);
    void *arg;
    int result;
    bool posted; /* nobody waits: run() frees the request with what it is part of */
    bool done;
    pthread_cond_t answered;
};

struct keeper {
    struct lock lock;
    pthread_cond_t wake;
    struct list requests;
    unsigned int posted; /* of them */
    bool quit, stopped;
    bool ticking; /* placement wants its tick */
    void (*tick)(void *arg);
    void *tick_arg;
};

#define KEEPER_TICK_MS 5

int keeper_start(struct keeper *k, void (*tick)(void *), void *tick_arg);
void keeper_stop(struct keeper *k);
/* Runs fn(arg) on the keeper's thread and returns its result. */
int keeper_call(struct keeper *k, int (*run)(void *), void *arg);
/*
 * Has req->run(req->arg) run on the keeper's thread some time later, in the order of the calls.
 * When many such wait already, it waits for them, so that nobody gets far ahead of the keeper.
 */
void keeper_post(struct keeper *k, struct keeper_request *req);
/* One tick within KEEPER_TICK_MS. */
void keeper_want_tick(struct keeper *k);

/* --- the three nouns --- */

struct gate {
    uint32_t inside, outside; /* atomic; threads */
    uint32_t left;            /* futex word: counts those who made room */
};

#define TURNS_MAX 8

struct ptrace_platform {
    struct platform base;
    struct gate gate;
    enum exitless_mode exitless;
    uint32_t awake;              /* atomic; contexts that do not sleep in the Sentry */
    uint32_t first_need;         /* atomic; of a context that has not listened yet */
    struct memfile_range nobody; /* the handover page of spaces that have none of their own */
    struct memfile *memfile;     /* borrowed: the runtime's, outlives the platform */
    struct keeper keeper;
    struct stub master; /* the keeper's */
    uaddr_t user_max;

    uint64_t fp_features;
    uint32_t fp_size;      /* what the guest sees of the XSAVE area */
    uint32_t fp_host_size; /* what the host's regset wants */
    uint8_t *fp_initial;   /* fp_host_size bytes: a fresh program's state */

    struct list spaces; /* the keeper's */

    cpu_set_t cpus; /* where the sandbox may run */
    bool bind;      /* more than one CPU: placement matters */
    bool confined;  /* atomic: some context may not run everywhere, and stubs inherit that */

    struct lock stubs_lock; /* guards what follows */
    struct list bound;      /* contexts that are bound to a CPU */
    unsigned int bound_count;
    struct list shells; /* spaces without a user, the last one first: shell.c */
    unsigned int shell_count;
    bool stopping;                           /* the sandbox ends */
    struct ptrace_context *turns[TURNS_MAX]; /* who listens */
    unsigned int turn_count;                 /* constant; 0: nobody ever */
};

struct ptrace_space {
    struct address_space base;
    struct ptrace_platform *p;  /* borrowed: destroyed after all spaces */
    refcount_t refs;            /* the owner's, and one per member */
    struct list node;           /* in platform.spaces; the keeper's */
    struct stub leader;         /* the keeper's */
    struct stub spare;          /* a member that was made with the leader; see space_join() */
    struct keeper_request end;  /* posted when it goes for good */
    struct list contexts;       /* those whose stub is a member; with what follows, stubs_lock */
    unsigned int context_count; /* also read without it */
    /* cputime.c: divided among them; the last look, and what part of their time it found used. */
    uint64_t cpu_seen_ns, cpu_looked_ns, cpu_share;

    const struct address_space *like; /* of which it is a twin; never followed */
    struct list idle;                 /* its members without a context; under stubs_lock */
    struct list shell_node;           /* in platform.shells; under stubs_lock */
    bool dead;                        /* atomic; its process was killed from outside */

    struct lock map_lock; /* around changes of what is mapped; guards what follows */
    struct record record;
    struct order *orders; /* what is to be done before a member runs; NULL until first needed */
    struct memfile_range orders_page;
    unsigned int order_count; /* atomic */
    unsigned int gathering;   /* callers between as_gather(true) and false */
    bool urgent;              /* atomic; an order was put off that a running program must not see */
    bool deferred;            /* atomic; the others may wait for the call after this one */
    bool retired;             /* atomic; space_sweep() is due */

    struct handover_slot *handover; /* atomic; HANDOVER_SLOTS, made at the first need; or NULL */
    struct memfile_range handover_page;
    struct ptrace_context *listeners[HANDOVER_SLOTS]; /* whose slot it is; under stubs_lock */
    uint32_t first_need;      /* atomic; as the platform's, of contexts in this space */
    uint16_t fs_buckets[256]; /* contexts by a hash of their FS base; under stubs_lock */
};

enum fp_state {
    FP_IN_STUB, /* the stub's registers are the truth, or a new stub's would be right */
    FP_SAVED,   /* `fp` is the truth, to be loaded before the stub runs */
    FP_BOTH,    /* they agree */
    FP_INITIAL, /* as after execve, to be loaded before the stub runs */
};

/* placement.c: how a context's runs went; its own thread's. */
struct placement {
    uint64_t best_bound;       /* nanoseconds of the shortest run while bound, 0: never was */
    unsigned int timed, slow;  /* loose runs since the last decision; those over twice that */
    unsigned int loose_runs;   /* to be timed until the next one */
    unsigned int stayed_loose; /* decisions against binding in a row */
    uint64_t woken_ns;         /* when its thread slept and was woken last */
    unsigned int dense_wakes;  /* in a row that came shortly after each other */
    int wanted_cpu;            /* to be bound to before the next run; negative: none */
    int bound_cpu;
    int stub_cpu; /* where the stub runs while its thread listens; negative: unknown */
};

/* helper.c: a context's, and its own thread's. */
struct helper {
    struct stub stub; /* tid 0: none yet */
    int cpu;          /* to which it is bound; negative: to none */
    bool failed;      /* there will be none in this space */
};

/* handover.c, listen.c: a context's, and its own thread's but for what is atomic. */
struct listening {
    struct handover_slot *slot; /* or NULL */
    uint64_t key;               /* the slot's while it is listened to ... */
    bool shown;                 /* ... and the program finds it there */
    bool listening;
    bool inside;            /* the program waits there for the answer to what was reported last */
    struct cpu_regs posted; /* its registers then */
    struct cpu_regs answer; /* and those behind the last call that was answered there */
    bool has_turn;          /* atomic */
    uint64_t away_since_ns; /* atomic; in the Sentry since then; 0: it runs */
    uint64_t counted_fs;    /* in space.fs_buckets */
    struct habit habit;
    uint64_t alone_ns; /* when no more were awake than could be listened to */
    bool awake;        /* counted in platform.awake */
};

struct ptrace_context {
    struct context base;
    struct ptrace_platform *p;
    struct ptrace_space *space; /* where `stub` is; a reference */
    struct stub stub;           /* tid 0: none yet */
    pid_t tracer;               /* the host thread that this context belongs to */

    struct host_user_regs user;    /* as last read: selectors and bases are kept here */
    uaddr_t doubt_rip, doubt_addr; /* trap.c: a fault of which the kind is in doubt */
    unsigned int doubt_count;

    enum fp_state fp_state;
    uint8_t *fp; /* fp_host_size bytes, or NULL */

    uint64_t guest_ns;     /* from resumes to stops, in all */
    uint64_t run_start_ns; /* of the run that goes on; 0: none */
    /* Of guest_ns: what cpu_ns covers, and an intermediate result; under stubs_lock. */
    uint64_t run_seen_ns, run_now_ns;
    uint64_t cpu_ns;       /* under stubs_lock: the stub's processor time so far */
    bool interrupted;      /* wanted by ctx_interrupt(), not yet reported */
    bool running;          /* in the guest, or about to be */
    struct lock stub_lock; /* stub.tid changes only under it, so that a kick cannot stray */

    struct list member_node; /* in space.contexts, or alone */
    struct list bound_node;  /* in platform.bound, or alone */
    bool bound;
    struct placement placement;
    struct listening handover;
    struct helper helper;
    cpu_set_t cpus; /* where it may run */
    int nice;
};

static inline struct ptrace_platform *ptrace_platform(struct platform *p)
{
    return container_of(p, struct ptrace_platform, base);
}

static inline struct ptrace_space *ptrace_space(struct address_space *as)
{
    return container_of(as, struct ptrace_space, base);
}

static inline struct ptrace_context *ptrace_context(struct context *ctx)
{
    return container_of(ctx, struct ptrace_context, base);
}

/* --- space.c --- */

int space_create(struct platform *p, struct address_space *like, struct address_space **ret);
void space_recall(struct address_space *as, platform_recall_fn keep, void *arg);
/* What was put off is done, before the caller's member runs. 0, -ESRCH. */
int space_carry_out(struct ptrace_space *s);
/* Before a member runs: the caller's. 0, -ESRCH. */
int space_sweep(struct ptrace_space *s);
/* Before the caller's context leaves it, as it ends. */
void space_drain(struct ptrace_space *s);
/* On the keeper: the end of a space without references. */
int space_end(void *space);
void space_destroy(struct address_space *as);
int space_map(struct address_space *as, uaddr_t addr, int prot, struct memfile_range range);
int space_unmap(struct address_space *as, uaddr_t addr, uint64_t size);
void space_gather(struct address_space *as, bool on);
void space_settle(struct address_space *as);
void space_defer(struct address_space *as);
/* Was that said since it was asked last? */
bool space_is_deferred(struct ptrace_space *s);
/* A stopped member traced by the calling thread, holding a reference on the space. *ret_used: some
 * context ran in it before. */
int space_join(struct ptrace_space *s, struct stub *ret_member, bool *ret_used);
/* Another one for the caller, who holds a reference already. */
int space_helper(struct ptrace_space *s, struct stub *ret_member);
/* Gives a stopped member (or none, tid 0) up, and its reference back. */
void space_leave(struct ptrace_space *s, struct stub *member);

/* --- orders.c: host calls in a space, at once or in a batch; with map_lock held --- */

struct order {
    uint64_t number, addr, size, prot, flags, offset;
};

/* 0; -ENOMEM, from it or from those before it. */
int orders_map(struct ptrace_space *s, uaddr_t addr, int prot, unsigned long flags,
               struct memfile_range range);
int orders_unmap(struct ptrace_space *s, uaddr_t addr, uint64_t size);
/* Before a member runs: all that has been put off is done. */
int orders_carry_out(struct ptrace_space *s);
/* Everything below user_max is unmapped, at once. */
int orders_unmap_all(struct ptrace_space *s);
void orders_free(struct ptrace_space *s);
static inline bool orders_wait(struct ptrace_space *s)
{
    return __atomic_load_n(&s->order_count, __ATOMIC_ACQUIRE) != 0;
}

/* --- shell.c: what is kept warm --- */

/* The calling thread's stopped member stays with it. False: it does not, and is to be ended. */
bool idle_keep(struct ptrace_space *s, const struct stub *member);
/* The calling thread's idle member of a space; from then on it is a context's. */
bool idle_take(struct ptrace_space *s, struct stub *ret_member);
/* The same, which stays idle: to be used for a call. NULL: it has none. */
struct stub *idle_own_member(struct ptrace_space *s);
/* With stubs_lock held, of a space of which the process ends: reaps them. */
void idle_reap_locked(struct ptrace_space *s);
pid_t space_thread(struct address_space *as);
/* A space that may be used again, or NULL. *ret_dead: one that is found dead and must end. */
struct ptrace_space *shell_take(struct ptrace_platform *p, const struct address_space *like,
                                struct ptrace_space **ret_dead);
/* Keeps a space without references; returns one that must end for it (itself, perhaps), or NULL. */
struct ptrace_space *shell_put(struct ptrace_space *s);
/* Takes one out, whichever, for its end; NULL: there are none. */
struct ptrace_space *shell_any(struct ptrace_platform *p);

/* --- context.c --- */

int context_create(struct platform *p, struct context **ret);
void context_destroy(struct context *ctx);
enum trap context_switch(struct context *ctx, struct address_space *as, struct trap_info *ret_info);
void context_interrupt(struct context *ctx);
void context_get_bases(struct context *ctx, uint64_t *ret_fs, uint64_t *ret_gs);
int context_set_bases(struct context *ctx, uint64_t fs, uint64_t gs);
/* The calling thread's member in this space, or NULL. It is stopped. */
struct stub *context_own_member(struct ptrace_space *s);
/* The calling thread's context, if it is in this space, whatever its stub does. */
struct ptrace_context *context_own(struct ptrace_space *s);

/* The stub has ended and is reaped: the context has none any more. */
void context_lost(struct ptrace_context *ctx);

/* --- helper.c: host calls beside the program; by the context's own thread --- */

/* While it listens: its helper, stopped. NULL: it has none. */
struct stub *helper_get(struct ptrace_context *ctx);
/* Before the context leaves its space. */
void helper_release(struct ptrace_context *ctx);
/* The same where the space's process is dead: it is reaped. */
void helper_end(struct ptrace_context *ctx);

/* --- handover.c: calls without a stop; by the context's own thread --- */

/* The stopped stub's context gets a slot in its space, at which the program finds a listener. */
int handover_open(struct ptrace_context *ctx);
/* Nobody listens any more. The slot stays, since the program may be on its way there. */
void handover_hush(struct ptrace_context *ctx);
/* At a stop: a slot that nobody listens at is given back. */
void handover_settle(struct ptrace_context *ctx);
/* Before the context leaves its space: all of it ends, and the stub is stopped. */
void handover_close(struct ptrace_context *ctx);
/* Is there a call? Then ctx->base.regs are those of the program behind its SYSCALL. */
bool handover_take(struct ptrace_context *ctx);
/* ... and once it is served, and only rax differs, the program goes on. False: it must be stopped.
 */
bool handover_answer(struct ptrace_context *ctx);
/* It will take longer, since the caller sleeps first. */
void handover_sleeps(struct ptrace_context *ctx);
/* A stub at a call of its own: one that had waited for too long, and has its answer by now? */
bool handover_was_parked(struct ptrace_context *ctx);
/*
 * While the program waits inside its stub runs. Before anything is asked of the stub: it is
 * stopped; its registers do not matter. -ESRCH: it is gone.
 */
int handover_stop(struct ptrace_context *ctx);
/* A program that was stopped in the stub's code is told to have been elsewhere. */
void handover_undo_here(struct ptrace_context *ctx);
/* Of a space that gets another user, and of one that ends. */
void handover_clear(struct ptrace_space *s);
void handover_free(struct ptrace_space *s);

/* --- listen.c: when --- */

enum heard {
    HEARD_CALL,    /* ctx->base.regs are its registers */
    HEARD_STOP,    /* with *ret_status */
    HEARD_DEATH,   /* the stub is gone, and reaped */
    HEARD_NOTHING, /* for now */
};

/* The stopped stub is about to go on: shall its thread listen? */
void listen_begin(struct ptrace_context *ctx);
/* For whatever the running stub does next. */
enum heard listen_wait(struct ptrace_context *ctx, int *ret_status);
void listen_release(struct ptrace_context *ctx);
bool listen_may_go_on(const struct ptrace_context *ctx);
/* In the Sentry, before an answer: does it have its turn, or get it (back)? */
bool listen_resume(struct ptrace_context *ctx);
/* It waits in the Sentry: its turn is anybody's. */
void context_sleeps(struct context *base);
/* It is stopped behind a call that was handed over: that was dearer than a stop. */
void listen_recalled(struct ptrace_context *ctx);
/* It runs, or is about to. */
void listen_awake(struct ptrace_context *ctx);
/* With stubs_lock held. */
void listen_joined_locked(struct ptrace_context *ctx);
void listen_left_locked(struct ptrace_context *ctx);
bool listen_is_doubled(const struct ptrace_context *ctx);
/* ctx->user.fs_base may be another one. */
void listen_fs_changed(struct ptrace_context *ctx);

/* --- gate.c: around the time in which a stub runs --- */

void gate_enter(struct gate *g);
void gate_leave(struct gate *g);

/* --- cputime.c --- */

uint64_t context_cpu_ns(struct context *base);
/* Before a context leaves its space: with stubs_lock held. */
void cputime_settle_locked(struct ptrace_context *ctx);

/* --- trap.c: from a stop to a trap --- */

enum stop {
    STOP_TRAP,     /* *ret_trap says which; ctx->base.regs are current */
    STOP_SPURIOUS, /* nothing for the guest: a kick, a signal from outside, a group stop */
    STOP_DEAD,     /* the stub is gone */
};

enum stop trap_decode(struct ptrace_context *ctx, int status, enum trap *ret_trap,
                      struct trap_info *ret_info);
/* Reads the stub's registers into ctx->user and ctx->base.regs. */
int trap_load_regs(struct ptrace_context *ctx);

/* --- fp.c --- */

/* On the keeper, with the master: sizes and features. -EOPNOTSUPP without XSAVE. */
int fp_setup(struct ptrace_platform *p);
uint32_t fp_area_size(struct platform *p);
uint64_t fp_area_features(struct platform *p);
int context_get_fp(struct context *ctx, void *buf, uint32_t size);
int context_set_fp(struct context *ctx, const void *buf, uint32_t size);
void context_reset_fp(struct context *ctx);
/* Into the stopped stub, when it is not there yet. */
int fp_load(struct ptrace_context *ctx);
/* Makes ctx->fp current. */
int fp_fetch(struct ptrace_context *ctx);
/* Out of the stub before it goes: for a context that moves to another one. */
void fp_detach(struct ptrace_context *ctx);

/* --- placement.c --- */

void placement_init(struct placement *pl);
/* That host thread may run there only. */
int placement_set(pid_t tid, int cpu);
/* The calling thread's context is about to resume its stub, and has come back after that time. */
void placement_before_run(struct ptrace_context *ctx);
void placement_after_run(struct ptrace_context *ctx, uint64_t ns);
/* Tracer and stub shall run side by side; and together again, where the running stub is. */
void placement_part(struct ptrace_context *ctx);
void placement_join(struct ptrace_context *ctx);
/* The calling thread stays where it is for a while. Returns where; negative: nobody knows. */
int placement_stay(struct ptrace_context *ctx);
/* Before the context's stub goes, with stubs_lock held. */
void placement_forget_locked(struct ptrace_context *ctx);
/* The keeper's tick. */
void placement_tick(void *arg);
void context_woken(struct context *base, int cpu, bool apart);
void context_set_cpus(struct context *ctx, const uint64_t *mask, size_t size);
void context_set_nice(struct context *ctx, int nice);

/* --- probe.c --- */

/* platform.c: create(), telling which step failed instead of logging it. */
int platform_create_stubs(struct memfile *mf, struct platform **ret, const char **ret_step);
void ptrace_probe(struct platform_report *ret_report);
/* platform.c: create_measured(), but for the Landlock domain. */
struct platform *ptrace_measure(struct memfile *mf, struct platform_report *ret_report);

#endif
