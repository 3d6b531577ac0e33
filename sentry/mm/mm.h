/*
 * Guest address spaces: VMAs, and the pages behind them.
 *
 *   struct mm            one per guest address space: VMA tree, page map, platform address space
 *   struct vma           [start, end) with one protection and one backing
 *   page map (pmap)      which memfile page is at which guest page now, and how it may be used;
 *                        the truth from which the platform's page tables are derived
 *   struct mappable      what gives pages to a shared or file mapping (mappable.h)
 *
 * Pages appear on fault, in aligned runs. A private page is written in place when its memfile page
 * has one reference, else copied; so fork only has to raise counts and take write rights away.
 *
 * Lock order: mm->lock, then mappable->mappings_lock, then memfile's. Objects' own locks are never
 * taken under mm->lock: it is released before an object is asked for pages or given back. usercopy
 * and uio take mm->lock themselves and may call get_pages() of anything that is mapped, so callers
 * hold no lock that a get_pages() or release() takes: pin (uio.h) or copy before locking.
 */
#ifndef SENTRY_MM_MM_H
#define SENTRY_MM_MM_H

#include <sys/mman.h>

#include "base/compiler.h"
#include "platform/platform.h"

struct mm;
struct mappable;

/* What all address spaces of a sandbox share; owned by the runtime, outlives every mm. */
struct mm_env {
    struct platform *platform;
    struct memfile *memfile;
    struct platform_limits limits;
};

/* /proc/sys/vm of the sandbox; each field is read and written whole, without a lock. */
enum { MM_OVERCOMMIT_GUESS, MM_OVERCOMMIT_ALWAYS, MM_OVERCOMMIT_NEVER };
struct mm_tunables {
    uint64_t overcommit; /* overcommit_memory: MM_OVERCOMMIT_* */
    uint64_t overcommit_ratio,
        overcommit_kbytes; /* of MM_OVERCOMMIT_NEVER: per cent; kbytes if not 0 */
    uint64_t max_map_count;
};
extern struct mm_tunables mm_tunables;
/* Committed_AS and CommitLimit of /proc/meminfo, in bytes. */
uint64_t mm_committed(void);
uint64_t mm_commit_limit(const struct mm_env *env);

int mm_create(struct mm_env *env, struct mm **ret);
struct mm *mm_ref(struct mm *mm);
bool mm_is_shared(const struct mm *mm); /* with another task, or just being looked into */
struct mm *mm_unref(struct mm *mm); /* takes NULL, returns NULL; the last one unmaps everything */
/*
 * The same in two steps, of which the second takes long and is nobody's business: the mappings end,
 * and all that is held by them; what is left of the last one is returned, for mm_bury(), which
 * gives its pages back. Both take NULL.
 */
struct mm *mm_end(struct mm *mm);
void mm_bury(struct mm *mm);
/* While there is something to bury, for some time: pages are needed. False: there was nothing. */
bool mm_await_burials(void);
/* A copy-on-write twin, for fork. MADV_DONTFORK areas are left out. */
int mm_fork(struct mm *mm, struct mm **ret);
struct address_space *mm_address_space(struct mm *mm);
struct mm_env *mm_environment(struct mm *mm);

struct mm_map_args {
    uaddr_t addr; /* hint, or the place with MAP_FIXED; 0 for anywhere */
    uint64_t size;
    int prot;                /* PROT_READ|WRITE|EXEC */
    int flags;               /* MAP_* of mmap(2), hostile: everything is checked */
    struct mappable *object; /* NULL for anonymous memory; a reference is taken */
    uint64_t offset;         /* into the object, page aligned */
    int max_prot;     /* what mprotect() may grant later: shared mapping of a read-only file */
    const char *name; /* static string for maps: "[stack]", "[vdso]"..., or NULL */
    uaddr_t caller;   /* behind whose SYSCALL; 0: nobody's, the kernel's own (execve) */
};

/* mmap(2): EINVAL, ENOMEM, EEXIST (MAP_FIXED_NOREPLACE), EPERM, EACCES as Linux orders them. */
int mm_map(struct mm *mm, const struct mm_map_args *args, uaddr_t *ret_addr);
int mm_unmap(struct mm *mm, uaddr_t addr, uint64_t size);
/*
 * shmdt(2): unmaps what still is there of the mapping that began at addr with offset 0 of an object
 * that `is` accepts, with its size in bytes. -EINVAL when there is none. Called under mm->lock.
 */
