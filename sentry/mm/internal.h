/*
 * Inside the memory manager: struct mm, struct vma and what its files offer each other.
 *
 *   mmap.c protect.c remap.c brk.c advise.c ...   the calls: they change VMAs
 *   vma.c      the tree of VMAs: find, gap, split, merge
 *   pages.c    the only code that changes page map and platform together
 *   fault.c    brings pages in
 *
 * Invariants, whenever mm->lock is free:
 *   - an entry of the page map lies in a VMA and holds one reference on its memfile page;
 *   - its rights are what the platform has mapped there, and never more than the VMA grants;
 *   - write is only among them when nobody else may see the page, or all shall see the write.
 *
 * What an operation let go (VMAs, pages) is collected in `struct trash` and given back after the
 * lock is released: releasing an object may take locks under which others copy user memory.
 */
#ifndef SENTRY_MM_INTERNAL_H
#define SENTRY_MM_INTERNAL_H

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/pmap.h"
#include "sentry/mm/userfault.h"

struct vma;
void vma_augment(struct vma *vma);
#define RB_AUGMENT(vma) vma_augment(vma)
#include <bsd/sys/tree.h>

#define STACK_GUARD_GAP (256UL << 12) /* bytes, kernel parameter stack_guard_gap */
#define MMAP_MIN_ADDR   65536UL       /* vm.mmap_min_addr */

/* Each guard page costs an entry: 4 GiB of them are 8 MiB of the Sentry's memory. */
#define GUARD_MAX_PAGES (1UL << 20)

enum vma_flags {
    VMA_SHARED = 1 << 0,
    VMA_GROWSDOWN = 1 << 1,
    VMA_NORESERVE = 1 << 2,
    VMA_LOCKED = 1 << 3,
    VMA_LOCKONFAULT = 1 << 4,
    VMA_DONTFORK = 1 << 5,
    VMA_WIPEONFORK = 1 << 6,
    VMA_DONTDUMP = 1 << 7,
    VMA_HUGEPAGE = 1 << 8,
    VMA_NOHUGEPAGE = 1 << 9,
    VMA_SEQUENTIAL = 1 << 10,
    VMA_RANDOM = 1 << 11,
    VMA_DROPPABLE = 1 << 12,
    VMA_MERGEABLE = 1 << 13,
    VMA_SEALED = 1 << 14,      /* mseal(2) */
    VMA_SHARED_ANON = 1 << 15, /* MAP_SHARED without a file */
};

/* What may be mapped instead of the object's pages (callsite.h). */
enum vma_rewritten {
    VMA_ORIGINAL,
    VMA_ISLAND,   /* the island is, if its page is mapped at all */
    VMA_VERSIONS, /* and pages with rewritten calls may be */
};

struct vma {
    RB_ENTRY(vma) node;
    uaddr_t start, end;
    /* Of the subtree from here down: its span, and the largest free gap between two of its VMAs. */
    uaddr_t tree_start, tree_end;
    uint64_t tree_gap;

    struct mm *mm;           /* borrowed: owns this */
    struct mappable *object; /* owned reference; NULL: anonymous and private */
    uint64_t offset;         /* of `start` in the object, bytes */
    const char *name;        /* static string or NULL */
    struct vma_label *label; /* owned reference: what the program calls it (label.c), or NULL */
    uint32_t flags;          /* enum vma_flags */
    uint8_t prot, max_prot;
    uint8_t userfault_modes;        /* MM_UFFD_* */
    uint8_t rewritten;              /* enum vma_rewritten */
    struct mm_policy policy;        /* mbind(2) */
    struct mm_userfault *userfault; /* owned reference; who gets the faults, or NULL */

    /* A run of faults in ascending order makes the next runs larger (fault.c). */
    uaddr_t fault_next;
    uint64_t fault_window;

    struct list object_node; /* in object->mappings, under object->mappings_lock */
    uint64_t served;         /* the last mappable_invalidate() that saw it; same lock */
    struct vma *next_trash;
};

RB_HEAD(vma_tree, vma);

/*
 * Pages that were copied on write after a fork, in this address space or a relative that fork made:
 * the next fork copies them at once, for parent and child will most likely both write to them
 * again (the stack, what libc keeps of the process), and each fault costs more than the copy.
 * Only a hint: anyone reads and writes it at any time.
 */
