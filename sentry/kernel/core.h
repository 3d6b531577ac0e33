/*
 * Core dumps: core(5). A process that a signal ends writes an ELF file with its memory and its
 * threads' registers, for a debugger: where RLIMIT_CORE and its being dumpable allow it, under the
 * name that /proc/sys/kernel/core_pattern tells. Patterns that name a program are kept and shown,
 * but no such program is run.
 *
 *   core.c       when, where, which memory           corenote.c   the notes: threads, files, auxv
 *   corename.c   the file's name
 *
 * The thread that takes the signal dumps: it ends all others, as execve(2) does, and each leaves
 * its registers behind on its way out.
 */
#ifndef SENTRY_KERNEL_CORE_H
#define SENTRY_KERNEL_CORE_H

#include <signal.h>

#include "abi/ptrace.h"
#include "base/list.h"

struct mappable;
struct process;
struct task;

#define CORE_PATTERN_SIZE 128 /* with its NUL */

struct core_thread {
    struct list node;
    int32_t number; /* as its own pid namespace has it */
    uint64_t pending, blocked;
    struct linux_user_regs regs;
    uint32_t fp_size;
    uint8_t fp[]; /* XSAVE area */
};

/* A part of memory, and how much of it is written. */
struct core_segment {
    uaddr_t start, end;
    uint64_t dumped; /* bytes from its start */
    int prot, flags;
    uint64_t offset;
    struct mappable *object; /* owned reference */
};

struct core {
    struct task *task;
    const siginfo_t *info;
    struct list threads; /* under process->lock while others end; the dumping one first */
    struct core_segment *segments;
    uint32_t segment_count;
};

/* Bytes that grow. */
struct core_buffer {
    uint8_t *bytes; /* owned */
    size_t size, room;
    bool failed; /* no memory */
};
void core_put(struct core_buffer *buf, const void *data, size_t size);

/* The signals whose default action is to dump. */
bool core_signal(int signo);
/* Does a dump seem wanted? process->lock held. */
bool core_wanted_locked(const struct process *process);
/* On the thread that took the signal, no lock held. True: a file was begun. */
bool core_dump(struct task *task, const siginfo_t *info);
/* A thread leaves: it leaves its registers with the dump that waits for it, if there is one. */
void core_thread_leaves(struct task *task);

/* corename.c */
struct core_name {
    char text[4096];
    size_t size;
};
/* False: there is no file to be; a program is to get the dump, or the pattern is empty. */
bool core_make_name(const struct core *core, struct core_name *ret);

/* corenote.c: everything between the program headers and memory. */
void core_put_notes(const struct core *core, struct core_buffer *buf);

/* /proc/sys/kernel/core_pattern and core_uses_pid; -EINVAL. */
void core_get_pattern(char ret[CORE_PATTERN_SIZE]);
void core_set_pattern(const char *pattern);
extern uint32_t core_uses_pid; /* atomic */

#endif