int mm_detach(struct mm *mm, uaddr_t addr, bool (*is)(struct mappable *m, uint64_t *ret_size));
int mm_protect(struct mm *mm, uaddr_t addr, uint64_t size, int prot);
int mm_remap(struct mm *mm, uaddr_t old, uint64_t old_size, uint64_t new_size, int flags,
             uaddr_t new_addr, uaddr_t *ret_addr);
int mm_advise(struct mm *mm, uaddr_t addr, uint64_t size, int advice);
/* mseal(2), but for its flags. */
int mm_seal(struct mm *mm, uaddr_t addr, uint64_t size);
/* remap_file_pages(2), by a mapping of its own for the range, as Linux does since 4.0. */
int mm_remap_file_pages(struct mm *mm, uaddr_t addr, uint64_t size, int prot, uint64_t page,
                        int flags);
int mm_sync(struct mm *mm, uaddr_t addr, uint64_t size, int flags);
/*
 * PR_SET_VMA_ANON_NAME of prctl(2): anonymous memory in the range gets this name, with NULL none.
 * -EINVAL for characters that no name has, -EBADF at memory of a file, -ENOMEM where nothing is
 * mapped (the rest is named all the same), -EAGAIN without memory.
 */
#define MM_LABEL_SIZE 80 /* with its NUL */
int mm_label(struct mm *mm, uaddr_t addr, uint64_t size, const char *name);
/* mlock(2), munlock(2): nothing is ever swapped; makes present, checks ranges, counts VmLck. */
int mm_lock_range(struct mm *mm, uaddr_t addr, uint64_t size, bool lock);
/* mlock2(2) with MLOCK_ONFAULT. */
int mm_lock_on_fault(struct mm *mm, uaddr_t addr, uint64_t size);
/* mlockall(2) with MCL_* flags, munlockall(2). */
int mm_lock_all(struct mm *mm, int flags);
void mm_unlock_all(struct mm *mm);
/* One byte per page, bit 0: a page is there. */
int mm_incore(struct mm *mm, uaddr_t addr, uint64_t size, uint8_t *vec);
/* mmap without a place takes the highest free addresses below this; set by the loader first. */
void mm_set_mmap_base(struct mm *mm, uaddr_t base);
/*
 * ADDR_COMPAT_LAYOUT of personality(2): mappings without a place go up from a third of the address
 * space, `random` pages above it, as they did before Linux 2.6.9. Before the loader begins.
 */
void mm_set_bottom_up(struct mm *mm, uint64_t random);
/* The heap starts here; set by the loader. */
void mm_set_brk_start(struct mm *mm, uaddr_t start);
/* brk(2): the new break, or the unchanged one when refused. */
uaddr_t mm_brk(struct mm *mm, uaddr_t brk);

/*
 * Where memory shall come from: set_mempolicy(2). There is one node, 0, so that policies are kept
 * and told, and steer nothing.
 */
struct mm_policy {
    uint32_t mode;  /* MPOL_* and MPOL_F_*; 0: the default */
    uint64_t nodes; /* bit mask */
};
/* mbind(2): page aligned. -EFAULT at a hole, unless `holes`. -ENOMEM. */
int mm_set_policy(struct mm *mm, uaddr_t start, uaddr_t end, const struct mm_policy *policy,
                  bool holes);
/* -EFAULT where nothing is mapped. */
int mm_get_policy(struct mm *mm, uaddr_t addr, struct mm_policy *ret);
/* set_mempolicy_home_node(2): -ENOENT, -EOPNOTSUPP. */
int mm_set_home_node(struct mm *mm, uaddr_t start, uaddr_t end);
/* The node of the page at addr: 0; -EFAULT where nothing is mapped, -ENOENT without a page. */
int mm_page_node(struct mm *mm, uaddr_t addr);

/* Limits that mmap and brk observe; set from the process's rlimits, in bytes. */
struct mm_limits {
    uint64_t address_space; /* RLIMIT_AS */
    uint64_t data;          /* RLIMIT_DATA */
    uint64_t stack;         /* RLIMIT_STACK: how far a growing stack may grow */
    uint64_t locked;        /* RLIMIT_MEMLOCK; UINT64_MAX with CAP_IPC_LOCK */
};
void mm_set_limits(struct mm *mm, const struct mm_limits *limits);

