/*
 * Call sites that are rewritten: where a system call is a trap (ptrace), the program's
 *
 *     b8 N..    mov  $N, %eax                e9 ..     jmp  entry       ----.
 *     0f 05     syscall               ->     0f 05     syscall              |
 *                                            ...                            |
 *                                      the island, in the last page         |
 *                                      of the text, behind its end:         |
 *                                            movabs $call_entry, %r11  <-.  |
 *                                            jmp    *%r11                |  |
 *                                     entry: mov    $N << 16, %eax       | <'
 *                                            lea    ret(%rip), %rcx      |     ret: behind the
 *                                            jmp    ---------------------'          syscall
 *
 * so that it gets to platform_limits.call_entry (callsite_code.h has the other forms). The
 * instruction itself stays, for whoever jumps to it, or has to make the call once more.
 *
 * Everybody but the program's own processor sees the text as it is: the page map has the object's
 * page, and only what the platform is told is another one. A file's rewritten pages are the same in
 * every process, since all in them is relative.
 *
 *     object   struct callsites: which sites, the page of the island, and of each page with sites
 *              the current version. A version is never changed once it is mapped; the next site
 *              makes a new one. All live as long as the object, so as long as any mapping of it.
 *     VMA      `rewritten`: whether the island's page is mapped as the island, and whether versions
 *              may be mapped. They are from the start where others have found sites of the object
 *              before; else one is when calls from it were seen a few times here, for each costs a
 *              call of the host, and where a page is mapped anew.
 *     mm       call_table: what is known of addresses behind SYSCALL instructions
 *
 * Invariant: where a version is mapped, so is the island or nothing. Hence all versions are
 * forgotten before a VMA is cut (its other part may go) and before something else comes to the
 * island's place, such as a private copy. The island itself stays, for a thread may be inside.
 *
 * Text of which the bytes change is left alone from then on (`retired`).
 *
 * Locks: mm->lock -> struct callsites' -> the memfile's.
 */
#ifndef SENTRY_MM_CALLSITE_H
#define SENTRY_MM_CALLSITE_H

#include "sentry/mm/internal.h"

/* ---- callsite.c: of an object ---- */

struct callsites;

static inline struct callsites *callsites_of(const struct mappable *m)
{
    return __atomic_load_n(&m->callsites, __ATOMIC_SEQ_CST);
}

/* Those of the object, made now if need be. NULL: there are too many, or no memory. */
struct callsites *callsites_get(struct mappable *m, struct memfile *mf);
/* Takes NULL. */
void callsites_free(struct callsites *cs);
/* Its text has changed or is about to. For ever. */
void callsites_retire(struct mappable *m);
bool callsites_are_retired(const struct mappable *m);

enum callsite_state {
    CALLSITE_HOPELESS,  /* never */
    CALLSITE_SEEN,      /* not yet */
    CALLSITE_NO_ISLAND, /* callsites_prepare(), then again */
    CALLSITE_KNOWN,     /* it is rewritten */
};
/*
 * A call of this number came from before `behind` in the object, from a site in the page whose
 * bytes are at `page`: that of SYSCALL's first byte.
 */
enum callsite_state callsites_note(struct callsites *cs, uint64_t behind, uint64_t number,
                                   const uint8_t *page);
/* Makes the island for the text around `offset`, if it can be. Without locks: asks the object. */
void callsites_prepare(struct mappable *m, struct memfile *mf, uaddr_t call_entry, uint64_t offset);
/* The offset of the island's page; UINT64_MAX: there is none. */
uint64_t callsites_island(struct callsites *cs);
/*
 * What to map for `range`, which the object has at `offset`: its first part, as far as it comes
 * from one place. True when that is a version. `versions`: may it be?
 */
bool callsites_choose(struct callsites *cs, uint64_t offset, bool versions,
                      struct memfile_range range, struct memfile_range *ret);
/*
 * A thread is at *rip of the object, with these in rcx and rax (rcx, too, as an offset): where it
 * is once it is taken back to its site. False: it is at no instruction of ours.
 */
bool callsites_undo(struct callsites *cs, uint64_t rcx, uint64_t *rip, uint64_t *rax);
/* Calls fn with the offsets behind the calls that are rewritten in the page at `offset`. */
void callsites_each(struct callsites *cs, uint64_t offset, void (*fn)(void *arg, uint64_t behind),
                    void *arg);

/* ---- callsite_mm.c: of an address space; with mm->lock held ---- */

/*
 * Text that has just been mapped, of which nothing is mapped yet: what others found applies here,
 * if it was mapped by execve or by the program's ELF interpreter. Others may mean to read it, and
 * not to run it: valgrind.
 */
void mm_call_sites_apply(struct mm *mm, struct vma *vma, uaddr_t caller);
/* as_map() for what may be rewritten. */
int mm_call_sites_map(struct mm *mm, uaddr_t addr, uint64_t rights, struct memfile_range range);
/* Unmaps all of the VMA but the island: no version is mapped any more. */
void mm_call_sites_forget(struct mm *mm, struct vma *vma);
/* [start, end) of the VMA becomes something else than the object's pages. */
void mm_call_sites_replaced(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end);
/* Is the page there rewritten, or the island's? */
bool mm_call_sites_are_at(const struct vma *vma, uaddr_t addr);
/* Before `high` vanishes into `low`. */
void mm_call_sites_merge(struct mm *mm, struct vma *low, struct vma *high);
/* What is known of call sites may have become wrong. */
void mm_call_sites_clear(struct mm *mm);
/* May this page of the memfile stay mapped at addr, of which the page map has `entry`? (fork.c) */
bool mm_call_sites_keep(struct mm *mm, struct vma *vma, uaddr_t addr, uint64_t entry, int prot,
                        uint64_t page);

#endif