#define HOT_PAGES 16
struct hot_pages {
    refcount_t refs;
    uint32_t next;           /* atomic */
    uaddr_t page[HOT_PAGES]; /* atomic; 0: free */
};

struct mm {
    refcount_t refs;
    uint64_t id; /* never used by another mm or mappable: futex keys */
    struct mm_env *env;
    struct address_space *as;
    struct mm_layout layout;

    struct lock lock; /* guards what follows */
    struct vma_tree vmas;
    uint32_t vma_count;
    struct vma *vma_cache; /* what vma_find() found last */
    struct pmap pmap;
    struct hot_pages *hot;  /* owned reference, from the first fork on */
    struct list userfaults; /* struct mm_userfault that are tied to this */
    struct list pins;       /* uio_pin of which the host may be writing into the pages */
    bool calls_rewritten;   /* atomic: a VMA is, or was, not VMA_ORIGINAL */
    bool calls_untouched;   /* none is to be: a debugger looks */
    uint64_t *call_table;   /* owned; atomic: set once, its words written under the lock */
    uaddr_t mmap_base, brk_start, brk;
    uaddr_t bottom_up; /* where mappings begin that go upwards; 0: they go down */
    struct mm_limits limits;
    struct mm_stats stats; /* all but .resident are kept up to date */
    uint32_t future_flags; /* mlockall(MCL_FUTURE): VMA_LOCKED and VMA_LOCKONFAULT for new VMAs */
    uint32_t traits;       /* atomic: enum mm_trait */
    uint32_t dump_filter;  /* atomic: MM_DUMP_* */
};

#define TRASH_RANGES 16
struct trash {
    struct vma *vmas;
    uint32_t count;
    struct memfile_range ranges[TRASH_RANGES];
    struct mm_userfault_event *events; /* to be told when the lock is released, oldest first */
};
#define TRASH_INIT                                                                                 \
    {                                                                                              \
        .vmas = NULL, .count = 0, .events = NULL                                                   \
    }

/* Memory that others must not reach by ptrace(2) and its like. */
static inline bool vma_is_secret(const struct vma *vma)
{
    return vma->object && vma->object->kind == MAPPABLE_SECRET;
}

static inline bool vma_is_private(const struct vma *vma)
{
    return !(vma->flags & VMA_SHARED);
}

/* What the CPU gives for PROT_* bits: write and execute imply read (there are no pkeys here). */
static inline uint64_t prot_rights(int prot)
{
    return prot ? (uint64_t)prot | PROT_READ : 0;
}

static inline uint64_t vma_offset_of(const struct vma *vma, uaddr_t addr)
{
    return vma->offset + (addr - vma->start);
}

/* ---- mm.c ---- */

/* `like`: as for platform_ops.as_create(). */
int mm_create_like(struct mm_env *env, struct address_space *like, struct mm **ret);

/* ---- label.c ---- */

struct vma_label {
    refcount_t refs;
    char text[MM_LABEL_SIZE];
};
struct vma_label *vma_label_ref(struct vma_label *label);   /* takes NULL */
struct vma_label *vma_label_unref(struct vma_label *label); /* takes NULL, returns NULL */
bool vma_labels_equal(const struct vma_label *a, const struct vma_label *b);

/* ---- traits.c ---- */

/* PR_SET_MDWE: what must not become executable; `old` and `new`: PROT_*. */
bool mm_denies_exec(const struct mm *mm, int old, int new);
/* May equal pages of it be merged? Not that any ever are. */
bool vma_is_mergeable(uint32_t flags);
/* What the mm's traits make of the flags of a new VMA. */
uint32_t mm_new_flags(const struct mm *mm, uint32_t flags);

/* ---- vma.c; all with mm->lock held ---- */