/*
 * Serves a page fault. 0: the access can be repeated. Otherwise the signal to raise is in
 * ret_signo/ret_code: SIGSEGV with SEGV_MAPERR or SEGV_ACCERR, SIGBUS with BUS_ADRERR (beyond the
 * end of the object) or BUS_OBJERR; and the return value is -EFAULT, or -ENOMEM when the
 * sandbox is out of memory (then SIGKILL is due).
 */
int mm_fault(struct mm *mm, uaddr_t addr, enum access access, int *ret_signo, int *ret_code);

/*
 * After a system call that was a trap, where calls need not be (platform_limits.call_entry): `rip`
 * is behind its instruction. Its site may be rewritten now, or soon (callsite.h). True when it is
 * and was, so that it trapped only because nobody listened.
 */
bool mm_note_call(struct mm *mm, uaddr_t rip, uint64_t number);

/* From now on its text is as it is, for a debugger; what a fork makes of it, too. */
void mm_call_sites_off(struct mm *mm);
/*
 * A signal finds the program there: should that be on the way from a rewritten call site, it is
 * taken back to the site, where the call is about to be made.
 */
void mm_call_site_undo(struct mm *mm, struct cpu_regs *regs);

/* Identity of a futex word, the same for all mappings of one shared page (futex(2)). */
struct mm_futex_key {
    uint64_t object; /* mm or mappable/page identity */
    uint64_t offset;
};
/* -EFAULT when nothing readable is there. `shared` is the absence of FUTEX_PRIVATE_FLAG. */
int mm_futex_key(struct mm *mm, uaddr_t addr, bool shared, struct mm_futex_key *ret_key);

struct mm_stats {
    uint64_t total, resident, data, stack, exec, locked; /* bytes */
    uint64_t peak_total, peak_resident;
};
void mm_get_stats(struct mm *mm, struct mm_stats *ret_stats);
/* What is resident by kind, in bytes, and what page tables of it take. Looks at every page. */
struct mm_resident {
    uint64_t anonymous, file, memory, tables;
};
void mm_get_resident(struct mm *mm, struct mm_resident *ret);

/*
 * What prctl(2) switches for a whole address space, and what forks and execs of it inherit:
 * PR_SET_MDWE, PR_SET_MEMORY_MERGE.
 */
enum mm_trait {
    MM_DENY_WRITE_EXEC = 1 << 0,
    MM_DENY_NOT_INHERITED = 1 << 1,
    MM_MERGE_ANY = 1 << 2,
};
uint32_t mm_traits(const struct mm *mm);
void mm_set_traits(struct mm *mm, uint32_t traits);
/* Sets or clears MM_MERGE_ANY, and marks what is mapped accordingly. */
void mm_set_merge_any(struct mm *mm, bool on);
/* `mm` is for the program that follows on the one in `old`: execve(2). */
void mm_inherit(struct mm *mm, const struct mm *old);

/* Which memory a core file has, /proc/PID/coredump_filter: core(5). */
enum mm_dump {
    MM_DUMP_ANON_PRIVATE = 1 << 0,
    MM_DUMP_ANON_SHARED = 1 << 1,
    MM_DUMP_MAPPED_PRIVATE = 1 << 2,
    MM_DUMP_MAPPED_SHARED = 1 << 3,
    MM_DUMP_ELF_HEADERS = 1 << 4,
    MM_DUMP_ALL = 0x1ff, /* huge pages and DAX too, of which there are none here */
    MM_DUMP_DEFAULT = MM_DUMP_ANON_PRIVATE | MM_DUMP_ANON_SHARED | MM_DUMP_ELF_HEADERS | 1 << 5,
};
uint32_t mm_dump_filter(const struct mm *mm);
void mm_set_dump_filter(struct mm *mm, uint32_t filter);

#define MM_AUXV_MAX 28

/*
 * What execve records for AT_* and /proc, and prctl(PR_SET_MM) changes. `brk` is the break as it
 * is now; only mm_get_layout() fills it.
 */
