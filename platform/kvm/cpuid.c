/*
 * What CPUID tells the program: what KVM supports, which on a genuine KVM is what the program can
 * use. (On kvm-pvm the program's CPUID instruction shows the host's own features, but OSXSAVE and
 * the sizes of XSAVE's areas follow CR4 and XCR0 as set here.) State components that need the
 * kernel's help beyond XSAVE itself (AMX, PKRU, MPX) are left out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/kvm.h"
#include "platform/kvm/internal.h"

#define ENTRIES_MAX        256

#define XCR0_X87_SSE       0x3UL
#define XCR0_AVX           0x4UL
#define XCR0_AVX512        0xe0UL

#define LEAF7_EBX_FSGSBASE (1U << 0)
#define LEAF7_ECX_PKU      (1U << 3)
#define LEAF7_EDX_AMX      (7U << 22 & ~(1U << 23)) /* AMX-BF16, AMX-TILE; INT8 below */
#define LEAF7_EDX_AMX_INT8 (1U << 25)

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

        if (e->function == function && e->index == index)
            return e;
    }
    return NULL;
}

static bool is_empty(const struct kvm_cpuid_entry2 *e)
{
    return !(e->eax | e->ebx | e->ecx | e->edx);
}

/* An absent leaf reads as zeroes as well, and each entry makes a new vCPU dearer. */
static void drop_empty(struct kvm_cpuid2 *cpuid)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < cpuid->nent; i++) {
        if (!is_empty(&cpuid->entries[i]))
            cpuid->entries[kept++] = cpuid->entries[i];
    }
    cpuid->nent = kept;
}

static uint64_t usable_xcr0(struct kvm_cpuid2 *cpuid)
{
    struct kvm_cpuid_entry2 *d = find(cpuid, 0xd, 0);
    uint64_t offered = d ? d->eax | (uint64_t)d->edx << 32 : 0, xcr0 = XCR0_X87_SSE;

    if ((offered & XCR0_AVX) == XCR0_AVX)
        xcr0 |= XCR0_AVX;
    if ((xcr0 & XCR0_AVX) && (offered & XCR0_AVX512) == XCR0_AVX512)
        xcr0 |= XCR0_AVX512;
    return xcr0;
}

static void narrow(struct kvm_platform *p)
{
    struct kvm_cpuid_entry2 *e = find(p->cpuid, 0xd, 0);

    if (e) {
        e->eax = (uint32_t)p->xcr0;
        e->edx = 0;
    }
    e = find(p->cpuid, 7, 0);
    if (e) {
        e->ecx &= ~LEAF7_ECX_PKU;
        e->edx &= ~(LEAF7_EDX_AMX | LEAF7_EDX_AMX_INT8);
    }
}

/* Bytes of the standard format for these components: legacy area, header, and the rest. */
static uint32_t standard_size(struct kvm_cpuid2 *cpuid, uint64_t xcr0)
{
    uint32_t size = 512 + 64;

    for (uint32_t i = 2; i < 63; i++) {
        struct kvm_cpuid_entry2 *e = find(cpuid, 0xd, i);

        if (e && (xcr0 >> i & 1))
            size = MAX(size, e->ebx + e->eax);
    }
    return size;
}

int cpuid_init(struct kvm_platform *p)
{
    struct kvm_cpuid_entry2 *leaf1, *leaf7;
    int err;

    p->cpuid = calloc(1, sizeof(*p->cpuid) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
    if (!p->cpuid)
        return -ENOMEM;
    p->cpuid->nent = ENTRIES_MAX;
    err = host_kvm_ioctl(p->kvm_fd, KVM_GET_SUPPORTED_CPUID, p->cpuid);
    if (err < 0) {
        platform_blame(p, "KVM_GET_SUPPORTED_CPUID: %s", strerror(-err));
        return err;
    }
    drop_empty(p->cpuid);
    p->xcr0 = usable_xcr0(p->cpuid);
    p->fp_size = standard_size(p->cpuid, p->xcr0);
    narrow(p);
    leaf1 = find(p->cpuid, 1, 0);
    leaf7 = find(p->cpuid, 7, 0);
    p->hwcap = leaf1 ? leaf1->edx : 0;
    p->cr4 = CR4_BASE;
    /* kvm-pvm hides the feature bit of XSAVE but not the leaf, and the instruction works. */
    if (find(p->cpuid, 0xd, 0))
        p->cr4 |= CR4_OSXSAVE;
    if (leaf7 && (leaf7->ebx & LEAF7_EBX_FSGSBASE))
        p->cr4 |= CR4_FSGSBASE;
    return 0;
}

void cpuid_destroy(struct kvm_platform *p)
{
    free(p->cpuid);
    p->cpuid = NULL;
}
