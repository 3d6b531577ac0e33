/*
 * One vCPU: KVM's descriptor, the shared run page, and its area in the guest.
 *
 * It is never set up for ring 0: it always starts in the program, and only gates bring it to our
 * stubs. All that the stubs need (TSS, stack, LSTAR) is its own, so that it can run any context.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bug.h"
#include "host/kvm.h"
#include "host/memory.h"
#include "platform/kvm/internal.h"
#include "ring0/tables.h"

static_assert(offsetof(struct fastpath_page, enabled) == FASTPATH_ENABLED, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, pid) == FASTPATH_PID, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, tid) == FASTPATH_TID, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, ppid) == FASTPATH_PPID, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, uid) == FASTPATH_UID, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, euid) == FASTPATH_EUID, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, gid) == FASTPATH_GID, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, egid) == FASTPATH_EGID, "ring0/layout.h");
static_assert(offsetof(struct fastpath_page, served) == FASTPATH_SERVED, "ring0/layout.h");

static_assert(sizeof(struct fastpath_page) <= DATA_EXCHANGE, "ring0/layout.h");

#define SEGMENT_CODE     11 /* type: execute, read, accessed */
#define SEGMENT_DATA     3  /* read, write, accessed */
#define SEGMENT_BUSY_TSS 11

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){
        .limit = 0xffffffff,
        .selector = selector,
        .type = type,
        .present = 1,
        .dpl = 3,
        .db = type == SEGMENT_DATA,
        .s = 1,
        .l = type == SEGMENT_CODE,
        .g = 1,
    };
}

static uint32_t tss_limit(const struct kvm_platform *p)
{
    return p->kind == KIND_RING0 ? TSS_LIMIT_WITHOUT_PORTS : TSS_LIMIT_WITH_PORTS;
}

/* Ready to run a program; CR3 comes with the address space. */
static void fill_sregs(const struct kvm_platform *p, const struct vcpu *v, struct kvm_sregs *s)
{
    uint64_t tables = v->area + RING0_AREA_TABLES;

    s->cr0 = CR0_VALUE;
    s->cr2 = 0;
    s->cr3 = 0;
    s->cr4 = p->cr4;
    s->efer = EFER_VALUE;
    s->cs = flat_segment(SELECTOR_USER_CS, SEGMENT_CODE);
    s->ss = flat_segment(SELECTOR_USER_DS, SEGMENT_DATA);
    s->ds = s->es = s->fs = s->gs = flat_segment(0, SEGMENT_DATA);
    s->tr = (struct kvm_segment){
        .base = tables + TABLES_TSS,
        .limit = tss_limit(p),
        .selector = SELECTOR_TSS,
        .type = SEGMENT_BUSY_TSS,
        .present = 1,
    };
    s->ldt = (struct kvm_segment){.type = 2, .unusable = 1};
    s->gdt = (struct kvm_dtable){.base = tables + TABLES_GDT, .limit = GDT_LIMIT};
    s->idt = (struct kvm_dtable){.base = RING0_IDT, .limit = IDT_LIMIT};
    memset(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap));
}

int vcpu_know_sregs(struct vcpu *v)
{
    int err;

    if (v->sregs_known)
        return 0;
    err = host_kvm_ioctl(v->fd, KVM_GET_SREGS, &v->run->s.regs.sregs);
    if (err < 0)
        return err;
    v->sregs_known = true;
    return 0;
}

int vcpu_reset(struct kvm_platform *p, struct vcpu *v)
{
    struct kvm_sregs *s = &v->run->s.regs.sregs;
    int err = host_kvm_ioctl(v->fd, KVM_GET_SREGS, s);

    if (err < 0)
        return err;
    window_init(v);
    ring0_fill_tables(v->tables, v->area, tss_limit(p));
    fill_sregs(p, v, s);
    v->sregs_known = true;
    v->in_user = false;
    v->root = 0;
    return 0;
}

int vcpu_set_syscall_entry(struct vcpu *v, uint64_t entry, uint64_t mask)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entries[3];
    } msrs = {
        .head.nmsrs = 3,
        .entries = {{.index = MSR_STAR, .data = STAR_VALUE},
                    {.index = MSR_LSTAR, .data = entry},
                    {.index = MSR_FMASK, .data = mask}},
    };
    int n = host_kvm_ioctl(v->fd, KVM_SET_MSRS, &msrs);

    return n < 0 ? n : n == 3 ? 0 : -EINVAL;
}

