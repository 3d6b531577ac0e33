/*
 * Runs a function that is meant to die, and tells by which signal.
 *
 * The handler runs on a stack of its own and jumps out with siglongjmp(), so the function may ruin
 * its stack and its registers. One catch at a time in each thread.
 */
#ifndef TESTS_GUEST_CATCH_H
#define TESTS_GUEST_CATCH_H

#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include "check.h"

struct caught {
    int signo; /* 0: the function returned */
    int code;
    uintptr_t addr; /* si_addr */
    uint64_t trapno, error, cr2, rip, rsp, rflags;
};

static _Thread_local sigjmp_buf catch_jump;
static _Thread_local volatile struct caught catch_last;
static _Thread_local char *catch_stack;

static void catch_handler(int signo, siginfo_t *info, void *context)
{
    const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    catch_last.signo = signo;
    catch_last.code = info->si_code;
    catch_last.addr = (uintptr_t)info->si_addr;
    catch_last.trapno = (uint64_t)regs[REG_TRAPNO];
    catch_last.error = (uint64_t)regs[REG_ERR];
    catch_last.cr2 = (uint64_t)regs[REG_CR2];
    catch_last.rip = (uint64_t)regs[REG_RIP];
    catch_last.rsp = (uint64_t)regs[REG_RSP];
    catch_last.rflags = (uint64_t)regs[REG_EFL];
    /* A handler inherits AC, and libc may well use what is not aligned. */
    __asm__ volatile("pushfq\n andl $~0x40000, (%%rsp)\n popfq\n" ::: "memory", "cc");
    siglongjmp(catch_jump, 1);
}

#define CATCH_STACK_SIZE 65536

/* The five signals of CPU exceptions go to the catcher; once in each thread that catches. */
__attribute__((unused)) static void catch_setup(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction action = {.sa_sigaction = catch_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
        CHECK_EQ(sigaction(signals[i], &action, NULL), 0);
    catch_stack = malloc(CATCH_STACK_SIZE);
    stack_t stack = {.ss_sp = catch_stack, .ss_size = CATCH_STACK_SIZE};
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
}

__attribute__((noinline, unused)) static struct caught catch_signal(void (*function)(void *),
                                                                    void *argument)
{
    memset((void *)&catch_last, 0, sizeof(catch_last));
    if (sigsetjmp(catch_jump, 1) == 0)
        function(argument);
    return catch_last;
}

#endif
