/* --diff: the list of what the program changed. */
#ifndef RUNTIME_CHANGES_H
#define RUNTIME_CHANGES_H

#include "base/compiler.h"

struct super_block;

/*
 * Writes a line for each change in `overlay` to the host descriptor `fd`: "A /path", "C /path" or
 * "D /path"; control characters and backslashes in names as \ooo. -errno.
 */
int changes_write(struct super_block *overlay, int fd);

#endif