int vcpu_open_area(struct kvm_platform *p, struct vcpu *v)
{
    uint64_t user = p->kind == KIND_RING3 ? PTE_USER : 0;
    uint64_t data = (uint64_t)(v->data - p->pt_memory.base);
    int err = ring0_map(p, v->area + RING0_AREA_CODE, p->code_page, user);

    if (!err) /* ring 0 counts in the page, ring 3 may only read it */
        err = ring0_map(p, v->area + RING0_AREA_DATA, data, user ? user : PTE_WRITE);
    if (!err)
        err = vcpu_set_syscall_entry(v, v->area + RING0_AREA_CODE,
                                     p->kind == KIND_RING3 ? 0 : SYSCALL_MASK_RING0);
    return err;
}

/* The guest's TSC is the host's: the vDSO's parameters are made for that. */
static bool use_host_tsc(struct vcpu *v)
{
    uint64_t offset = 0;
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL,
        .attr = KVM_VCPU_TSC_OFFSET,
        .addr = (uint64_t)&offset,
    };

    return host_kvm_ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr) == 0;
}

static int set_features(struct kvm_platform *p, struct vcpu *v)
{
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = p->xcr0}};
    int err = host_kvm_ioctl(v->fd, KVM_SET_CPUID2, p->cpuid);

    if (err < 0)
        return err;
    if (p->cr4 & CR4_OSXSAVE) {
        err = host_kvm_ioctl(v->fd, KVM_SET_XCRS, &xcrs);
        if (err < 0)
            return err;
    }
    if (!use_host_tsc(v)) {
        if (v->index > 0 && p->tsc_is_hosts)
            return -EINVAL; /* the others have it, and programs rely on that */
        p->tsc_is_hosts = false;
    }
    return 0;
}

static int make_area(struct kvm_platform *p, struct vcpu *v)
{
    uint64_t gpa[3];
    int err;

    v->area = RING0_AREAS + v->index * (uint64_t)RING0_AREA_SIZE;
    for (unsigned int i = 0; i < ARRAY_COUNT(gpa); i++) {
        err = table_alloc(p, &gpa[i]);
        if (err)
            return err;
    }
    v->data = table_ptr(p, gpa[0]);
    v->tables = table_ptr(p, gpa[1]);
    v->stack = table_ptr(p, gpa[2]);
    err = ring0_map(p, v->area + RING0_AREA_TABLES, gpa[1], PTE_WRITE | PTE_NX);
    if (!err)
        err = ring0_map(p, v->area + RING0_AREA_STACK, gpa[2], PTE_WRITE | PTE_NX);
    return err;
}

/* A vCPU cannot be taken back from KVM, nor its area: one that fails here stays unused for good. */
int vcpu_create(struct kvm_platform *p, unsigned int index, struct vcpu **ret)
{
    struct vcpu *v = calloc(1, sizeof(*v));
    void *run;
    int err;

    if (!v)
        return -ENOMEM;
    v->index = index;
    v->fd = err = host_kvm_ioctl_number(p->vm_fd, KVM_CREATE_VCPU, index);
    if (err < 0)
        goto fail;
    err = host_mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0, &run);
    if (err)
        goto fail_fd;
    v->run = run;
    err = make_area(p, v);
    if (!err)
        err = set_features(p, v);
    if (!err)
        err = vcpu_reset(p, v);
    if (!err && p->kind != KIND_UNKNOWN)
        err = vcpu_open_area(p, v);
    if (err < 0)
        goto fail_run;
    v->run->kvm_valid_regs = KVM_SYNC_X86_REGS | (p->kind == KIND_RING0 ? 0 : KVM_SYNC_X86_SREGS);
    *ret = v;
    return 0;

fail_run:
    host_munmap(run, p->run_size);
fail_fd:
    host_kvm_close(v->fd);
fail:
    platform_blame(p, "vCPU %u: %s", index, strerror(-err));
    free(v);
    return err;
}

void vcpu_destroy(struct kvm_platform *p, struct vcpu *v)
{
    host_munmap(v->run, p->run_size);
    host_kvm_close(v->fd);
    free(v);
}