/* The first VMA that ends above addr, or NULL. */
struct vma *vma_find(struct mm *mm, uaddr_t addr);
/* The VMA that contains addr, or NULL. */
struct vma *vma_at(struct mm *mm, uaddr_t addr);
/* Is there an address in [start, end) that no VMA contains? */
bool vma_hole_in(struct mm *mm, uaddr_t start, uaddr_t end);
struct vma *vma_next(struct vma *vma);
struct vma *vma_prev(struct vma *vma);
struct vma *vma_first(struct mm *mm);
/* Does any VMA overlap [start, end)? */
bool vma_overlaps(struct mm *mm, uaddr_t start, uaddr_t end);
/* A copy of `like` that is in no tree, with an object reference of its own; NULL: no memory. */
struct vma *vma_new(struct mm *mm, const struct vma *like);
/* Gives back a VMA that is in no tree; its object must have another reference. */
void vma_free(struct vma *vma);
/* Puts it into the tree and the statistics. */
void vma_insert(struct mm *mm, struct vma *vma);
/* Takes it out of tree and statistics, into the trash. */
void vma_remove(struct mm *mm, struct vma *vma, struct trash *trash);
/* Moves the borders; the caller knows that no neighbour is in the way. */
void vma_resize(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end);
/* Changes prot and flags, keeping the statistics right. */
void vma_change(struct mm *mm, struct vma *vma, int prot, uint32_t flags);
/* Gives [start, end), a part of it, these flags: splits and merges. -ENOMEM. */
int vma_set_flags(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end, uint32_t flags);
/* Cuts off what lies outside of [start, end), a part of it: the part, or NULL (ENOMEM). */
struct vma *vma_isolate(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end);
/* Cuts it in two at addr; returns the upper part. NULL: no memory, nothing changed. */
struct vma *vma_split(struct mm *mm, struct vma *vma, uaddr_t addr);
/* Cuts so that no VMA crosses start or end. -ENOMEM also when there would be too many VMAs. */
int vma_split_range(struct mm *mm, uaddr_t start, uaddr_t end);
/* Joins it with equal neighbours; returns what it became. */
struct vma *vma_merge(struct mm *mm, struct vma *vma);
/* The highest (or lowest) free `size` bytes, a multiple of `align`, within [low, high). */
int vma_gap_below(struct mm *mm, uint64_t size, uint64_t align, uaddr_t low, uaddr_t high,
                  uaddr_t *ret_addr);
int vma_gap_above(struct mm *mm, uint64_t size, uint64_t align, uaddr_t low, uaddr_t high,
                  uaddr_t *ret_addr);
/* RLIMIT_AS and RLIMIT_DATA allow `size` more bytes of such memory? */
bool mm_may_expand(struct mm *mm, int prot, uint32_t flags, uint64_t size);
bool vma_is_data(int prot, uint32_t flags);

/* ---- commit.c ---- */

/* May `size` more bytes of such memory be promised? */
bool mm_may_commit(struct mm *mm, int prot, uint32_t flags, uint64_t size);
/* They are; `size` may be a negative number in two's complement. */
void mm_commit(int prot, uint32_t flags, uint64_t size);
uint64_t mm_max_map_count(void);
static inline bool mm_overcommits(void)
{
    return __atomic_load_n(&mm_tunables.overcommit, __ATOMIC_RELAXED) != MM_OVERCOMMIT_NEVER;
}

/* ---- mmap.c ---- */

/* munmap without its checks: page aligned. */
int mm_unmap_locked(struct mm *mm, uaddr_t start, uaddr_t end, struct trash *trash);
/* get_unmapped_area(): MAP_FIXED only checks. `huge`: prefers 2 MiB alignment. */
int mm_place(struct mm *mm, uaddr_t addr, uint64_t size, int flags, bool huge, uaddr_t *ret_addr);
/* RLIMIT_MEMLOCK allows `size` more locked bytes under these flags? */
bool mm_may_lock(struct mm *mm, uint32_t flags, uint64_t size);

/* ---- pages.c; with mm->lock held ---- */

/* Forgets the pages of [start, end): platform, then map, references into the trash. */
enum zap_kind {
    ZAP_ALL,    /* guards too: the VMA goes */
    ZAP_PAGES,  /* guards stay */
    ZAP_OBJECT, /* only the object's pages, not private copies */
};
void mm_zap(struct mm *mm, uaddr_t start, uaddr_t end, enum zap_kind kind, struct trash *trash);
/* Maps what the page map already holds in [addr, addr+size), one run, with these rights. */
int mm_platform_map(struct mm *mm, uaddr_t addr, uint64_t rights, struct memfile_range range);
void mm_platform_unmap(struct mm *mm, uaddr_t start, uaddr_t end);
/* Computes each entry of [start, end) anew, and brings the platform in line. */
typedef uint64_t (*mm_entry_fn)(struct mm *mm, const struct vma *vma, uaddr_t addr, uint64_t entry,
                                void *arg);
