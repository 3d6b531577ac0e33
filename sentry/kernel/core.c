#include "sentry/kernel/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "sentry/kernel/exec.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/path/modify.h"
#include "sentry/vfs/path/open.h"

#define SEGMENTS_MAX 65000 /* e_phnum has 16 bits */
#define CHUNK        65536u

bool core_signal(int signo)
{
    const uint64_t signals = SIGNAL_BIT(SIGQUIT) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) |
                             SIGNAL_BIT(SIGABRT) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGFPE) |
                             SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGSYS) | SIGNAL_BIT(SIGXCPU) |
                             SIGNAL_BIT(SIGXFSZ);

    return SIGNAL_BIT(signo) & signals;
}

bool core_wanted_locked(const struct process *process)
{
    return process->dumpable == 1 && process->limits[RLIMIT_CORE].rlim_cur >= PAGE_SIZE &&
           !process->core && !process->exec_task;
}

void core_put(struct core_buffer *buf, const void *data, size_t size)
{
    if (buf->failed || size == 0)
        return;
    if (size > buf->room - buf->size) {
        size_t room = (buf->size + size) * 2;
        uint8_t *bytes = realloc(buf->bytes, room);

        if (!bytes) {
            buf->failed = true;
            return;
        }
        buf->bytes = bytes;
        buf->room = room;
    }
    memcpy(buf->bytes + buf->size, data, size);
    buf->size += size;
}

/* ---- threads ------------------------------------------------------------------------------ */

static struct core_thread *describe_thread(struct task *task)
{
    uint32_t size = task->kernel->fp_size;
    struct core_thread *t = calloc(1, sizeof(*t) + size);

    if (!t)
        return NULL;
    t->number = task->vtid;
    t->fp_size = size;
    if (task->ctx->ops->ctx_get_fp(task->ctx, t->fp, size) < 0)
        t->fp_size = 0;
    return t;
}

void core_thread_leaves(struct task *task)
{
    struct process *process = task->process;
    struct core_thread *t;

    if (likely(!READ_ONCE(process->core)))
        return;
    t = describe_thread(task);
    if (!t)
        return;
    lock_acquire(&process->lock);
    ptrace_get_regs_locked(task, &t->regs);
    t->pending = task->pending.set;
    t->blocked = task->blocked;
    if (process->core)
        list_add_tail(&process->core->threads, &t->node);
    else
        free(t);
    lock_release(&process->lock);
}

/* ---- which memory ------------------------------------------------------------------------- */

/* Shared memory that no file system has under a name: anonymous, memfd_create(2), shmget(2). */
static bool is_nameless(const struct vma_info *vma)
{
    static const char gone[] = " (deleted)";
    char name[4200] = "";
    size_t length;

    if ((vma->marks & VMA_MARK_SHARED_ANON) || !vma->object || !vma->object->ops->name)
        return true;
    vma->object->ops->name(vma->object, name, sizeof(name));
    length = strlen(name);
    return length >= strlen(gone) && strcmp(name + length - strlen(gone), gone) == 0;
}

/* fs/coredump.c:vma_dump_size(), for the kinds of memory that coredump_filter tells. */
static bool is_dumped_whole(const struct vma_info *vma, uint32_t filter)
{
    bool is_file = vma->object && !vma->name;

    if (vma->flags & MAP_SHARED)
        return filter & (is_nameless(vma) ? MM_DUMP_ANON_SHARED : MM_DUMP_MAPPED_SHARED);
    if ((filter & MM_DUMP_ANON_PRIVATE) && (!is_file || vma->anonymous))
        return true;
    return is_file && (filter & MM_DUMP_MAPPED_PRIVATE);
}

