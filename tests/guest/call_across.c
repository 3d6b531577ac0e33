/*
 * A call whose SYSCALL instruction lies in two pages: however often it is made, and wherever a
 * signal finds it, it is that call.
 */
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"

#define TIMES 30000

long across(void);
__asm__(".pushsection .text.across, \"ax\", @progbits\n"
        "        .balign 4096\n"
        "        .skip   4096 - 6\n"
        "        .globl  across\n"
        "across: mov     $39, %eax\n" /* SYS_getpid */
        "        syscall\n"
        "        ret\n"
        "        .popsection\n");

static volatile sig_atomic_t signals;

static void on_alarm(int signo)
{
    signals++;
}

int main(void)
{
    struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
    long pid = getpid();
    int wrong = 0;

    CHECK_EQ((unsigned long)across % 4096, 4096 - 6);
    CHECK(signal(SIGALRM, on_alarm) != SIG_ERR);
    for (int i = 0; i < TIMES; i++)
        wrong += across() != pid;
    CHECK_EQ(wrong, 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < 100 * TIMES && signals < 50; i++)
        wrong += across() != pid;
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_EQ(wrong, 0);
    CHECK(signals >= 50);
    return check_done();
}