void mm_rewrite(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end, mm_entry_fn fn,
                void *arg);
/* The rights that the VMA and the state of the page allow without copying or asking anyone. */
uint64_t mm_entry_rights(const struct vma *vma, uint64_t entry);
/* Clears PMAP_COW where nobody else holds the page any more. */
uint64_t mm_entry_settle(struct mm *mm, uint64_t entry);

void trash_add_range(struct mm *mm, struct trash *trash, struct memfile_range range);
/* Releases mm->lock, then gives back what the trash holds, and tells its events: that may sleep. */
void mm_unlock(struct mm *mm, struct trash *trash) __releases(mm->lock);
/* The second half of it. */
void mm_free_trash(struct mm *mm, struct trash *trash);
/*
 * Several changes for one call: between the two the platform may put off what takes mappings away
 * (as_gather). Before pages that were mapped go, mm_settle(): trash does so by itself.
 */
void mm_gather(struct mm *mm, bool on);
void mm_settle(struct mm *mm);
/* The program will not look at what this call maps before its next call (as_defer). */
void mm_defer(struct mm *mm);

/* ---- fault.c ---- */

struct fault_info {
    int signo, code;
};
/*
 * As mm_fault(), with mm->lock held; it may be released and taken again, so VMAs found before may
 * be gone. `want_size` > 0: the caller will touch that much from addr on (populate).
 */
int mm_fault_locked(struct mm *mm, uaddr_t addr, enum access access, uint64_t want_size,
                    struct fault_info *ret_info) __must_hold(mm->lock);
/*
 * New anonymous memory, so little that the program is sure to touch it at once: spares the fault.
 * Costs the host nothing until then, unless it is `all` to be touched. Does nothing where that is
 * not so.
 */
#define MM_ANTICIPATE_MAX (256UL << 10)
#define MM_ANTICIPATE_MAP (64UL << 10) /* of a new mapping */
void mm_anticipate(struct mm *mm, uaddr_t start, uint64_t size, bool all) __must_hold(mm->lock);
/*
 * A part of a program or library was mapped at `addr`, or a small file: what it has in memory
 * already comes at once, where that is cheaper than the faults it spares. `caller` as in struct
 * mm_map_args. Takes mm->lock.
 */
/* Did the program's ELF interpreter make that call? With mm->lock held. */
bool mm_is_loader(struct mm *mm, uaddr_t caller) __must_hold(mm->lock);
#define MM_AHEAD_SMALL (64UL << 10) /* copied as a whole, if it may be written */
#define MM_AHEAD_MAX   (4UL << 20)
void mm_map_ahead(struct mm *mm, uaddr_t addr, uaddr_t caller);
/* What a debugger may do: brings the page in whatever the VMA's protection is (remote.c). */
int mm_fault_forced_locked(struct mm *mm, uaddr_t addr, bool write) __must_hold(mm->lock);
/* A private page that others see too: it is copied before it is written. */
bool mm_entry_needs_copy(struct mm *mm, uint64_t entry) __must_hold(mm->lock);
/*
 * Maps the pages of [start, end) that are in the page map but not, or not fully, in the platform,
 * in at most *calls calls, which are counted down; with `only`, those that get just these rights.
 */
int mm_map_present(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end, uint64_t only,
                   unsigned int *calls);
/* ---- fetch.c ---- */

#define FAULT_AROUND  HUGE_PAGE_SIZE /* what is there anyway comes along from this far */
#define OBJECT_AROUND (64UL << 10)   /* read in at once, around the fault */
/*
 * Gets the page, which the map does not have or not for writing, from the VMA's object. 0:
 * something may have changed, look again. -ENOMEM, or -EFAULT for what the object has not (SIGBUS).
 * Releases mm->lock in between.
 */
int mm_fetch_object(struct mm *mm, struct vma *vma, uaddr_t page, bool write) __must_hold(mm->lock);

/* ---- hot.c ---- */

