/* /dev/pts: ptmx, which makes pseudo-terminals, and those there are. */
#ifndef SENTRY_FS_TTY_DEVPTS_H
#define SENTRY_FS_TTY_DEVPTS_H

#include "base/compiler.h"

struct file;
struct super_block;

#define DEVPTS_MAX 1024 /* pseudo-terminals at once: /proc/sys/kernel/pty/max */
uint32_t devpts_count(void);

/*
 * `console` is the caller's terminal (a reference is taken) or NULL: where the host calls it
 * /dev/pts/N, it keeps that name here, and no pseudo-terminal gets the number.
 */
int devpts_create(struct file *console, struct super_block **ret);

#endif
