/*
 * Signals that the host sends to kvmsentry (Ctrl-C at the terminal, kill(1)) are the program's.
 */
#ifndef RUNTIME_FORWARD_H
#define RUNTIME_FORWARD_H

#include "base/compiler.h"

struct kernel;

/*
 * Blocks the signals that will be forwarded, in this thread and all threads made later: called
 * before the first is made. Returns those that the caller had ignored (nohup), bit n-1 for n.
 */
uint64_t forward_block(void);
/* Starts the thread that passes them on to the kernel's first program. -errno. */
int forward_start(struct kernel *kernel);

#endif
