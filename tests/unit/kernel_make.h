/* A kernel over the fake platform, and tasks for it: what kernel_start_init() does, without an ELF.
 */
#ifndef TESTS_UNIT_KERNEL_MAKE_H
#define TESTS_UNIT_KERNEL_MAKE_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "platform/fake/fake.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rlimit.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/table.h"
#include "sentry/vfs/fdtable.h"

#define SCRATCH      0x10000000UL /* 64 KiB of memory, readable and writable */
#define SCRATCH_SIZE 0x10000UL

/* A kernel lives as long as the program; so that leak checkers know. */
static void *kept[16];
static size_t kept_count;

static inline struct kernel *kernel_make(void)
{
    struct mm_env *env = calloc(1, sizeof(*env));
    struct kernel *kernel;
    struct kernel_config config = {
        .mm_env = env,
        .table = &syscall_table,
        .release = "6.18.0-test",
        .version = "#1",
        .hostname = "test",
    };

    cr_assert_eq(memfile_create(256UL << 20, &env->memfile), 0);
    cr_assert_eq(fake_platform_ops.create(env->memfile, &env->platform), 0);
    fake_platform_ops.limits(env->platform, &env->limits);
    cr_assert_eq(kernel_create(&config, &kernel), 0);
    kept[kept_count++ % ARRAY_COUNT(kept)] = kernel;
    return kernel;
}

/* The first task of a new process; rsp in the middle of the scratch memory. */
static inline struct task *task_make(struct kernel *kernel)
{
    struct process *process = process_create(kernel, pid_ns_of(kernel->initial_ns[NS_PID]));
    const struct mm_map_args args = {
        .addr = SCRATCH,
        .size = SCRATCH_SIZE,
        .prot = PROT_READ | PROT_WRITE,
        .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
    };
    struct task *task;
    uaddr_t addr;

    cr_assert(process);
    process->sighand = sighand_create();
    rlimits_init(process, NULL);
    task = task_create(kernel, process);
    cr_assert(task);
    process_unref(process);
    task->cred = cred_create(0, 0, NULL, 0);
    cr_assert_eq(fdtable_create(&task->files), 0);
    cr_assert_eq(mm_create(kernel->mm_env, &task->mm), 0);
    rlimits_apply(task, task->mm);
    cr_assert_eq(mm_map(task->mm, &args, &addr), 0);
    task->ctx->regs = (struct cpu_regs){
        .rip = 0x400000,
        .rsp = SCRATCH + SCRATCH_SIZE / 2 + 8,
        .rflags = RFLAGS_FIXED,
    };
    kept[kept_count++ % ARRAY_COUNT(kept)] = task;
    return task;
}

/* Enters it in its process without running it. */
static inline void task_join(struct task *task)
{
    struct process *process = task->process;

    lock_acquire(&process->lock);
    list_add_tail(&process->threads, &task->process_node);
    process->thread_count++;
    lock_release(&process->lock);
}

/* Runs the task as the first program: the wait status it ends with. */
static inline int task_play(struct task *task, const struct fake_step *steps, size_t count)
{
    struct kernel *kernel = task->kernel;

    fake_set_script(task->ctx, steps, count);
    kernel->init = process_ref(task->process);
    cr_assert_eq(task_start(task, NULL, NULL, NULL), 0);
    return kernel_wait_exit(kernel);
}

#endif
