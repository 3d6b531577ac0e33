/*
 * What all vCPUs share in the guest (code page, IDT, the tree that maps ring 0's region), and the
 * question of which kind of host this is.
 *
 * The answer: a program of one SYSCALL runs on vCPU 0, LSTAR leads to an `out`, and the privilege
 * level at that exit tells. Everything that depends on the kind is set up afterwards.
 */
#include <errno.h>
#include <string.h>

#include "host/kvm.h"
#include "platform/kvm/internal.h"
#include "ring0/code.h"
#include "ring0/tables.h"

#define LINK        (PTE_PRESENT | PTE_WRITE | PTE_USER)

#define PROBE_ENTRY 0x10 /* offset in the probe's page where LSTAR leads */
static const uint8_t probe_program[] = {0x0f, 0x05};               /* syscall */
static const uint8_t probe_out[] = {0xe6, PORT_PROBE, 0xeb, 0xfc}; /* 1: out %al, $port; jmp 1b */

int ring0_map(struct kvm_platform *p, uint64_t va, uint64_t gpa, uint64_t flags)
{
    uint64_t *table = table_ptr(p, p->ring0_table), *entry, below;
    int err;

    for (unsigned int shift = 30; shift > PAGE_SHIFT; shift -= 9) {
        entry = &table[va >> shift & 511];
        if (!(*entry & PTE_PRESENT)) {
            err = table_alloc(p, &below);
            if (err)
                return err;
            __atomic_store_n(entry, below | LINK, __ATOMIC_RELEASE);
        }
        table = table_ptr(p, *entry & PTE_ADDRESS);
    }
    entry = &table[va >> PAGE_SHIFT & 511];
    __atomic_store_n(entry, gpa | flags | PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY, __ATOMIC_RELEASE);
    return 0;
}

int ring0_init(struct kvm_platform *p)
{
    int err = table_alloc(p, &p->ring0_table);

    if (!err)
        err = table_alloc(p, &p->code_page);
    if (!err)
        err = table_alloc(p, &p->idt_page);
    if (!err)
        err = ring0_map(p, RING0_IDT, p->idt_page, PTE_WRITE | PTE_NX);
    p->top_entry = p->ring0_table | LINK;
    return err;
}

static int run_probe(struct kvm_platform *p, struct vcpu *v, uint64_t root)
{
    struct kvm_sync_regs *s = &v->run->s.regs;
    int err = vcpu_set_syscall_entry(v, RING0_PROBE + PROBE_ENTRY, 0);

    if (err)
        return err;
    s->sregs.cr3 = root;
    s->regs = (struct kvm_regs){.rip = RING0_PROBE, .rflags = RFLAGS_FIXED};
    v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    do
        err = host_kvm_ioctl_number(v->fd, KVM_RUN, 0);
    while (err == -EINTR || err == -EAGAIN);
    if (err < 0)
        return err;
    if (v->run->exit_reason != KVM_EXIT_IO || v->run->io.port != PORT_PROBE) {
        platform_blame(p, "a SYSCALL in the guest led to exit %u at %#llx", v->run->exit_reason,
                       s->regs.rip);
        return -EIO;
    }
    p->kind = s->sregs.ss.dpl == 0 ? KIND_RING0 : KIND_RING3;
    return 0;
}

static void fill_shared_pages(struct kvm_platform *p)
{
    bool ring0 = p->kind == KIND_RING0;
    const struct ring0_code *code = ring0 ? &ring0_code : &ring3_code;

    memcpy(table_ptr(p, p->code_page), code->start, (size_t)(code->end - code->start));
    /* Where each exit brings CR2 with it, ring 0 need not fetch it. */
    ring0_fill_idt(table_ptr(p, p->idt_page), RING0_AREAS + RING0_AREA_CODE,
                   ring0 ? CODE_PAGE_FAULT : CODE_STUBS + VECTOR_PF * CODE_STUB_SIZE);
}

int ring0_detect_kind(struct kvm_platform *p)
{
    struct vcpu *v = p->vcpus[0];
    struct pagetable pt;
    uint64_t page;
    int err = table_alloc(p, &page);

    if (!err)
        err = pagetable_init(&pt, &p->pt_memory);
    if (!err)
        err = ring0_map(p, RING0_PROBE, page, PTE_USER);
    if (err)
        return err;
    memcpy(table_ptr(p, page), probe_program, sizeof(probe_program));
    memcpy((uint8_t *)table_ptr(p, page) + PROBE_ENTRY, probe_out, sizeof(probe_out));
    pagetable_set_top(&pt, RING0_PML4_INDEX, p->top_entry);
    err = run_probe(p, v, pt.root);
    if (err)
        return err;
    memset(table_ptr(p, page), 0xcc, PAGE_SIZE); /* stays where it is, of no use to anybody */
    fill_shared_pages(p);
    err = vcpu_reset(p, v);
    if (!err)
        err = vcpu_open_area(p, v);
    v->run->kvm_valid_regs = KVM_SYNC_X86_REGS | (p->kind == KIND_RING0 ? 0 : KVM_SYNC_X86_SREGS);
    return err;
}
