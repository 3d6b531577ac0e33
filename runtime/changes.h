/* --diff: the list of what the program changed. */
#ifndef RUNTIME_CHANGES_H
#define RUNTIME_CHANGES_H

#include "base/compiler.h"

struct super_block;

/*
 * Writes a line for each change in `overlay` to the host descriptor `fd`: "A /path", "M /path" or
 * "D /path"; control characters and backslashes in names as \ooo. -errno.
 */
int changes_write(struct super_block *overlay, int fd);

/* The same with the kind of each object; `json`: one JSON object a line. */
int changes_write_kinds(struct super_block *overlay, int fd, bool json);

#endif
