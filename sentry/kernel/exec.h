/* execve(2): another program in the same process. */
#ifndef SENTRY_KERNEL_EXEC_H
#define SENTRY_KERNEL_EXEC_H

#include "base/compiler.h"

struct file;
struct kernel;
struct load_result;
struct mm;
struct task;

struct exec_identity;

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
 * A fresh address space with the program in it, under the task's limits and the identity that the
 * program's file gives it (privilege.h). Nothing of the task changes. -errno as loader_load(), with
 * its words in ret_why.
 */
int exec_load(struct task *task, const struct exec_request *request, struct mm **ret_mm,
              struct load_result *ret_result, struct exec_identity *ret_identity, char *ret_why,
              size_t why_size);
/* Makes that identity, whose reference is taken over, the task's. */
void exec_take_identity(struct task *task, struct exec_identity *identity);
/* Ends all other threads; -EAGAIN when the process itself is ending, or another execve is first. */
int exec_end_other_threads(struct task *task);
/* Points the task's registers at the loaded program. */
void exec_set_registers(struct task *task, const struct load_result *result);

/*
 * All of execve(2), from the opened program on. With an error before the point of no return,
 * nothing has changed; later ones end the process by SIGKILL, as on Linux.
 */
int exec_program(struct task *task, const struct exec_request *request);

#endif
