/*
 * The KVM platform: page tables and a few instructions of ours in a virtual machine, the program in
 * its ring 3. See platform/platform.h for the calls, ring0/layout.h for what is in the guest.
 */
#ifndef PLATFORM_KVM_KVM_H
#define PLATFORM_KVM_KVM_H

#include "platform/platform.h"

extern const struct platform_ops kvm_platform_ops;

/* Exits from the guest so far, of all vCPUs, as KVM itself counts them; -ENOSYS before Linux 5.14.
 */
int kvm_platform_exits(struct platform *p, uint64_t *ret_exits);
/*
 * The physical limit of a system call on this host: nanoseconds of one turn of a bare KVM_RUN loop
 * over the exiting instruction alone, in the mode in which system calls leave the guest here;
 * median of `turns`. -errno of a KVM that does not work.
 */
int kvm_bench_bare_exit(unsigned int turns, uint64_t *ret_ns);

#endif
