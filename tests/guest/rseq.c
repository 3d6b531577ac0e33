/*
 * Restartable sequences: registration with its errors, what a signal and membarrier do to a
 * sequence, and that data indexed by cpu_id are nobody else's. The C library has registered every
 * thread already; its area is given back first.
 */
#include <linux/membarrier.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define SIGNATURE 0x53053053

static long rseq_(void *area, unsigned size, int flags, unsigned signature)
{
    return syscall(SYS_rseq, area, size, flags, signature);
}

static struct rseq *libc_area(void)
{
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static struct rseq area __attribute__((aligned(32)));

/* Behind what this libc knows: the node, and a number among the threads of the address space. */
static void check_extension(const void *rseq)
{
    const uint32_t *words = rseq;

    CHECK(getauxval(27) >= 28); /* AT_RSEQ_FEATURE_SIZE */
    CHECK(words[5] < 1024);
    CHECK(words[6] < (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
}

static void test_registration(void)
{
    struct rseq *old = libc_area();

    check_extension(old);

    CHECK(__rseq_size >= 20);
    CHECK((int)old->cpu_id >= 0);
    CHECK_EQ(old->cpu_id, old->cpu_id_start);
    CHECK_EQ(__rseq_flags, 0);
    CHECK_ERRNO(rseq_(old, 32, 0, SIGNATURE), EBUSY);
    CHECK_ERRNO(rseq_(old, 32, 0, 1), EPERM);
    CHECK_ERRNO(rseq_(&area, 32, 0, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq_(&area, 32, 1, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq_(old, 32, 1, 1), EPERM);
    CHECK_ERRNO(rseq_(old, 32, 2, SIGNATURE), EINVAL);
    CHECK_EQ(rseq_(old, 32, 1, SIGNATURE), 0);
    CHECK_EQ((int)old->cpu_id, -1);
    CHECK_EQ(old->cpu_id_start, 0);
    CHECK_ERRNO(rseq_(old, 32, 1, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq_((char *)&area + 8, 32, 0, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq_(&area, 16, 0, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq_((void *)0x7fffffffffe0, 32, 0, SIGNATURE), EFAULT);
    CHECK_EQ(rseq_(&area, 32, 0, SIGNATURE), 0);
    CHECK((int)area.cpu_id >= 0);
    CHECK_EQ(area.cpu_id, area.cpu_id_start);
    check_extension(&area);
}

/*
 * A loop that is a sequence: it ends by itself only when *stop is set, else by being aborted.
 * Returns 1 when it was aborted.
 */
static int loop_in_sequence(struct rseq *rs, volatile int *stop, volatile int *entered)
{
    int aborted = 0;

    __asm__ volatile(".pushsection __rseq_cs, \"aw\"\n"
                     ".balign 32\n"
                     "10: .long 0, 0\n"
                     ".quad 1f, 2f - 1f, 4f\n"
                     ".popsection\n"
                     "leaq 10b(%%rip), %%rax\n"
                     "movq %%rax, 8(%[rs])\n"
                     "1: movl $1, (%[entered])\n"
                     "3: pause\n"
                     "cmpl $0, (%[stop])\n"
                     "je 3b\n"
                     "2: jmp 5f\n"
                     ".long 0x53053053\n" /* before the abort address */
                     "4: movl $1, %[aborted]\n"
                     "5:\n"
                     : [aborted] "+r"(aborted)
                     : [rs] "r"(rs), [stop] "r"(stop), [entered] "r"(entered)
                     : "rax", "memory", "cc");
    return aborted;
}

static volatile int stop_loop, entered, handled;

static void on_alarm(int signo)
{
    handled = 1;
}

static void test_signal(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    pid_t me = getpid(), child;

    sigaction(SIGUSR1, &action, NULL);
    child = fork();
    if (child == 0) {
        struct timespec ts = {0, 50000000};

        for (;;) {
            nanosleep(&ts, NULL);
            kill(me, SIGUSR1);
        }
    }
    CHECK_EQ(loop_in_sequence(&area, &stop_loop, &entered), 1);
    CHECK_EQ(area.rseq_cs, 0);
    /* On Linux the loop may have been aborted by preemption, before any signal. */
    for (int i = 0; i < 5000 && !handled; i++)
        usleep(1000);
    CHECK_EQ(handled, 1);
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

static atomic_int looper_result;

static void *looper_body(void *argument)
{
    static struct rseq own __attribute__((aligned(32)));

    CHECK_EQ(rseq_(&own, 32, 0, SIGNATURE), 0); /* its maker gave up libc's, so did libc */
    looper_result = 1 + loop_in_sequence(&own, &stop_loop, &entered);
    CHECK_EQ(rseq_(&own, 32, 1, SIGNATURE), 0);
    return NULL;
}

static void test_membarrier(void)
{
    pthread_t thread;

    CHECK_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0), EPERM);
    CHECK_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1, 0), EINVAL);
    CHECK_EQ(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0), 0);
    entered = stop_loop = 0;
    CHECK_EQ(pthread_create(&thread, NULL, looper_body, NULL), 0);
    while (!entered)
        usleep(1000);
    for (int i = 0; i < 5000 && !looper_result; i++) {
        CHECK_EQ(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0), 0);
        usleep(1000);
    }
    CHECK_EQ(looper_result, 2);
    CHECK_EQ(
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, 0),
        0);
    pthread_join(thread, NULL);
}

#define ADDERS 6
#define ROUNDS 20000

/* One counter for each number; only a sequence may change it, without any lock. */
static struct {
    long count;
    char pad[56];
} counters[1024];
static atomic_long fallback;

/* count[cpu]++ if cpu still is ours: 1, or 0 to try again. */
static int add_one(struct rseq *rs, unsigned cpu)
{
    int done = 0;

    __asm__ volatile(".pushsection __rseq_cs, \"aw\"\n"
                     ".balign 32\n"
                     "10: .long 0, 0\n"
                     ".quad 1f, 2f - 1f, 4f\n"
                     ".popsection\n"
                     "leaq 10b(%%rip), %%rax\n"
                     "movq %%rax, 8(%[rs])\n"
                     "1: cmpl %[cpu], 4(%[rs])\n"
                     "jne 5f\n"
                     "movq (%[slot]), %%rax\n"
                     "incq %%rax\n"
                     "movq %%rax, (%[slot])\n"
                     "2: movl $1, %[done]\n"
                     "jmp 5f\n"
                     ".long 0x53053053\n"
                     "4: nop\n"
                     "5:\n"
                     : [done] "+r"(done)
                     : [rs] "r"(rs), [cpu] "r"(cpu), [slot] "r"(&counters[cpu].count)
                     : "rax", "memory", "cc");
    return done;
}

static void *adder_body(void *argument)
{
    struct rseq *rs = libc_area();

    for (int i = 0; i < ROUNDS; i++) {
        for (;;) {
            int cpu = (int)*(volatile uint32_t *)&rs->cpu_id;

            if (cpu < 0) {
                fallback++;
                break;
            }
            if (add_one(rs, (unsigned)cpu))
                break;
        }
        if (i % 1000 == 0)
            sched_yield();
    }
    return NULL;
}

static void test_counting(void)
{
    pthread_t threads[ADDERS];
    long sum = 0;

    for (int i = 0; i < ADDERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, adder_body, NULL), 0);
    for (int i = 0; i < ADDERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ARRAY_COUNT(counters); i++)
        sum += counters[i].count;
    CHECK_EQ(sum + fallback, ADDERS * ROUNDS);
}

/* A wrong signature before the abort address, or a pointer to nowhere, is deadly at a signal. */
static void test_nonsense(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGUSR1, on_alarm);
        area.rseq_cs = 8;
        kill(getpid(), SIGUSR1);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(WTERMSIG(status), SIGSEGV);
    /* A copy of the memory has a copy of the registration. */
    pid = fork();
    if (pid == 0)
        _exit(rseq_(&area, 32, 0, SIGNATURE) == -1 && errno == EBUSY ? 0 : 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

int main(void)
{
    test_counting();
    test_registration();
    test_signal();
    test_membarrier();
    test_nonsense();
    return check_done();
}
