/* The notes of a core file, in the order of Linux fs/binfmt_elf.c:fill_note_info(). */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/core.h"
#include "sentry/kernel/core.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/usercopy.h"

#define FXSAVE_SIZE       512
#define XSTATE_NOTE_XCR0  464 /* where a note of the extended state tells its features */
#define XSTATE_NOTE_WORDS 6
#define NAMES_MAX         (4UL << 20) /* of mapped files */

static void put_note(struct core_buffer *buf, const char *name, uint32_t type, const void *data,
                     size_t size)
{
    static const char zero[4];
    const Elf64_Nhdr head = {
        .n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)size, .n_type = type};

    core_put(buf, &head, sizeof(head));
    core_put(buf, name, head.n_namesz);
    core_put(buf, zero, -(size_t)head.n_namesz & 3);
    core_put(buf, data, size);
    core_put(buf, zero, -size & 3);
}

static struct linux_core_time time_of(uint64_t ns)
{
    return (struct linux_core_time){(int64_t)(ns / 1000000000), (int64_t)(ns % 1000000000 / 1000)};
}

static void put_status(const struct core *core, const struct core_thread *t,
                       struct core_buffer *buf)
{
    struct process *process = core->task->process;
    struct linux_prstatus status = {0};
    struct usage usage;

    process_usage(process, &usage);
    status.si_signo = status.cursig = (short)core->info->si_signo;
    status.sigpend = t->pending;
    status.sighold = t->blocked;
    status.pid = t->number;
    status.ppid = task_shown_pid(core->task, process->parent_pid);
    status.pgrp = task_shown_pid(core->task, process->pgid);
    status.sid = task_shown_pid(core->task, process->sid);
    status.utime = time_of(usage.user_ns);
    status.stime = time_of(usage.system_ns);
    status.regs = t->regs;
    status.fpvalid = t->fp_size > 0;
    put_note(buf, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

static void put_process(const struct core *core, struct core_buffer *buf)
{
    struct task *task = core->task;
    struct linux_prpsinfo info = {0};
    struct mm_layout layout;
    size_t size;

    mm_get_layout(task->mm, &layout);
    size = MIN(layout.arg_end - layout.arg_start, sizeof(info.psargs) - 1);
    info.sname = 'R';
    info.nice = (char)task->sched.nice;
    info.uid = cred_shown_uid(task->cred, task->cred->uid);
    info.gid = cred_shown_gid(task->cred, task->cred->gid);
    info.pid = task->process->vpid;
    info.ppid = task_shown_pid(task, task->process->parent_pid);
    info.pgrp = task_shown_pid(task, task->process->pgid);
    info.sid = task_shown_pid(task, task->process->sid);
    memcpy(info.fname, task->comm, sizeof(info.fname));
    size = copy_from_user_partial(task->mm, info.psargs, layout.arg_start, size);
    for (size_t i = 0; i < size; i++) {
        if (!info.psargs[i])
            info.psargs[i] = ' ';
    }
    put_note(buf, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

/* NT_FILE: a count and a unit, three numbers for each mapping of a file, then the names. */
static void put_files(const struct core *core, struct core_buffer *buf)
{
    struct core_buffer table = {0}, names = {0};
    uint64_t head[2] = {0, PAGE_SIZE};

    core_put(&table, head, sizeof(head));
    for (uint32_t i = 0; i < core->segment_count; i++) {
        const struct core_segment *s = &core->segments[i];
        uint64_t row[3] = {s->start, s->end, s->offset / PAGE_SIZE};
        char name[4200] = "";

        if (s->object && s->object->ops->name)
            s->object->ops->name(s->object, name, sizeof(name));
        if (!name[0] || names.size > NAMES_MAX)
            continue;
        core_put(&table, row, sizeof(row));
        core_put(&names, name, strlen(name) + 1);
        head[0]++;
    }
    if (!table.failed)
        memcpy(table.bytes, head, sizeof(head));
    core_put(&table, names.bytes, names.size);
    if (table.failed || names.failed)
        buf->failed = true;
    else if (head[0])
        put_note(buf, "CORE", NT_FILE, table.bytes, table.size);
    free(table.bytes);
    free(names.bytes);
}

static void put_fp(const struct core *core, struct core_thread *t, struct core_buffer *buf)
{
    struct platform *platform = core->task->kernel->platform;
    const uint64_t words[XSTATE_NOTE_WORDS] = {platform->ops->fp_features(platform)};

    if (t->fp_size < FXSAVE_SIZE)
        return;
    memset(t->fp + XSTATE_NOTE_XCR0, 0, sizeof(words));
    put_note(buf, "CORE", NT_FPREGSET, t->fp, FXSAVE_SIZE);
    memcpy(t->fp + XSTATE_NOTE_XCR0, words, sizeof(words));
    put_note(buf, "LINUX", NT_X86_XSTATE, t->fp, t->fp_size);
}

void core_put_notes(const struct core *core, struct core_buffer *buf)
{
    struct mm_layout layout;
    struct core_thread *t;
    bool first = true;

    mm_get_layout(core->task->mm, &layout);

    list_for_each (t, &core->threads, node) {
        put_status(core, t, buf);
        if (first) {
            put_process(core, buf);
            put_note(buf, "CORE", NT_SIGINFO, core->info, sizeof(*core->info));
            put_note(buf, "CORE", NT_AUXV, layout.auxv,
                     layout.auxv_count * 2 * sizeof(layout.auxv[0]));
            put_files(core, buf);
        }
        put_fp(core, t, buf);
        first = false;
    }
}
