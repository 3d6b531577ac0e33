/*
 * The virtual machine as a whole: made before the jail closes, on the first processor that runs.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <asm/hwcap2.h>

#include "base/log.h"
#include "host/jail.h"
#include "host/kvm.h"
#include "platform/kvm/internal.h"

/* Beyond this many, idle vCPUs change hands rather than that new ones are made. */
#define VCPU_SOFT_MAX 64U

#define REQUIRED_SYNC (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)

void platform_blame(struct kvm_platform *p, const char *fmt, ...)
{
    va_list ap;

    if (p->why[0])
        return;
    va_start(ap, fmt);
    vsnprintf(p->why, sizeof(p->why), fmt, ap);
    va_end(ap);
}

static int check_extension(struct kvm_platform *p, long capability)
{
    int value = host_kvm_ioctl_number(p->vm_fd, KVM_CHECK_EXTENSION, (unsigned long)capability);

    return value < 0 ? 0 : value;
}

static int open_vm(struct kvm_platform *p)
{
    int version, size;

    p->kvm_fd = host_kvm_open();
    if (p->kvm_fd < 0) {
        platform_blame(p, "/dev/kvm cannot be opened: %s", strerror(-p->kvm_fd));
        return p->kvm_fd;
    }
    version = host_kvm_ioctl_number(p->kvm_fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        platform_blame(p, "/dev/kvm speaks version %d, not %d", version, KVM_API_VERSION);
        return -ENODEV;
    }
    size = host_kvm_ioctl_number(p->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run)) {
        platform_blame(p, "KVM_GET_VCPU_MMAP_SIZE says %d", size);
        return size < 0 ? size : -ENODEV;
    }
    p->run_size = (uint32_t)size;
    p->vm_fd = host_kvm_ioctl_number(p->kvm_fd, KVM_CREATE_VM, 0);
    if (p->vm_fd < 0) {
        platform_blame(p, "a virtual machine cannot be created: %s", strerror(-p->vm_fd));
        return p->vm_fd;
    }
    return 0;
}

