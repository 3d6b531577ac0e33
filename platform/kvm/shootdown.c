/*
 * Taking rights away from vCPUs that may be running.
 *
 * The page tables are ours to change, but what the CPU (or a KVM without nested paging, in its
 * shadow tables) remembers of them is not: stores from outside the guest are not noticed. What all
 * of them do notice is the *backing* going away: emptying the range in the mapping that the memory
 * slot names makes the kernel's MMU notifier tell KVM, which forgets every translation of those
 * pages on every vCPU before madvise(2) returns. The memfd keeps the bytes. The price: other
 * mappings of the same pages fault once more, inside KVM.
 *
 * settle() is the wider one: KVM forgets all translations and all it knows of page tables whenever
 * a slot is removed, so a spare one comes and goes.
 */
#include <sys/mman.h>

#include "base/bug.h"
#include "host/kvm.h"
#include "host/memory.h"
#include "platform/kvm/internal.h"

static int set_spare_slot(struct kvm_platform *p, uint64_t size)
{
    struct kvm_userspace_memory_region region = {
        .slot = SLOT_SPARE,
        .guest_phys_addr = SPARE_GPA,
        .memory_size = size,
        .userspace_addr = (uint64_t)p->spare_page,
    };

    return host_kvm_ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

void settle(struct kvm_platform *p)
{
    int err;

    lock_acquire(&p->settle_lock);
    err = set_spare_slot(p, PAGE_SIZE);
    if (!err)
        err = set_spare_slot(p, 0);
    /* Going on would let programs see memory that is no longer theirs. */
    if (err)
        BUG("KVM does not remove a memory slot: error %d", -err);
    __atomic_fetch_add(&p->generation, 1, __ATOMIC_ACQ_REL);
    lock_release(&p->settle_lock);
}

void shootdown(struct kvm_platform *p, const struct pagetable_drops *drops)
{
    if (drops->all) {
        settle(p);
        return;
    }
    for (unsigned int i = 0; i < drops->count; i++) {
        uint64_t offset = drops->runs[i].gpa - MEMFILE_GPA, size = drops->runs[i].size;
        int err;

        BUG_ON(offset > p->memfile_limit || size > p->memfile_limit - offset);
        err = host_madvise(p->view + offset, size, MADV_DONTNEED);
        if (err)
            BUG("dropping %#lx bytes of guest memory: error %d", size, -err);
    }
}
