/* execve(2): another program in the same process. */
#ifndef SENTRY_KERNEL_EXEC_H
#define SENTRY_KERNEL_EXEC_H

#include "base/compiler.h"

struct file;
struct kernel;
struct load_result;
struct mm;
struct task;

struct exec_request {
    struct file *exe;        /* borrowed */
    const char *path;        /* as AT_EXECFN shows it */
    const char *const *argv; /* NULL-terminated */
    const char *const *envp;
    /* Opens interpreters; a reference for the caller. */
    int (*open)(void *arg, const char *path, struct file **ret);
    void *open_arg;
};

/*
 * A fresh address space with the program in it, under the task's identity and limits. Nothing of
 * the task changes. -errno as loader_load(), with its words in ret_why.
 */
int exec_load(struct task *task, const struct exec_request *request, struct mm **ret_mm,
              struct load_result *ret_result, char *ret_why, size_t why_size);
/* Points the task's registers at the loaded program. */
void exec_set_registers(struct task *task, const struct load_result *result);

/*
 * All of execve(2), from the opened program on. With an error before the point of no return,
 * nothing has changed; later ones end the process by SIGKILL, as on Linux.
 */
int exec_program(struct task *task, const struct exec_request *request);

#endif
