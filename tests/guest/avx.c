/*
 * Vector registers belong to each thread and outlive system calls, page faults and signals: xmm,
 * ymm and, where the CPU has them, zmm with the mask registers; a signal frame carries them and
 * rt_sigreturn() brings back what the handler changed there.
 */
#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"

#define WIDTH 64 /* bytes of the widest register */

struct vectors {
    unsigned char r[32][WIDTH];
    uint64_t k[8];
};

enum level { SSE, AVX, AVX512 };

static enum level level;
static atomic_int handled;
static size_t frame_size;

static sigjmp_buf no_xgetbv;

static void on_undefined(int signo)
{
    siglongjmp(no_xgetbv, signo);
}

/*
 * By XGETBV itself and not by CPUID's OSXSAVE bit: a hypervisor may hide the bit, but it cannot
 * take the registers away from a program that uses them all the same.
 */
static enum level find_level(void)
{
    uint32_t a, b, c, d, low, high;

    signal(SIGILL, on_undefined);
    if (sigsetjmp(no_xgetbv, 1) != 0)
        return SSE;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    __cpuid(1, a, b, c, d);
    if (!(c & bit_AVX) || (low & 6) != 6)
        return SSE;
    __cpuid_count(7, 0, a, b, c, d);
    return (b & bit_AVX512F) && (b & bit_AVX512BW) && (low & 0xe6) == 0xe6 ? AVX512 : AVX;
}

/*
 * The assembly below uses only what the level has, so the compiler must not be told of the rest:
 * clobbers are plain "memory", and between load and store nothing but a system call runs.
 */
#define EACH16(f)                                                                                  \
    f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define EACH_HIGH(f)                                                                               \
    f(16) f(17) f(18) f(19) f(20) f(21) f(22) f(23) f(24) f(25) f(26) f(27) f(28) f(29) f(30) f(31)
#define EACH_K(f)    f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)

#define LOAD_XMM(n)  "movdqu " #n "*64(%[in]), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*64(%[out])\n"
#define LOAD_YMM(n)  "vmovdqu " #n "*64(%[in]), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*64(%[out])\n"
#define LOAD_ZMM(n)  "vmovdqu64 " #n "*64(%[in]), %%zmm" #n "\n"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[out])\n"
#define LOAD_K(n)    "kmovq 2048+" #n "*8(%[in]), %%k" #n "\n"
#define STORE_K(n)   "kmovq %%k" #n ", 2048+" #n "*8(%[out])\n"

#define XMM_CLOBBERS                                                                               \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "rcx", "r11", "memory", "cc"

/*
 * Fills every vector register from `in`, makes the system call (or, with nr < 0, reads `*touch`,
 * which may fault), and stores the registers to `out`.
 */
#define AROUND(load, store, unload)                                                                \
    __asm__ volatile(load "test %[nr], %[nr]\n"                                                    \
                          "js 1f\n"                                                                \
                          "syscall\n"                                                              \
                          "jmp 2f\n"                                                               \
                          "1: movb (%[touch]), %%al\n"                                             \
                          "2:\n" store unload                                                      \
                     : [nr] "+a"(nr)                                                               \
                     : [in] "r"(in), [out] "r"(out), [touch] "r"(touch), "D"(a), "S"(b)            \
                     : XMM_CLOBBERS)

static long around(const struct vectors *in, struct vectors *out, long nr, long a, long b,
                   const char *touch)
{
    switch (level) {
    case SSE:
        AROUND(EACH16(LOAD_XMM), EACH16(STORE_XMM), "");
        break;
    case AVX:
        AROUND(EACH16(LOAD_YMM), EACH16(STORE_YMM), "vzeroupper\n");
        break;
    case AVX512:
        AROUND(EACH16(LOAD_ZMM) EACH_HIGH(LOAD_ZMM) EACH_K(LOAD_K),
               EACH16(STORE_ZMM) EACH_HIGH(STORE_ZMM) EACH_K(STORE_K), "vzeroall\n");
        break;
    }
    return nr;
}

static void fill(struct vectors *v, uint32_t seed)
{
    unsigned char *bytes = (unsigned char *)v;

    for (size_t i = 0; i < sizeof(*v); i++) {
        seed = seed * 1103515245 + 12345;
        bytes[i] = (unsigned char)(seed >> 16);
    }
}

static bool same(const struct vectors *a, const struct vectors *b)
{
    static const size_t widths[] = {16, 32, 64};
    int count = level == AVX512 ? 32 : 16;

    for (int i = 0; i < count; i++) {
        if (memcmp(a->r[i], b->r[i], widths[level]) != 0)
            return false;
    }
    return level != AVX512 || memcmp(a->k, b->k, sizeof(a->k)) == 0;
}

