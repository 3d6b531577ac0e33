/*
 * Guest-physical memory.
 *
 *   0 ........... tables.limit      page tables and vCPU areas, memory of the VMM's own
 *   SPARE_GPA                       a slot that comes and goes: settle()
 *   MEMFILE_GPA + offset            the memfile, as far as it has grown
 *
 * Slots cost the host a little per page, so they follow the growth: the memfile grows in large
 * steps, one slot each, and the tables double. KVM gets a mapping of the memfile of its own
 * (`view`): shootdown() empties it without taking the Sentry's mapping along.
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/bug.h"
#include "base/log.h"
#include "host/kvm.h"
#include "host/memory.h"
#include "platform/kvm/internal.h"

#define TABLES_FIRST (1UL << 20)
#define TABLES_MIN   (64UL << 20)  /* of address space; memory comes with use */
#define TABLES_MAX   (512UL << 20) /* a hostile program can fill this much, so it is bounded */

static int add_slot(struct kvm_platform *p, unsigned int slot, uint64_t gpa, uint64_t size,
                    void *memory)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uint64_t)memory,
    };

    return host_kvm_ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static int on_memfile_grow(void *arg, uint64_t old_extent, uint64_t extent)
{
    struct kvm_platform *p = arg;
    int err = add_slot(p, p->memfile_slot, MEMFILE_GPA + old_extent, extent - old_extent,
                       p->view + old_extent);

    if (err)
        return err;
    p->memfile_slot++;
    return 0;
}

static int grow_tables(struct kvm_platform *p) __must_hold(p->table_lock)
{
    struct table_memory *t = &p->tables;
    uint64_t extent = MIN(t->extent ? t->extent * 2 : TABLES_FIRST, t->limit);
    int err;

    if (t->extent == t->limit || t->slot == SLOT_MEMFILE)
        return -ENOMEM;
    err = add_slot(p, t->slot, t->extent, extent - t->extent, t->base + t->extent);
    if (err) {
        log_warning("kvm: memory for page tables cannot grow: error %d", -err);
        return -ENOMEM;
    }
    t->slot++;
    t->extent = extent;
    return 0;
}

static int table_alloc_locked(struct kvm_platform *p, uint64_t *ret_gpa) __must_hold(p->table_lock)
{
    struct table_memory *t = &p->tables;

    if (t->free_list) {
        uint64_t *page = table_ptr(p, t->free_list);

        *ret_gpa = t->free_list;
        t->free_list = page[0];
        t->free_count--;
        page[0] = 0;
        return 0;
    }
    if (t->next == t->extent) {
        int err = grow_tables(p);

        if (err)
            return err;
    }
    *ret_gpa = t->next;
    t->next += PAGE_SIZE;
    return 0;
}

int table_alloc(struct kvm_platform *p, uint64_t *ret_gpa)
{
    int err;

    lock_acquire(&p->table_lock);
    err = table_alloc_locked(p, ret_gpa);
    lock_release(&p->table_lock);
    return err;
}

void table_free(struct kvm_platform *p, uint64_t gpa)
{
    uint64_t *page = table_ptr(p, gpa);

    lock_acquire(&p->table_lock);
    page[0] = p->tables.free_list;
    p->tables.free_list = gpa;
    p->tables.free_count++;
    lock_release(&p->table_lock);
}

static int pt_alloc(void *arg, uint64_t *ret_gpa)
{
    return table_alloc(arg, ret_gpa);
}

static void pt_free(void *arg, uint64_t gpa)
{
    table_free(arg, gpa);
}

static void pt_settle(void *arg)
{
    settle(arg);
}

static uint64_t pt_generation(void *arg)
{
    struct kvm_platform *p = arg;

    return __atomic_load_n(&p->generation, __ATOMIC_ACQUIRE);
}

/* The memfile's slots must end below what the guest's CPU can address. */
static int check_physical_bits(struct kvm_platform *p)
{
    unsigned int bits = 36;

    for (uint32_t i = 0; i < p->cpuid->nent; i++) {
        if (p->cpuid->entries[i].function == 0x80000008)
            bits = p->cpuid->entries[i].eax & 0xff;
    }
    if (MEMFILE_GPA + p->memfile_limit > 1UL << bits) {
        platform_blame(p, "%lu MiB of guest memory do not fit into %u physical address bits",
                       p->memfile_limit >> 20, bits);
        return -E2BIG;
    }
    return 0;
}

/* Of pt_memory.used: a number for each page that may become a table. */
static uint64_t used_size(const struct kvm_platform *p)
{
    return round_up(p->tables.limit / PAGE_SIZE * sizeof(uint16_t), PAGE_SIZE);
}

int slots_init(struct kvm_platform *p, struct memfile *mf)
{
    struct memfile_stats stats;
    void *base, *view, *used;
    int err;

    memfile_get_stats(mf, &stats);
    p->memfile = mf;
    p->memfile_limit = stats.limit;
    p->memfile_slot = SLOT_MEMFILE;
    err = check_physical_bits(p);
    if (err)
        return err;
    p->tables.limit = round_down(MIN(TABLES_MIN + stats.limit / 64, TABLES_MAX), PAGE_SIZE);
    p->tables.next = PAGE_SIZE; /* page 0 stays empty: guest-physical 0 means "none" */
    p->tables.slot = SLOT_TABLES;
    err = host_mmap(NULL, p->tables.limit + PAGE_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &base);
    if (err)
        return err;
    /* Few pages of it are touched: huge ones would only be waste. */
    host_madvise(base, p->tables.limit, MADV_NOHUGEPAGE);
    p->tables.base = base;
    p->spare_page = p->tables.base + p->tables.limit;
    err = host_mmap(NULL, used_size(p), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &used);
    if (err)
        return err;
    p->pt_memory = (struct pagetable_memory){
        .base = base,
        .used = used,
        .arg = p,
        .large = host_kvm_nested_paging(),
        .alloc = pt_alloc,
        .free = pt_free,
        .settle = pt_settle,
        .generation = pt_generation,
    };
    p->generation = 1;
    err = host_mmap(NULL, p->memfile_limit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                    memfile_fd(mf), 0, &view);
    if (err)
        return err;
    p->view = view;
    lock_acquire(&p->table_lock);
    err = grow_tables(p);
    lock_release(&p->table_lock);
    if (err)
        return err;
    if (stats.extent) {
        err = on_memfile_grow(p, 0, stats.extent);
        if (err)
            return err;
    }
    memfile_set_grow(mf, on_memfile_grow, p);
    return 0;
}

void slots_destroy(struct kvm_platform *p)
{
    if (p->view) {
        memfile_set_grow(p->memfile, NULL, NULL);
        host_munmap(p->view, p->memfile_limit);
    }
    if (p->pt_memory.used)
        host_munmap(p->pt_memory.used, used_size(p));
    if (p->tables.base)
        host_munmap(p->tables.base, p->tables.limit + PAGE_SIZE);
}
