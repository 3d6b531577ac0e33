/*
 * /dev/kvm: its descriptors' requests (Documentation/virt/kvm/api.rst), and the signal that brings
 * a thread out of KVM_RUN. Requests that run after the jail has closed are listed one by one in
 * host/calls.def.
 */
#ifndef HOST_KVM_H
#define HOST_KVM_H

#include <linux/kvm.h>

#include "base/compiler.h"

/* open(2) of /dev/kvm, close-on-exec; before the jail closes. */
int host_kvm_open(void);
void host_kvm_close(int fd);
/* ioctl(2) with a pointer or a number: its value, or -errno. */
int host_kvm_ioctl(int fd, unsigned long request, void *arg);
int host_kvm_ioctl_number(int fd, unsigned long request, unsigned long arg);
/*
 * True where KVM says that the CPU walks the guest's page tables itself (EPT, NPT: parameters of
 * its modules in sysfs); false where it keeps shadows of them, or when nobody knows.
 */
bool host_kvm_nested_paging(void);
/*
 * True where a vCPU may be run by one thread after another at no cost: from Linux 6.13 on. Before,
 * KVM waits for an RCU grace period each time (milliseconds).
 */
bool host_kvm_threads_may_change(void);
/* pread(2) of a descriptor of KVM_GET_STATS_FD: bytes read, or -errno. */
ssize_t host_kvm_read_stats(int fd, void *buf, size_t size, uint64_t offset);

/* Installs the handler (which does nothing) of the signal that host_kick_thread() sends. */
int host_kick_init(void);
/* The calling thread's id; unblocks that signal for it. */
pid_t host_kick_register(void);
/* Interrupts a blocking call of that thread of ours. */
void host_kick_thread(pid_t tid);

#endif