static int check_capabilities(struct kvm_platform *p)
{
    static const struct {
        long capability;
        const char *name;
    } required[] = {
        {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
        {KVM_CAP_SYNC_MMU, "KVM_CAP_SYNC_MMU"},
        {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
        {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    };
    int max, size;

    for (size_t i = 0; i < ARRAY_COUNT(required); i++) {
        if (!check_extension(p, required[i].capability)) {
            platform_blame(p, "this KVM lacks %s", required[i].name);
            return -ENODEV;
        }
    }
    if ((check_extension(p, KVM_CAP_SYNC_REGS) & REQUIRED_SYNC) != REQUIRED_SYNC) {
        platform_blame(p, "this KVM lacks KVM_CAP_SYNC_REGS (Linux 4.17)");
        return -ENODEV;
    }
    max = check_extension(p, KVM_CAP_MAX_VCPUS);
    p->vcpu_max = max > 0 ? (unsigned int)max : 4; /* as the manual says */
    p->vcpu_soft_max = MIN(p->vcpu_max, VCPU_SOFT_MAX);
    size = check_extension(p, KVM_CAP_XSAVE2);
    p->has_xsave2 = size > 0;
    p->xsave_size = (uint32_t)MAX(size, XSAVE_MIN);
    return 0;
}

void platform_close(struct kvm_platform *p)
{
    struct kvm_address_space *as, *tmp;

    runners_stop(p);
    pool_destroy(p);
    list_for_each_safe (as, tmp, &p->shells, node) {
        lock_destroy(&as->lock);
        free(as);
    }
    if (p->vm_fd >= 0)
        host_kvm_close(p->vm_fd);
    if (p->kvm_fd >= 0)
        host_kvm_close(p->kvm_fd);
    slots_destroy(p);
    cpuid_destroy(p);
    lock_destroy(&p->table_lock);
    lock_destroy(&p->settle_lock);
    free(p);
}

static int bring_up(struct kvm_platform *p, struct memfile *mf)
{
    int err = open_vm(p);

    if (!err)
        err = check_capabilities(p);
    if (!err)
        err = cpuid_init(p);
    if (!err)
        err = slots_init(p, mf);
    if (!err)
        err = ring0_init(p);
    if (!err)
        err = pool_start(p);
    if (!err)
        err = ring0_detect_kind(p);
    return err;
}

int platform_open(struct memfile *mf, struct kvm_platform **ret, char *why, size_t why_size)
{
    struct kvm_platform *p = calloc(1, sizeof(*p));
    int err;

    if (!p)
        return -ENOMEM;
    p->base.ops = &kvm_platform_ops;
    p->kvm_fd = p->vm_fd = -1;
    p->tsc_is_hosts = true;
    lock_init(&p->table_lock);
    lock_init(&p->settle_lock);
    list_init(&p->shells);
    pool_init(p);
    err = bring_up(p, mf);
    if (err < 0) {
        platform_blame(p, "setting the virtual machine up failed: %s", strerror(-err));
        snprintf(why, why_size, "%s", p->why);
        platform_close(p);
        return err;
    }
    *ret = p;
    return 0;
}

static int kvm_create(struct memfile *mf, struct platform **ret)
{
    struct kvm_platform *p;
    char why[160];
    int err = host_kick_init();

    if (!err)
        err = platform_open(mf, &p, why, sizeof(why));
    if (err) {
        log_error("kvm: %s", why);
        return err;
    }
    *ret = &p->base;
    return 0;
}

static void kvm_destroy(struct platform *p)
{
    platform_close(to_platform(p));
}

static void kvm_jail(struct platform *p, struct jail_request *req)
{
    req->roles |= JAIL_KVM;
    exitless_init(to_platform(p));
}

static void kvm_limits(struct platform *p, struct platform_limits *ret_limits)
{
    ret_limits->user_min = PAGE_SIZE;
    ret_limits->user_max = USER_MAX;
    ret_limits->hwcap = to_platform(p)->hwcap;
    ret_limits->hwcap2 = to_platform(p)->cr4 & CR4_FSGSBASE ? HWCAP2_FSGSBASE : 0;
    ret_limits->tsc_is_hosts = to_platform(p)->tsc_is_hosts;
    ret_limits->maps_cheaply = true; /* stores into page tables; a fault leaves the guest */
    ret_limits->maps_give_memory = true;
}

const struct platform_ops kvm_platform_ops = {
    .name = "kvm",
    .threads_reusable = true,
    .probe = kvm_probe,
    .create_measured = kvm_create_measured,
    .create = kvm_create,
    .destroy = kvm_destroy,
    .jail = kvm_jail,
    .limits = kvm_limits,
    .set_exitless = exitless_set_mode,
    .as_create = kvm_as_create,
    .as_destroy = kvm_as_destroy,
    .as_map = kvm_as_map,
    .as_unmap = kvm_as_unmap,
    .ctx_create = kvm_ctx_create,
    .ctx_destroy = kvm_ctx_destroy,
    .ctx_switch = kvm_ctx_switch,
    .ctx_interrupt = kvm_ctx_interrupt,
    .fp_size = kvm_fp_size,
    .fp_features = kvm_fp_features,
    .ctx_get_fp = kvm_ctx_get_fp,
    .ctx_set_fp = kvm_ctx_set_fp,
    .ctx_reset_fp = kvm_ctx_reset_fp,
    .ctx_get_bases = kvm_ctx_get_bases,
    .ctx_set_bases = kvm_ctx_set_bases,
    .ctx_set_cpus = kvm_ctx_set_cpus,
    .ctx_set_nice = kvm_ctx_set_nice,
    .ctx_set_policy = kvm_ctx_set_policy,
    .ctx_fastpath = kvm_ctx_fastpath,
};
