/*
 * Address spaces: the host mm that a leader and its members share. internal.h tells who changes
 * the mappings, and why nobody ever waits for a task thread.
 *
 * A space ends with its last reference, not with as_destroy(): after execve the task's context
 * still has its member in the old space until it next runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "platform/ptrace/internal.h"

struct space_job {
    struct ptrace_space *space;
    struct stub *member;
    long number;
    const unsigned long *args;
};

static int job_create(void *arg)
{
    struct space_job *job = arg;
    struct ptrace_platform *p = job->space->p;
    int err = stub_fork(&p->master, &job->space->leader);

    if (err < 0)
        return err;
    list_add(&p->spaces, &job->space->node);
    /* Without one, whoever joins first asks again. */
    if (stub_spawn_thread(&job->space->leader, &job->space->spare) < 0)
        job->space->spare.tid = 0;
    return 0;
}

/* A spare that nobody took is untraced: it goes with the process, and is not to be reaped. */
static int job_destroy(void *arg)
{
    struct ptrace_space *s = arg;

    list_del_init(&s->node);
    stub_exit(&s->leader, true);
    free(s);
    return 0;
}

static int job_spawn(void *arg)
{
    struct space_job *job = arg;

    return stub_spawn_thread(&job->space->leader, job->member);
}

static int job_call(void *arg)
{
    struct space_job *job = arg;
    long result = stub_call(&job->space->leader, job->number, job->args);

    return result < 0 ? (int)result : 0;
}

static int on_keeper(struct ptrace_space *s, int (*run)(void *), struct space_job *job)
{
    job->space = s;
    return keeper_call(&s->p->keeper, run, job);
}

int space_create(struct platform *p, struct address_space *like, struct address_space **ret)
{
    struct ptrace_space *s = calloc(1, sizeof(*s));
    struct space_job job = {0};
    int err;

    if (!s)
        return -ENOMEM;
    s->base.ops = p->ops;
    s->p = ptrace_platform(p);
    refcount_set(&s->refs, 1);
    err = on_keeper(s, job_create, &job);
    if (err < 0) {
        log_error("ptrace: no new stub process: error %d", -err);
        free(s);
        return err == -ESRCH ? -EAGAIN : err;
    }
    *ret = &s->base;
    return 0;
}

static void space_unref(struct ptrace_space *s)
{
    if (!refcount_put(&s->refs))
        return;
    s->end = (struct keeper_request){.run = job_destroy, .arg = s};
    keeper_post(&s->p->keeper, &s->end);
}

void space_destroy(struct address_space *as)
{
    space_unref(ptrace_space(as));
}

/* One host call in the space, from whichever stub is at hand: 0 or -errno. */
static int space_call(struct ptrace_space *s, long number, const unsigned long args[6])
{
    struct stub *own = context_own_member(s);
    struct space_job job = {.number = number, .args = args};
    long result;

    if (!own)
        return on_keeper(s, job_call, &job);
    result = stub_call(own, number, args);
    return result < 0 ? (int)result : 0;
}

static int unmap_all(struct ptrace_space *s)
{
    unsigned long args[6] = {0, s->p->user_max};

    log_debug("ptrace: the host's limit of mappings is reached, all are dropped");
    return space_call(s, SYS_munmap, args);
}

static bool range_is_valid(const struct ptrace_space *s, uaddr_t addr, uint64_t size)
{
    return size && is_aligned(addr, PAGE_SIZE) && is_aligned(size, PAGE_SIZE) &&
           size <= s->p->user_max && addr <= s->p->user_max - size;
}

int space_map(struct address_space *as, uaddr_t addr, int prot, struct memfile_range range)
{
    struct ptrace_space *s = ptrace_space(as);
    unsigned long args[6] = {addr,           range.size,        (unsigned long)prot | PROT_READ,
                             STUB_MAP_FLAGS, HOST_STUB_KEPT_FD, range.start};
    int err;

    BUG_ON(!range_is_valid(s, addr, range.size));
    if (prot == PROT_NONE)
        return space_unmap(as, addr, range.size);
    err = space_call(s, SYS_mmap, args);
    if (err == -ENOMEM) {
        err = unmap_all(s);
        if (err == 0)
            err = space_call(s, SYS_mmap, args);
    }
    /* A space whose stubs were killed has no mappings; its contexts will find out. */
    return err == -ESRCH ? 0 : err;
}

int space_unmap(struct address_space *as, uaddr_t addr, uint64_t size)
{
    struct ptrace_space *s = ptrace_space(as);
    unsigned long args[6] = {addr, size};
    int err;

    BUG_ON(!range_is_valid(s, addr, size));
    err = space_call(s, SYS_munmap, args);
    if (err == -ENOMEM) /* it would have split a mapping in two */
        err = unmap_all(s);
    return err == -ESRCH ? 0 : err;
}

/*
 * Most spaces have one member, and the keeper had the leader make it in the same round trip as the
 * leader itself; whoever comes first takes it.
 */
int space_join(struct ptrace_space *s, struct stub *ret_member)
{
    struct stub member = {.tgid = s->spare.tgid};
    struct space_job job = {.member = &member};
    int err = 0;

    member.tid = __atomic_exchange_n(&s->spare.tid, 0, __ATOMIC_ACQ_REL);
    if (!member.tid)
        err = on_keeper(s, job_spawn, &job);
    if (err == 0)
        err = stub_seize(&member);
    if (err < 0) {
        if (!__atomic_load_n(&s->p->stopping, __ATOMIC_ACQUIRE))
            log_error("ptrace: no new stub thread: error %d", -err);
        return err;
    }
    refcount_get(&s->refs);
    *ret_member = member;
    return 0;
}

void space_leave(struct ptrace_space *s, struct stub *member)
{
    stub_exit(member, false);
    space_unref(s);
}
