/*
 * The ptrace platform as a whole: its start, its end, what it needs of the jail, its table.
 */
#include <asm/hwcap2.h>
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "host/jail.h"
#include "host/landlock.h"
#include "host/thread.h"
#include "platform/ptrace/internal.h"
#include "platform/ptrace/ptrace.h"

/* mmap_min_addr of nearly all hosts. */
#define USER_MIN 65536

struct start_job {
    struct ptrace_platform *p;
    const char *step;
};

/* What every new space shows in place of an handover page of its own. */
static int map_nobody(struct ptrace_platform *p)
{
    struct handover_slot *slots;
    int err = memfile_alloc(p->memfile, PAGE_SIZE, PAGE_SIZE, &p->nobody);

    if (err < 0)
        return err;
    slots = memfile_ptr(p->memfile, p->nobody.start);
    for (int i = 0; i < HANDOVER_SLOTS; i++)
        slots[i].key = HANDOVER_NOBODY;
    return (int)MIN(
        stub_call(&p->master, SYS_mmap,
                  (unsigned long[6]){STUB_HANDOVER, PAGE_SIZE, PROT_READ, STUB_MAP_FLAGS,
                                     HOST_STUB_KEPT_FD, p->nobody.start}),
        0L);
}

/* On the keeper, which thereby becomes parent and tracer of all. */
static int start_master(void *arg)
{
    struct start_job *job = arg;
    struct ptrace_platform *p = job->p;
    uint8_t image[STUB_SIZE];
    pid_t pid;
    int err;

    /* The keeper is older than the jail, and a thread sheds its capabilities by itself. */
    job->step = "dropping privileges";
    err = jail_drop_privileges();
    if (err < 0)
        return err;
    stub_image_build(image);
    err = host_spawn_stub(image, sizeof(image), memfile_fd(p->memfile), STUB_OPTIONS, &pid,
                          &job->step);
    if (err < 0)
        return err;
    p->master.tid = p->master.tgid = pid;
    job->step = "emptying the stub";
    err = stub_prepare(&p->master, &p->user_max);
    if (err < 0)
        return err;
    job->step = "its handover page";
    err = map_nobody(p);
    if (err < 0)
        return err;
    job->step = "reading the extended state";
    return fp_setup(p);
}

static int stop_master(void *arg)
{
    struct ptrace_platform *p = arg;

    stub_exit(&p->master, true);
    return 0;
}

static int create_stubs(struct ptrace_platform *p, const char **ret_step)
{
    struct start_job job = {.p = p, .step = "starting a thread"};
    int err = keeper_start(&p->keeper, placement_tick, p);

    if (err == 0) {
        err = keeper_call(&p->keeper, start_master, &job);
        if (err < 0) {
            keeper_call(&p->keeper, stop_master, p);
            keeper_stop(&p->keeper);
        }
    }
    *ret_step = job.step;
    return err;
}

