/*
 * What a hostile program can do to pages and code that a platform puts above the programs' half of
 * the address space, of which it may read or write some: scribble over the page through which a
 * thread hands its calls over, post calls for a thread that computes, enter the code in the middle.
 * All of that ends in its own death or in nothing; its neighbour never notices. Natively nothing is
 * there.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define PAGES      0xfffffe8000000000UL /* ring0/layout.h */
#define PAGE_COUNT 3
#define AREAS      0xffffff0000100000UL
#define AREA_SIZE  0x4000UL
#define WORDS      32
#define ROUNDS     6

static sigjmp_buf back;
static volatile uint64_t *scratch;

static void on_fault(int signo)
{
    siglongjmp(back, signo);
}

static void catch_faults(void)
{
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER | SA_ONSTACK};
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};

    sigaltstack(&alternate, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGTRAP, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005UL + 1442695040888963407UL;
    return *state >> 17;
}

/* Numbers of calls that harm nobody but the caller. */
static uint64_t some_call(uint64_t *state)
{
    static const uint16_t calls[] = {SYS_getpid, SYS_read,      SYS_mmap,         SYS_munmap,
                                     SYS_futex,  SYS_nanosleep, SYS_rt_sigreturn, SYS_mprotect,
                                     SYS_brk,    SYS_exit,      SYS_sched_yield,  500};

    return calls[next_random(state) % ARRAY_COUNT(calls)];
}

/* ---- a thread of the same process that writes where calls are handed over -------------------- */

struct scribbler {
    uint64_t seed;
    bool sane; /* posts whole calls; else anything anywhere */
};

static void scribble(volatile uint64_t *page, struct scribbler *s)
{
    if (s->sane) {
        page[1] = some_call(&s->seed);
        page[0] = 1;
        return;
    }
    page[next_random(&s->seed) % WORDS] =
        next_random(&s->seed) % 4 == 0 ? next_random(&s->seed) << 20 : next_random(&s->seed) % 4;
}

static void *scribbler_main(void *arg)
{
    struct scribbler *s = arg;

    for (;;) {
        volatile uint64_t *page =
            (volatile uint64_t *)(PAGES + next_random(&s->seed) % PAGE_COUNT * 4096);

        if (sigsetjmp(back, 0) == 0)
            scribble(page, s);
        else
            sched_yield();
    }
    return NULL;
}

static void call_for_ever(void)
{
    for (uint64_t i = 0;; i++) {
        syscall(500);
        syscall(SYS_getppid);
        if (i % 64 == 0) {
            void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

            if (p != MAP_FAILED) {
                *(volatile char *)p = 1;
                munmap(p, 65536);
            }
        }
    }
}

static void hostile_threads(unsigned int round)
{
    struct scribbler s = {.seed = 77 + round, .sane = round % 2};
    pthread_t thread;

    catch_faults();
    if (pthread_create(&thread, NULL, scribbler_main, &s) != 0)
        _exit(1);
    call_for_ever();
}

/* ---- into the middle of the code --------------------------------------------------------------
 */

static void jump(uint64_t target, uint64_t rax, uint64_t rcx, uint64_t r11)
{
    register uint64_t r11_value __asm__("r11") = r11;

    __asm__ volatile("subq $256, %%rsp\n\t" /* the red zone, and what the code may do to rsp */
                     "call *%%rdx\n\t"
                     "addq $256, %%rsp"
                     : "+a"(rax), "+c"(rcx), "+r"(r11_value)
                     : "d"(target)
                     : "memory", "cc", "r8", "r9", "r10");
}

static void hostile_jumps(unsigned int round)
{
    static uint64_t seed;

    seed = 4711 + round;
    catch_faults();
    for (;;) {
        const uint64_t places[] = {PAGES, (uint64_t)scratch, next_random(&seed), 0};
        uint64_t target = AREAS + next_random(&seed) % 2 * AREA_SIZE + next_random(&seed) % 0x700;

        for (int i = 0; i < 16; i++)
            syscall(500);
        if (sigsetjmp(back, 0) == 0)
            jump(target, some_call(&seed), places[next_random(&seed) % 4],
                 places[next_random(&seed) % 4]);
    }
}

/* ---- the neighbour ----------------------------------------------------------------------------
 */

static bool neighbour_is_well(void)
{
    unsigned char sent[64], got[64];
    int pipes[2];
    bool well = pipe(pipes) == 0;

    for (unsigned int i = 0; i < 200 && well; i++) {
        memset(sent, (int)i, sizeof(sent));
        memset(got, 0, sizeof(got));
        well = write(pipes[1], sent, sizeof(sent)) == sizeof(sent) &&
               read(pipes[0], got, sizeof(got)) == sizeof(got) &&
               memcmp(sent, got, sizeof(got)) == 0 && syscall(500) == -1 && errno == ENOSYS;
    }
    close(pipes[0]);
    close(pipes[1]);
    return well;
}

/* Lives for a while beside us, then is killed, if it still can be. */
static void endure(void (*hostile)(unsigned int), unsigned int round)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        hostile(round);
        _exit(0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(neighbour_is_well());
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
}

int main(void)
{
    scratch = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(scratch != MAP_FAILED);
    for (unsigned int round = 0; round < ROUNDS; round++) {
        endure(hostile_threads, round);
        endure(hostile_jumps, round);
    }
    CHECK(neighbour_is_well());
    return check_done();
}