static uint64_t dumped_size(const struct vma_info *vma, uint32_t filter)
{
    uint64_t size = vma->end - vma->start;

    if (vma->name && strcmp(vma->name, "[vdso]") == 0)
        return size;
    if ((vma->marks & VMA_MARK_DONTDUMP) || (vma->name && strcmp(vma->name, "[vvar]") == 0))
        return 0;
    if (is_dumped_whole(vma, filter))
        return size;
    if ((vma->flags & MAP_SHARED) || !vma->object || vma->name)
        return 0;
    return (filter & MM_DUMP_ELF_HEADERS) && vma->offset == 0 && (vma->prot & PROT_READ) ? PAGE_SIZE
                                                                                         : 0;
}

static int add_segment(const struct vma_info *vma, void *arg)
{
    struct core *core = arg;
    uint32_t n = core->segment_count;

    if (n == SEGMENTS_MAX)
        return 0;
    if ((n & (n - 1)) == 0) {
        size_t room = MAX((size_t)n * 2, 1UL);
        struct core_segment *segments = realloc(core->segments, room * sizeof(*segments));

        if (!segments)
            return -ENOMEM;
        core->segments = segments;
    }
    core->segments[core->segment_count++] = (struct core_segment){
        .start = vma->start,
        .end = vma->end,
        .dumped = dumped_size(vma, mm_dump_filter(core->task->mm)),
        .prot = vma->prot,
        .flags = vma->flags,
        .offset = vma->offset,
        .object = vma->object && !vma->name ? mappable_ref(vma->object) : NULL,
    };
    return 0;
}

/* ---- the file ----------------------------------------------------------------------------- */

struct out {
    struct file *file;
    int64_t pos;
    uint64_t limit; /* RLIMIT_CORE: nothing is written beyond */
    bool full;
};

static void out_put(struct out *out, const void *data, size_t size)
{
    struct uio uio;

    if (out->full || (uint64_t)out->pos + size > out->limit) {
        out->full = true;
        return;
    }
    uio_init_host(&uio, (void *)data, size);
    while (uio.left > 0 && !out->full) {
        ssize_t n = out->file->ops->write(out->file, &uio, &out->pos);

        out->full = n <= 0;
    }
}

static bool is_empty(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

/* What was never touched stays a hole of the file. */
static void put_pages(struct out *out, struct mm *mm, const struct core_segment *s, uint8_t *chunk)
{
    uint8_t there[CHUNK / PAGE_SIZE];
    int64_t start = out->pos;

    for (uint64_t done = 0; done < s->dumped && !out->full; done += CHUNK) {
        size_t size = MIN(s->dumped - done, (uint64_t)CHUNK);
        uaddr_t addr = s->start + done;
        bool all = s->object || mm_incore(mm, addr, size, there) < 0;

        for (size_t at = 0; at < size; at += PAGE_SIZE) {
            if (!all && !(there[at / PAGE_SIZE] & 1))
                continue;
            if (mm_remote_read(mm, addr + at, chunk, PAGE_SIZE) < PAGE_SIZE ||
                is_empty(chunk, PAGE_SIZE))
                continue;
            out->pos = start + (int64_t)(done + at);
            out_put(out, chunk, PAGE_SIZE);
        }
    }
    out->pos = start + (int64_t)s->dumped;
}

static void put_headers(const struct core *core, size_t notes_size, struct core_buffer *buf)
{
    size_t table = sizeof(Elf64_Ehdr) + (core->segment_count + 1UL) * sizeof(Elf64_Phdr);
    uint64_t offset = round_up(table + notes_size, PAGE_SIZE);
    const Elf64_Ehdr head = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)(core->segment_count + 1),
    };
    const Elf64_Phdr notes = {
        .p_type = PT_NOTE, .p_offset = table, .p_filesz = notes_size, .p_align = 4};

    core_put(buf, &head, sizeof(head));
    core_put(buf, &notes, sizeof(notes));
    for (uint32_t i = 0; i < core->segment_count; i++) {
        const struct core_segment *s = &core->segments[i];
        const Elf64_Phdr ph = {
            .p_type = PT_LOAD,
            .p_flags = (s->prot & PROT_READ ? PF_R : 0U) | (s->prot & PROT_WRITE ? PF_W : 0U) |
                       (s->prot & PROT_EXEC ? PF_X : 0U),
            .p_offset = offset,
            .p_vaddr = s->start,
            .p_filesz = s->dumped,
            .p_memsz = s->end - s->start,
            .p_align = PAGE_SIZE,
        };

        core_put(buf, &ph, sizeof(ph));
        offset += s->dumped;
    }
}

