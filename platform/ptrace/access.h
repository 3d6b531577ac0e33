/* Which way an instruction accesses memory: what the host does not tell about a fault. */
#ifndef PLATFORM_PTRACE_ACCESS_H
#define PLATFORM_PTRACE_ACCESS_H

#include "platform/platform.h"

/* As many bytes of an instruction as are looked at. */
#define ACCESS_CODE_SIZE 8

/*
 * True when the instruction of these bytes, with these registers, would write to `addr` by its
 * opcode. False for what it does not know: the answer is a hint and must not decide what is
 * allowed.
 */
bool access_is_write(const uint8_t code[ACCESS_CODE_SIZE], const struct cpu_regs *regs,
                     uaddr_t addr);

#endif