int platform_create_stubs(struct memfile *mf, struct platform **ret, const char **ret_step)
{
    struct ptrace_platform *p = calloc(1, sizeof(*p));
    int err;

    *ret_step = "memory";
    if (!p)
        return -ENOMEM;
    p->base.ops = &ptrace_platform_ops;
    p->memfile = mf;
    lock_init(&p->stubs_lock);
    list_init(&p->spaces);
    list_init(&p->bound);
    list_init(&p->shells);
    if (host_get_affinity(&p->cpus, sizeof(p->cpus)) > 0)
        p->bind = CPU_COUNT(&p->cpus) > 1;
    if (p->bind && (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
        p->turn_count = (unsigned int)MIN(CPU_COUNT(&p->cpus) / 2, TURNS_MAX);
    err = create_stubs(p, ret_step);
    if (err < 0) {
        free(p->fp_initial);
        free(p);
        return err;
    }
    *ret = &p->base;
    return 0;
}

/*
 * The jail must let the Sentry trace, and no seccomp rule can tell a stub from another process of
 * the same user. Landlock can: this thread, which starts all others, and the stubs get a domain of
 * their own, out of which nothing can be traced.
 */
static void enclose(void)
{
    static _Thread_local bool enclosed;
    int err;

    if (enclosed)
        return;
    err = host_landlock_enclose();
    enclosed = err == 0;
    if (err < 0)
        log_info("ptrace: no Landlock domain (%s): tracing is confined by the host's pid "
                 "namespace and Yama only",
                 strerror(-err));
}

static struct platform *create_measured(struct memfile *mf, struct platform_report *ret_report)
{
    enclose();
    return ptrace_measure(mf, ret_report);
}

static int platform_create(struct memfile *mf, struct platform **ret)
{
    const char *step;
    int err;

    enclose();
    err = platform_create_stubs(mf, ret, &step);

    if (err < 0)
        log_error("ptrace: %s failed: %s", step, strerror(-err));
    return err;
}

/*
 * A leader can be reaped only after its members, whose tracers may be anywhere in the Sentry: any
 * thread may do it for them. Whoever wants to use its stub from now on finds it gone.
 */
static int stop_all(void *arg)
{
    struct ptrace_platform *p = arg;
    struct ptrace_space *s;
    struct ptrace_context *ctx;
    pid_t tid;

    lock_acquire(&p->stubs_lock);
    __atomic_store_n(&p->stopping, true, __ATOMIC_RELEASE);
    list_for_each (s, &p->spaces, node) {
        if (s->leader.tid)
            stub_end(&s->leader, true);
    }
    list_for_each (s, &p->spaces, node) {
        list_for_each (ctx, &s->contexts, member_node) {
            if (ctx->stub.tid)
                stub_reap(ctx->stub.tid);
            tid = __atomic_load_n(&ctx->helper.stub.tid, __ATOMIC_RELAXED);
            if (tid)
                stub_reap(tid);
        }
        idle_reap_locked(s);
    }
    lock_release(&p->stubs_lock);
    list_for_each (s, &p->spaces, node) {
        if (s->leader.tid)
            stub_reap(s->leader.tid);
        s->leader.tid = 0;
    }
    return stop_master(p);
}

static void platform_stop(struct platform *base)
{
    struct ptrace_platform *p = ptrace_platform(base);

    keeper_call(&p->keeper, stop_all, p);
}

static int end_shells(void *arg)
{
    struct ptrace_platform *p = arg;
    struct ptrace_space *s;

    while ((s = shell_any(p)))
        space_end(s);
    return 0;
}

static void platform_destroy(struct platform *base)
{
    struct ptrace_platform *p = ptrace_platform(base);

    keeper_call(&p->keeper, end_shells, p);
    keeper_call(&p->keeper, stop_master, p);
    keeper_stop(&p->keeper);
    lock_destroy(&p->stubs_lock);
    free(p->fp_initial);
    free(p);
}

static void platform_jail(struct platform *p, struct jail_request *req)
{
    req->roles |= JAIL_PTRACE;
}

static void platform_limits(struct platform *p, struct platform_limits *ret_limits)
{
    unsigned eax, ebx, ecx, edx = 0;

    ret_limits->user_min = USER_MIN;
    ret_limits->user_max = ptrace_platform(p)->user_max;
    __get_cpuid(1, &eax, &ebx, &ecx, &edx);
    ret_limits->hwcap = edx;
    ret_limits->hwcap2 = getauxval(AT_HWCAP2);
    ret_limits->tsc_is_hosts = true;
    ret_limits->maps_cheaply = true; /* orders.c; a fault is a stop */
    if (ptrace_platform(p)->turn_count)
        ret_limits->call_entry = STUB_BASE + STUB_ENTER;
}

static void set_exitless(struct platform *base, enum exitless_mode mode)
{
    struct ptrace_platform *p = ptrace_platform(base);

    p->exitless = mode;
    if (mode == EXITLESS_NEVER)
        p->turn_count = 0;
}

/* Every call reaches the Sentry. */
static struct fastpath_page *no_fastpath(struct context *ctx)
{
    return NULL;
}

const struct platform_ops ptrace_platform_ops = {
    .name = "ptrace",
    .threads_reusable = true,
    .probe = ptrace_probe,
    .create_measured = create_measured,
    .create = platform_create,
    .destroy = platform_destroy,
    .stop = platform_stop,
    .jail = platform_jail,
    .limits = platform_limits,
    .set_exitless = set_exitless,
    .as_create = space_create,
    .as_destroy = space_destroy,
    .as_gather = space_gather,
    .as_settle = space_settle,
    .as_defer = space_defer,
    .as_recall = space_recall,
    .as_thread = space_thread,
    .as_map = space_map,
    .as_unmap = space_unmap,
    .ctx_create = context_create,
    .ctx_destroy = context_destroy,
    .ctx_switch = context_switch,
    .ctx_interrupt = context_interrupt,
    .fp_size = fp_area_size,
    .fp_features = fp_area_features,
    .ctx_get_fp = context_get_fp,
    .ctx_set_fp = context_set_fp,
    .ctx_reset_fp = context_reset_fp,
    .ctx_get_bases = context_get_bases,
    .ctx_set_bases = context_set_bases,
    .ctx_cpu_ns = context_cpu_ns,
    .ctx_set_cpus = context_set_cpus,
    .ctx_set_nice = context_set_nice,
    .ctx_woken = context_woken,
    .ctx_sleeps = context_sleeps,
    .ctx_fastpath = no_fastpath,
};