/* The length of what may end with a hole. */
static void settle_size(struct out *out)
{
    if (!out->full && out->file->ops->truncate)
        out->file->ops->truncate(out->file, (uint64_t)out->pos);
}

static bool write_core(struct core *core, struct file *file)
{
    struct out out = {.file = file, .limit = task_rlimit(core->task, RLIMIT_CORE)};
    struct core_buffer notes = {0}, headers = {0};
    uint8_t *chunk = malloc(PAGE_SIZE);
    bool begun = false;

    core_put_notes(core, &notes);
    put_headers(core, notes.size, &headers);
    if (chunk && !notes.failed && !headers.failed) {
        begun = true;
        out_put(&out, headers.bytes, headers.size);
        out_put(&out, notes.bytes, notes.size);
        out.pos = (int64_t)round_up((uint64_t)out.pos, PAGE_SIZE);
        for (uint32_t i = 0; i < core->segment_count && !out.full; i++)
            put_pages(&out, core->task->mm, &core->segments[i], chunk);
        settle_size(&out);
    }
    free(chunk);
    free(notes.bytes);
    free(headers.bytes);
    return begun;
}

/* ---- where it goes ------------------------------------------------------------------------ */

/* Its own, regular, under one name: whoever put something else there shall not get our memory. */
static bool is_safe(const struct task *task, struct file *file)
{
    struct linux_stat st;

    return file_stat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
           seen_uid(path_map(&file->at), st.st_uid) == task->cred->fsuid && file->ops->write;
}

/* What is there under that name goes: nobody who had it open sees our memory. */
static int make_file(struct task *task, const char *name, struct file **ret)
{
    vfs_remove(task->fs, NULL, name, false);
    return vfs_open(task->fs, NULL, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_LARGEFILE,
                    0600, ret);
}

static bool open_and_write(struct core *core)
{
    struct core_name *name = malloc(sizeof(*name));
    struct file *file = NULL;
    bool begun = false;

    if (name && core_make_name(core, name) && make_file(core->task, name->text, &file) == 0) {
        if (is_safe(core->task, file))
            begun = write_core(core, file);
        file_unref(file);
    }
    free(name);
    return begun;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static void drop(struct core *core)
{
    while (!list_empty(&core->threads)) {
        struct core_thread *t = list_first(&core->threads, struct core_thread, node);

        list_del_init(&t->node);
        free(t);
    }
    for (uint32_t i = 0; i < core->segment_count; i++) {
        if (core->segments[i].object)
            mappable_unref(core->segments[i].object);
    }
    free(core->segments);
}

bool core_dump(struct task *task, const siginfo_t *info)
{
    struct process *process = task->process;
    struct core core = {.task = task, .info = info};
    struct core_thread *own = describe_thread(task);
    bool dumped = false;

    if (!own)
        return false;
    list_init(&core.threads);
    list_add_tail(&core.threads, &own->node);
    lock_acquire(&process->lock);
    ptrace_get_regs_locked(task, &own->regs);
    own->pending = task->pending.set;
    own->blocked = task->blocked;
    WRITE_ONCE(process->core, &core);
    lock_release(&process->lock);
    if (exec_end_other_threads(task) == 0 &&
        mm_for_each_vma_usage(task->mm, add_segment, &core) == 0)
        dumped = open_and_write(&core);
    lock_acquire(&process->lock);
    WRITE_ONCE(process->core, NULL);
    lock_release(&process->lock);
    drop(&core);
    return dumped;
}