/* Spoils all registers; changes xmm3 in the frame, which the interrupted code then has. */
static void on_signal(int signo, siginfo_t *info, void *context)
{
    struct vectors junk, out;
    const ucontext_t *uc = context;
    const unsigned char *fp = (const unsigned char *)uc->uc_mcontext.fpregs;
    uint32_t magic, size;

    (void)signo;
    (void)info;
    fill(&junk, 0xdead);
    around(&junk, &out, SYS_getppid, 0, 0, NULL);
    CHECK(same(&junk, &out));
    memcpy((void *)&uc->uc_mcontext.fpregs->_xmm[3], "handler was here", 16);
    /* struct _fpx_sw_bytes at 464: magic1, extended_size (uapi/asm/sigcontext.h) */
    memcpy(&magic, fp + 464, 4);
    memcpy(&size, fp + 468, 4);
    if (level != SSE) {
        CHECK_EQ(magic, 0x46505853);
        CHECK(size >= 512 + 64 + 256);
        memcpy(&magic, fp + size - 4, 4);
        CHECK_EQ(magic, 0x46505845);
        CHECK_EQ((uintptr_t)fp % 64, 0);
        frame_size = size;
    }
    atomic_fetch_add(&handled, 1);
}

static void test_calls(void)
{
    static const long calls[] = {SYS_getpid, SYS_getppid, SYS_sched_yield, SYS_gettid, 9999};
    const struct timespec delay = {0, 1000000};
    struct vectors in, out;

    for (uint32_t round = 0; round < 50; round++) {
        fill(&in, round);
        around(&in, &out, calls[round % ARRAY_COUNT(calls)], 0, 0, NULL);
        CHECK(same(&in, &out));
    }
    CHECK_EQ(around(&in, &out, SYS_nanosleep, (long)&delay, 0, NULL), 0);
    CHECK(same(&in, &out));
}

static void test_page_fault(void)
{
    struct vectors in, out;
    char *page = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(page != MAP_FAILED);
    for (uint32_t i = 0; i < 64; i++) {
        fill(&in, 1000 + i);
        around(&in, &out, -1, 0, 0, page + i * 4096);
        CHECK(same(&in, &out));
    }
    munmap(page, 64 * 4096);
}

static void test_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    struct vectors in, out;

    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    for (uint32_t i = 0; i < 20; i++) {
        fill(&in, 2000 + i);
        CHECK_EQ(around(&in, &out, SYS_kill, getpid(), SIGUSR1, NULL), 0);
        CHECK_EQ(handled, (int)i + 1);
        CHECK(memcmp(out.r[3], "handler was here", 16) == 0);
        memcpy(out.r[3], in.r[3], 16);
        CHECK(same(&in, &out));
    }
}

static void *thread_body(void *argument)
{
    struct vectors in, out;
    uint32_t seed = (uint32_t)(uintptr_t)argument;

    for (uint32_t i = 0; i < 200; i++) {
        fill(&in, seed * 1000 + i);
        around(&in, &out, i % 3 ? SYS_sched_yield : SYS_getppid, 0, 0, NULL);
        if (!CHECK(same(&in, &out)))
            break;
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[8];

    for (uintptr_t i = 0; i < ARRAY_COUNT(threads); i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, thread_body, (void *)(i + 1)), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* A signal that comes at any moment to a thread that only computes. */
static volatile bool stop;

static void *spin(void *argument)
{
    (void)argument;
    __m128i x = _mm_set1_epi32(12345), y = _mm_set1_epi32(7);
    while (!stop) {
        /* y is 7 for ever unless a register is lost. */
        __asm__ volatile("paddd %1, %0\n psubd %1, %0" : "+x"(x), "+x"(y));
    }
    CHECK_EQ(_mm_cvtsi128_si32(x), 12345);
    CHECK_EQ(_mm_cvtsi128_si32(y), 7);
    return NULL;
}

static void on_any_moment(int signo)
{
    struct vectors junk, out;

    (void)signo;
    fill(&junk, 0xbeef);
    around(&junk, &out, SYS_getppid, 0, 0, NULL);
    atomic_fetch_add(&handled, 1);
}

static void test_any_moment(void)
{
    struct sigaction action = {.sa_handler = on_any_moment};
    const struct timespec pause_time = {0, 200000};
    pthread_t thread;

    CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, spin, NULL), 0);
    handled = 0;
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(pthread_kill(thread, SIGUSR2), 0);
        for (int tries = 0; handled <= i && tries < 10000; tries++)
            nanosleep(&pause_time, NULL);
    }
    CHECK_EQ(handled, 200);
    stop = true;
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

int main(void)
{
    level = find_level();
    test_calls();
    test_page_fault();
    test_signals();
    test_threads();
    test_any_moment();
    return check_done();
}
