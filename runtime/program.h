/*
 * Which file the command line means, and what can be said when it is none.
 */
#ifndef RUNTIME_PROGRAM_H
#define RUNTIME_PROGRAM_H

#include <limits.h>

#include "base/compiler.h"

struct file;
struct fs_context;

/*
 * Opens `name` as execvp(3) does: as it is when it contains a slash, else in the directories of the
 * program's own PATH. ret_path is what AT_EXECFN will show. -errno.
 */
int program_open(struct fs_context *fs, const char *name, const char *const *envp,
                 char ret_path[PATH_MAX], struct file **ret_file);
/* What -EACCES of program_open() was about, in words. */
const char *program_denied(struct fs_context *fs, const char *path);
/* Logs why it could not run; the exit code, 126 or 127. */
int program_failed(const char *name, int err, const char *why);

/* The caller's environment, or none, with NAME=VALUE entries put in; NULL without memory. */
const char **program_environment(bool clear, const char *const *added);

#endif
