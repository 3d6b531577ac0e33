/*
 * The stub's one page, at the very top of the user range: where everything lies. Included by
 * stub.S too.
 *
 *   STUB_BASE + 0x000   ELF header and program headers (the page is also the executable)
 *             + 0x100   stub_call:   syscall; int3
 *             + 0x110   stub_clone:  syscall; the parent: int3, the new thread: pause for ever
 *             + 0x120   stub_enter:  where a program's rewritten call sites go (exchange.S)
 *             + 0x800   seccomp filter: struct sock_fprog, then its instructions
 */
#ifndef PLATFORM_PTRACE_STUB_LAYOUT_H
#define PLATFORM_PTRACE_STUB_LAYOUT_H

#define STUB_BASE       0x7fffffffe000 /* the last page below TASK_SIZE_MAX */
#define STUB_SIZE       0x1000
#define STUB_LOADED     0x10000000 /* where execve puts the page first */

#define STUB_CODE       0x100
#define STUB_CALL       0x100
#define STUB_CALLED     0x102 /* behind its syscall instruction: what the host's filter sees */
#define STUB_DONE       0x103 /* behind its int3 */
#define STUB_CLONE      0x110
#define STUB_CLONED     0x112
#define STUB_CLONE_DONE 0x117 /* behind the parent's int3 */
#define STUB_PAUSED     0x11e
#define STUB_ENTER      0x120
#define STUB_FILTER     0x800

#define STUB_CS         0x33 /* __USER_CS and __USER_DS of 64-bit Linux */
#define STUB_SS         0x2b

#endif
