/*
 * What a signal finds when it arrives between a program's call site and the Sentry: the stub's code
 * is executed instruction by instruction, and behind each one the registers must be told as they
 * are right before the call, or right behind it.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/ptrace/internal.h"
#include "platform/regs.h"
#include "tests/platform/harness.h"

#define NUMBER    0x123UL
#define RETURN    0x1234567UL
#define FS_BASE   0x7654000UL
#define RESULT    0x4711UL
#define STEPS_MAX 20000
#define FLAGS     0xcd5UL /* OF DF SF ZF AF PF CF */

enum way {
    WAY_NOBODY,    /* listens */
    WAY_WITHDRAWN, /* the call, since nobody takes it */
    WAY_ANSWERED,
};

static struct handover_slot *slots;

/* A process with the stub's two pages and nothing to do: it stops. */
static pid_t start_child(void)
{
    pid_t pid = fork();
    uint8_t *page;

    if (pid != 0)
        return pid;
    page = mmap((void *)STUB_BASE, STUB_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page != (void *)STUB_BASE ||
        mremap(slots, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)STUB_HANDOVER) !=
            (void *)STUB_HANDOVER)
        _exit(1);
    stub_image_build(page);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    _exit(2);
}

static bool check_undone(const struct host_user_regs *begin, struct cpu_regs *r, uint32_t at,
                         bool answered)
{
    CHECK(r->rip == (answered ? RETURN : RETURN - 2), "at %#x: rip %#lx", at,
          (unsigned long)r->rip);
    CHECK(r->rax == (answered ? RESULT : NUMBER), "at %#x: rax %#lx", at, (unsigned long)r->rax);
    CHECK(r->rbx == begin->rbx && r->rdx == begin->rdx && r->rsi == begin->rsi &&
              r->rdi == begin->rdi && r->rbp == begin->rbp && r->rsp == begin->rsp,
          "at %#x: a register, or rsp %#lx", at, (unsigned long)r->rsp);
    CHECK(r->r8 == begin->r8 && r->r9 == begin->r9 && r->r10 == begin->r10 &&
              r->r12 == begin->r12 && r->r13 == begin->r13 && r->r14 == begin->r14 &&
              r->r15 == begin->r15,
          "at %#x: a register", at);
    CHECK((r->rflags & FLAGS) == (begin->eflags & FLAGS), "at %#x: flags %#lx for %#lx", at,
          (unsigned long)r->rflags, (unsigned long)begin->eflags);
    return true;
}

/* Looks at the place without disturbing what goes on there. */
static bool check_at(const struct host_user_regs *begin, const struct host_user_regs *now,
                     enum way way, bool answered)
{
    struct handover_slot *slot = way == WAY_NOBODY ? NULL : &slots[3], before = slots[3];
    uint32_t at = (uint32_t)(now->rip - STUB_BASE);
    struct cpu_regs regs;
    bool good;

    REGS_COPY(&regs, now);
    regs.rflags = now->eflags;
    handover_undo(slot, at, &regs);
    good = check_undone(begin, &regs, at, answered);
    slots[3] = before;
    return good;
}

static bool walk(pid_t pid, enum way way, uint64_t flags)
{
    struct host_user_regs begin, now;
    bool answered = false;
    int status, looked = 0;

    memset(slots, 0, PAGE_SIZE);
    for (int i = 0; i < HANDOVER_SLOTS; i++)
        slots[i].key = HANDOVER_NOBODY;
    if (way != WAY_NOBODY)
        slots[3].key = FS_BASE;
    CHECK(host_ptrace_get_regs(pid, &begin) == 0, "get");
    for (uint64_t *r = &begin.r15; r <= &begin.rdi; r++)
        *r = 0x1111111111111111UL * (uint64_t)(r - &begin.r15);
    begin.rax = NUMBER << 16 | 0xaa55;
    begin.rcx = RETURN;
    begin.rsp = 0x1234UL;
    begin.orig_rax = -1UL;
    begin.fs_base = FS_BASE;
    begin.eflags = RFLAGS_FIXED | flags;
    begin.rip = STUB_BASE + STUB_ENTER;
    CHECK(host_ptrace_set_regs(pid, &begin) == 0, "set");
    now = begin;
    for (int i = 0; i < STEPS_MAX; i++) {
        if (!check_at(&begin, &now, way, answered))
            return false;
        looked += way == WAY_ANSWERED && now.rip - STUB_BASE == stub_points.posted;
        if (looked && !answered && slots[3].state == HANDOVER_POSTED) {
            slots[3].rax = RESULT;
            slots[3].state = HANDOVER_ANSWERED;
            answered = true;
        }
        CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid &&
                  WIFSTOPPED(status) && host_ptrace_get_regs(pid, &now) == 0,
              "step");
        if (now.rip - STUB_BASE >= (uint64_t)STUB_SIZE)
            break;
    }
    CHECK(now.rip == (answered ? RETURN : RETURN - 2), "it ends at %#lx", (unsigned long)now.rip);
    CHECK(now.rax == (answered ? RESULT : NUMBER) && now.rsp == begin.rsp &&
              (now.eflags & FLAGS) == (begin.eflags & FLAGS),
          "rax %#lx, rsp %#lx, flags %#lx for %#lx", (unsigned long)now.rax, (unsigned long)now.rsp,
          (unsigned long)now.eflags, (unsigned long)begin.eflags);
    return true;
}

int main(void)
{
    static const uint64_t flags[] = {0, FLAGS, 0x800, 0x1, 0x884, 0x450};
    static const char *const names[] = {"nobody", "withdrawn", "answered"};
    int status, failed = 0;
    pid_t pid;

    slots = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED)
        return 1;
    pid = start_child();
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return 1;
    for (int way = WAY_NOBODY; way <= WAY_ANSWERED; way++) {
        for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
            /* Looking for an answer in vain takes a thousand rounds: once is enough. */
            bool good = (way == WAY_WITHDRAWN && i > 1) || walk(pid, (enum way)way, flags[i]);

            printf("%s %s, flags %#lx\n", good ? "ok" : "FAILED", names[way],
                   (unsigned long)flags[i]);
            failed += !good;
        }
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return failed != 0;
}