struct mm_layout {
    uaddr_t code_start, code_end, data_start, data_end, brk_start, brk, stack_start;
    uaddr_t arg_start, arg_end, env_start, env_end, vdso;
    uint64_t auxv[MM_AUXV_MAX * 2]; /* as on the stack, AT_NULL included: /proc/PID/auxv */
    uint32_t auxv_count;            /* pairs */
};
/* For the loader, while nobody else has the mm. */
struct mm_layout *mm_layout(struct mm *mm);
void mm_get_layout(struct mm *mm, struct mm_layout *ret);
/* Takes all of it but the vDSO's place; auxv_count becomes what leads to the first AT_NULL. */
void mm_set_layout(struct mm *mm, const struct mm_layout *layout);

/* What madvise(2) and its like have said of a VMA; in the order of VmFlags. */
enum vma_mark {
    VMA_MARK_SEQUENTIAL = 1,
    VMA_MARK_RANDOM = 2,
    VMA_MARK_DONTFORK = 4,
    VMA_MARK_WIPEONFORK = 8,
    VMA_MARK_DONTDUMP = 16,
    VMA_MARK_HUGEPAGE = 32,
    VMA_MARK_NOHUGEPAGE = 64,
    VMA_MARK_MERGEABLE = 128,
    VMA_MARK_USERFAULT_MISSING = 256,
    VMA_MARK_USERFAULT_WP = 512,
    VMA_MARK_USERFAULT_MINOR = 1024,
    VMA_MARK_SEALED = 2048,
    VMA_MARK_SHARED_ANON = 4096, /* MAP_SHARED without a file; nothing in VmFlags */
};
/* Calls fn for each VMA in address order, under mm->lock: fn must not call back into mm. */
struct vma_info {
    uaddr_t start, end;
    int prot, flags;
    const char *label; /* what the program calls it, or NULL */
    uint64_t offset;
    const char *name;
    struct mappable *object;
    int max_prot;
    unsigned marks; /* enum vma_mark */
    struct mm_policy policy;
    /* Bytes that are mapped, and of them private pages; counted by mm_for_each_vma_usage() alone.
     */
    uint64_t resident, anonymous;
};
typedef int (*mm_vma_fn)(const struct vma_info *vma, void *arg);
int mm_for_each_vma(struct mm *mm, mm_vma_fn fn, void *arg);
int mm_for_each_vma_usage(struct mm *mm, mm_vma_fn fn, void *arg);
/*
 * The entries of /proc/PID/pagemap for `count` pages from addr on: MM_PAGE_* bits. Frame numbers
 * are not told, as to anybody without privileges over the machine.
 */
#define MM_PAGE_PRESENT   (1UL << 63)
#define MM_PAGE_PROTECTED (1UL << 57) /* by a userfaultfd */
#define MM_PAGE_OF_OBJECT (1UL << 61) /* a file's, or shared memory's */
void mm_pagemap(struct mm *mm, uaddr_t addr, size_t count, uint64_t *entries);

/* Linux PAGE_IS_*, of which a page has some (Documentation/admin-guide/mm/pagemap.rst). */
enum mm_page_category {
    MM_PAGE_MAY_PROTECT = 1, /* WPALLOWED: a userfaultfd does it, without asking at writes */
    MM_PAGE_WRITTEN = 2,     /* not protected so, or not any more */
    MM_PAGE_FILE = 4,
    MM_PAGE_THERE = 8,
    MM_PAGE_SWAPPED = 16, /* a mark in the place of a page */
    MM_PAGE_GUARD = 256,
    MM_PAGE_CATEGORIES = 511,
};

struct mm_scan_region {
    uaddr_t start, end;
    uint64_t categories;
};

/* A scan for pages of some categories, in steps. */
#define MM_SCAN_REGIONS 64
struct mm_scan {
    uaddr_t at, end;                       /* whole pages; `at` moves */
    uint64_t inverted, mask, any_of, told; /* as in struct pm_scan_arg */
    bool keeps;                            /* what is found is told, not only protected */
    bool protects, checks;                 /* PM_SCAN_WP_MATCHING, PM_SCAN_CHECK_WPASYNC */
    uint64_t pages;                        /* so many more are wanted */
    uint32_t count, room;                  /* regions that were found, and may be */
    struct mm_scan_region region[MM_SCAN_REGIONS];
};
/*
 * 1: it has come to the end. 0: not yet, call again. -ENOSPC: at `at` is one for which there is no
 * room, or that is not wanted any more. -EPERM (`checks`), -ENOMEM.
 */
int mm_scan(struct mm *mm, struct mm_scan *scan);

#endif