struct hot_pages *hot_pages_create(void); /* NULL: no memory */
struct hot_pages *hot_pages_ref(struct hot_pages *hot);
struct hot_pages *hot_pages_unref(struct hot_pages *hot); /* takes NULL, returns NULL */
void hot_pages_note(struct hot_pages *hot, uaddr_t page);
bool hot_pages_has(const struct hot_pages *hot, uaddr_t page);

/* ---- fork.c ---- */

/* Is the host just now reading data into this memfile page, on behalf of one of mm's tasks? */
bool mm_page_is_pinned(struct mm *mm, uint64_t offset) __must_hold(mm->lock);

/* ---- userfault.c ---- */

/* The address space goes: says so to all of mm->userfaults; mm->lock held. */
void mm_userfaults_untie(struct mm *mm);
/*
 * Waits for the answer of who has registered the VMA; releases mm->lock in between. 0: look again.
 * -EINTR: a signal ended the program's own access. -EFAULT: nobody answers.
 */
int mm_userfault_ask(struct mm *mm, struct vma *vma, uaddr_t addr, enum access access, bool user,
                     uint64_t flags) __must_hold(mm->lock);

/* 0; -ENOENT: nobody has registered it, -EAGAIN: an event is under way. `vma` may be NULL. */
int mm_userfault_check(const struct vma *vma);
void mm_userfault_tie_locked(struct mm_userfault *u, struct mm *mm) __must_hold(mm->lock);

/* ---- userfault_event.c ---- */

/*
 * The pages of [start, end) are about to be taken from the VMA: whoever wants that is told first.
 * True: the lock was released meanwhile, and the trash given back.
 */
bool mm_userfault_remove(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end,
                         struct trash *trash) __must_hold(mm->lock);
/* [start, end) is to be unmapped: notes who will be told. -ENOMEM. */
int mm_userfault_note_unmap(struct mm *mm, uaddr_t start, uaddr_t end, struct trash *trash)
    __must_hold(mm->lock);
/* A part of the VMA moves: 1 when it is to be watched there as well, else 0; -ENOMEM. */
int mm_userfault_note_remap(const struct vma *vma, uaddr_t from, uint64_t size, uaddr_t to,
                            struct trash *trash);
/* Who watches `vma` watches its copy in a child, or nobody does. -ENOMEM. Both locks are held. */
int mm_userfault_fork(const struct vma *vma, struct vma *copy, struct mm_userfault_event **events);
/* Without the lock. Tells them one after the other and frees them; or frees them untold. */
void mm_userfault_deliver(struct mm_userfault_event *events);
void mm_userfault_drop(struct mm_userfault_event *events);

/* ---- userfault_shmem.c; with mm->lock held ---- */

/*
 * A fault of a watched VMA of shared memory at a page that is not in the map. 0: it is now.
 * -EAGAIN: ask, with *ret_flags (UFFD_PAGEFAULT_FLAG_*). -EFAULT: there is none. -ENOMEM.
 */
int mm_userfault_take(struct mm *mm, struct vma *vma, uaddr_t page, uint64_t *ret_flags);
/* A new page for the object, mapped there as well; takes two references. -EEXIST, -EFAULT... */
int mm_userfault_insert(struct mm *mm, const struct vma *vma, uaddr_t addr,
                        struct memfile_range page, bool protect);

/* ---- userfault_wp.c; with mm->lock held, ranges within the VMA ---- */

int mm_userfault_protect_vma(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end);
void mm_userfault_unprotect(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end);
/* The entry at `addr`, which is PMAP_UFFD_WP, goes, but not its VMA: what is there then. */
uint64_t mm_userfault_left_behind(struct mm *mm, uaddr_t addr);
/* UFFD_FEATURE_WP_ASYNC: nobody is asked. 0: look again. */
int mm_userfault_let_write(struct mm *mm, uaddr_t page);

/* ---- populate.c; without the lock ---- */

/*
 * Makes all of [start, end) present. What cannot be ends it with -EFAULT or -ENOMEM, or with
 * `ignore_errors` skips the rest of that VMA.
 */
int mm_populate(struct mm *mm, uaddr_t start, uaddr_t end, bool ignore_errors);
/* For this access: -EINVAL where a VMA forbids it, -ENOMEM at a hole, -EFAULT (SIGBUS). */
int mm_populate_for(struct mm *mm, uaddr_t start, uaddr_t end, enum access access);

#endif
