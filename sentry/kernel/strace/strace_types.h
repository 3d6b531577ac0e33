/*
 * How strace shows values: the line buffer, scalars by kind, and what pointers point to by type.
 */
#ifndef SENTRY_KERNEL_STRACE_TYPES_H
#define SENTRY_KERNEL_STRACE_TYPES_H

#include "sentry/kernel/strace/strace.h"
#include "sentry/kernel/strace/strace_spec.h"

void strace_printf(struct strace_buf *buf, const char *fmt, ...) __printf(2, 3);
/* Quoted and escaped; "..." behind the quote when `cut`. */
void strace_put_bytes(struct strace_buf *buf, const void *bytes, size_t size, bool cut);
void strace_put_names(struct strace_buf *buf, const char *word, uint64_t value);
void strace_put_address(struct strace_buf *buf, uaddr_t addr); /* hexadecimal, or NULL */
void strace_put_signal(struct strace_buf *buf, int signo);

/* A string of the guest; its address when it cannot be read. */
void strace_put_string(struct strace_call *call, uaddr_t addr, size_t show);
/* false when there is no scalar kind of that name. */
bool strace_put_scalar(struct strace_call *call, struct span kind, uint64_t value);
/*
 * What addr points to: `count` elements as an array, or one when not `counted`. Unreadable memory
 * and "struct NAME" types show as the address. false when the type is unknown.
 */
bool strace_put_pointer(struct strace_call *call, struct span type, uaddr_t addr, bool counted,
                        uint64_t count);

#endif
