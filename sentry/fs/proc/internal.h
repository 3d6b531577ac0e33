/* Inside sentry/fs/proc: the parts of the tree, and text that is built in pieces. */
#ifndef SENTRY_FS_PROC_INTERNAL_H
#define SENTRY_FS_PROC_INTERNAL_H

#include "sentry/fs/treefs.h"
#include "sentry/kernel/task.h"

struct net_ns;
struct ns;

/* A text of which only the first `size` bytes are kept, but whose whole length is counted. */
struct proc_text {
    char *buf;
    size_t size;
    size_t length;
};

void proc_printf(struct proc_text *text, const char *fmt, ...) __printf(2, 3);

/* sentry.c: /proc/1 where no task has that number */
extern const struct tree_node proc_sentry_node;

/* pid.c: /proc/PID, whose key is the number, and /proc/PID/fd/N. */
extern const struct tree_node proc_pid_node;

/*
 * Each /proc shows one pid namespace, whose slot (pidns.h) is in the keys of all its directories;
 * in those of a task's, beside the number that the Sentry knows it by. Names are that namespace's.
 * The upper half says which process, since numbers come back: 0 is whoever has the number.
 */
#define PROC_KEY(slot, tid) ((uint64_t)(slot) << 15 | (uint64_t)(tid))
#define PROC_KEY_TID(key)   ((int32_t)((key)&0x7fff))
#define PROC_KEY_SLOT(key)  ((uint32_t)(key) >> 15)

/* The key of `task` in the /proc of `key`. */
uint64_t proc_task_key(uint64_t key, const struct task *task);
/* The task of that key, referenced; NULL when there is none. It may be ending. */
struct task *proc_find_task(uint64_t key);
/* What the /proc of that key shows for a global number; 0: it is not seen there. */
int32_t proc_shown(uint64_t key, int32_t global);
/* All its numbers from that namespace inwards, each behind a tab. */
void proc_print_numbers(struct proc_text *text, uint64_t key, int32_t global);
/* The global number of a name; 0: nobody's. */
int32_t proc_global(uint64_t key, int32_t number);
/*
 * The same for what only those see who may look into the task (PTRACE_MODE_READ_FSCREDS). -ESRCH;
 * -EACCES.
 */
int proc_look_into(uint64_t tid, struct task **ret);
/* Its memory, referenced: 0 with NULL when it has none any more. Errors as above. */
int proc_look_into_memory(uint64_t tid, struct mm **ret);
/* The owner of what is in /proc/PID: the effective ids, or root where one must not look. */
void proc_task_owner(uint64_t tid, uint32_t *ret_uid, uint32_t *ret_gid);

/* A decimal number without sign or leading zeroes. -ENOENT. */
int proc_parse_number(struct name name, uint64_t limit, uint64_t *ret);

/* hide.c: what the options of a mount leave of a process; NULL: of the Sentry. */
enum proc_visibility { PROC_OPEN, PROC_CLOSED, PROC_HIDDEN };
enum proc_visibility proc_visibility(uint64_t root_key, struct task *task);
struct procfs_options;
/* To be added to a root's key. */
uint64_t proc_hide_key(const struct procfs_options *options);
void proc_show_options(struct super_block *sb, char *buf, size_t size);
extern const struct tree_node proc_closed_node;
bool proc_is_subset(const struct super_block *sb); /* proc.c */

/* fd.c: /proc/PID/fd, /proc/PID/fdinfo */
int proc_find_fd(uint64_t tid, struct name name, const struct tree_node **ret_node,
                 uint64_t *ret_key);
int64_t proc_list_fds(uint64_t tid, int64_t from, char *ret_name, size_t size,
                      const struct tree_node **ret_node);
int proc_find_fdinfo(uint64_t tid, struct name name, const struct tree_node **ret_node,
                     uint64_t *ret_key);
int64_t proc_list_fdinfo(uint64_t tid, int64_t from, char *ret_name, size_t size,
                         const struct tree_node **ret_node);

/* status.c: numbers about a task */
ssize_t proc_status_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_stat_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_statm_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_syscall_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_limits_text(uint64_t tid, char *buf, size_t size);

/* pid/program.c */
ssize_t proc_cmdline_text(uint64_t key, char *buf, size_t size);
ssize_t proc_environ_text(uint64_t key, char *buf, size_t size);
ssize_t proc_auxv_text(uint64_t key, char *buf, size_t size);

/* mem.c: /proc/PID/mem, /proc/PID/pagemap */
int proc_mem_open(uint64_t tid, uint32_t flags, struct file **ret);
int proc_pagemap_open(uint64_t tid, uint32_t flags, struct file **ret);

/* pagemap.c: requests of pagemap, of which there is one */
long proc_pagemap_ioctl(struct mm *mm, struct mm *caller, uint32_t cmd, uaddr_t arg);

/* tuning.c: what can be set of a task or process by its files */
ssize_t proc_oom_score_adj_text(uint64_t tid, char *buf, size_t size);
int proc_oom_score_adj_write(uint64_t tid, const char *text, size_t size);
ssize_t proc_oom_score_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_coredump_filter_text(uint64_t tid, char *buf, size_t size);
int proc_coredump_filter_write(uint64_t tid, const char *text, size_t size);
ssize_t proc_timerslack_text(uint64_t tid, char *buf, size_t size);
int proc_timerslack_write(uint64_t tid, const char *text, size_t size);
ssize_t proc_oom_adj_text(uint64_t tid, char *buf, size_t size);
int proc_oom_adj_write(uint64_t tid, const char *text, size_t size);

/* accounts.c: what is counted of it */
ssize_t proc_io_text(uint64_t key, char *buf, size_t size);
ssize_t proc_thread_io_text(uint64_t key, char *buf, size_t size);
ssize_t proc_sched_text(uint64_t key, char *buf, size_t size);
ssize_t proc_schedstat_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_timers_text(uint64_t key, char *buf, size_t size);
ssize_t proc_children_text(uint64_t key, char *buf, size_t size);
ssize_t proc_loginuid_text(uint64_t key, char *buf, size_t size);
int proc_loginuid_write(uint64_t key, const char *text, size_t size);
ssize_t proc_sessionid_text(uint64_t key, char *buf, size_t size);

/* attr.c: /proc/PID/attr */
#define PROC_ATTR_NODES 6
extern const struct tree_node proc_attr_nodes[PROC_ATTR_NODES];

/* timens.c: /proc/PID/timens_offsets */
ssize_t proc_timens_text(uint64_t key, char *buf, size_t size);
int proc_timens_write(uint64_t key, const char *text, size_t size);

/* usermap.c: /proc/PID/uid_map and its kin */
int proc_uid_map_open(uint64_t key, uint32_t flags, struct file **ret);
int proc_gid_map_open(uint64_t key, uint32_t flags, struct file **ret);
int proc_projid_map_open(uint64_t key, uint32_t flags, struct file **ret);
int proc_setgroups_open(uint64_t key, uint32_t flags, struct file **ret);

/* mounts.c: /proc/PID/mounts and its kin */
int proc_mounts_open(uint64_t tid, uint32_t flags, struct file **ret);
int proc_mountinfo_open(uint64_t tid, uint32_t flags, struct file **ret);
int proc_mountstats_open(uint64_t tid, uint32_t flags, struct file **ret);

/* ns.c: /proc/PID/ns */
extern const struct tree_node proc_ns_nodes[10];

/* net.c: /proc/PID/net */
#define PROC_NET_NODES 31
extern const struct tree_node proc_net_nodes[PROC_NET_NODES];
/* The task's network namespace, which the caller keeps through *ret_ns; NULL: the task is gone. */
struct net_ns *proc_find_net(uint64_t tid, struct ns **ret_ns);
/* netinet.c */
ssize_t proc_net_tcp_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_tcp6_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_udp_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_udp6_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_sockstat_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_udplite_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_udplite6_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_raw_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_raw6_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_sockstat6_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_snmp_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_netstat_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_snmp6_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_igmp_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_igmp6_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_ipv6_route_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_net_fib_trie_text(uint64_t tid, char *buf, size_t size);

/* maps.c: /proc/PID/maps, map_files */
#define PROC_VMA_NAME_MAX 4200
ssize_t proc_maps_text(uint64_t tid, char *buf, size_t size);
/* mapquery.c: PROCMAP_QUERY */
long proc_maps_ioctl(uint64_t tid, struct mm *mm, uint32_t cmd, uint64_t arg);
/* What stands behind it in maps, or "". */
void proc_vma_name(const struct vma_info *vma, char *buf, size_t size);
/* Its line; `arg` is a struct proc_text. */
int proc_put_vma(const struct vma_info *vma, void *arg);
int proc_find_mapping(uint64_t tid, struct name name, const struct tree_node **ret_node,
                      uint64_t *ret_key);
int64_t proc_list_mappings(uint64_t tid, int64_t from, char *ret_name, size_t size,
                           const struct tree_node **ret_node);

/* smaps.c */
ssize_t proc_numa_maps_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_smaps_text(uint64_t tid, char *buf, size_t size);
ssize_t proc_smaps_rollup_text(uint64_t tid, char *buf, size_t size);

/* machine.c: what there is of devices and the like, in the root of /proc */
#define PROC_TTY_NODES 2
extern const struct tree_node proc_tty_nodes[PROC_TTY_NODES];
ssize_t proc_interrupts_text(uint64_t key, char *buf, size_t size);
ssize_t proc_softirqs_text(uint64_t key, char *buf, size_t size);

/* memory.c */
ssize_t proc_meminfo_text(uint64_t key, char *buf, size_t size);
ssize_t proc_vmstat_text(uint64_t key, char *buf, size_t size);
ssize_t proc_buddyinfo_text(uint64_t key, char *buf, size_t size);
ssize_t proc_zoneinfo_text(uint64_t key, char *buf, size_t size);

/* locks.c */
struct lock_view;
ssize_t proc_locks_text(uint64_t key, char *buf, size_t size);
void proc_put_lock(struct proc_text *text, uint64_t key, size_t number, const struct lock_view *v);
/* All there are; for the caller to free. -ENOMEM. */
int proc_take_locks(struct lock_view **ret, size_t *ret_count);

/* cpuinfo.c */
ssize_t proc_cpuinfo_text(uint64_t key, char *buf, size_t size);

/* config.c: /proc/config.gz */
ssize_t proc_config_text(uint64_t key, char *buf, size_t size);

/* system.c: /proc/loadavg, /proc/stat, /proc/uptime */
ssize_t proc_uptime_text(uint64_t key, char *buf, size_t size);
ssize_t proc_loadavg_text(uint64_t key, char *buf, size_t size);
ssize_t proc_stat_text_all(uint64_t key, char *buf, size_t size);

/* syspid.c: two files of /proc/sys/kernel */
ssize_t proc_pid_max_text(uint64_t key, char *buf, size_t size);
ssize_t proc_ns_last_pid_text(uint64_t key, char *buf, size_t size);
int proc_pid_max_write(uint64_t key, const char *text, size_t size);
int proc_ns_last_pid_write(uint64_t key, const char *text, size_t size);

/* syscore.c: two more */
ssize_t proc_core_pattern_text(uint64_t key, char *buf, size_t size);
ssize_t proc_core_uses_pid_text(uint64_t key, char *buf, size_t size);
int proc_core_pattern_write(uint64_t key, const char *text, size_t size);
int proc_core_uses_pid_write(uint64_t key, const char *text, size_t size);

/* sysctl.c: /proc/sys */
extern const struct tree_node proc_sys_nodes[5];
/* syskernel.c, sysvm.c: /proc/sys/kernel, /proc/sys/vm */
#define PROC_SYS_KERNEL_NODES 52
#define PROC_SYS_VM_NODES     30
extern const struct tree_node proc_sys_kernel_nodes[PROC_SYS_KERNEL_NODES];
extern const struct tree_node proc_sys_vm_nodes[PROC_SYS_VM_NODES];
/* sysnet.c: /proc/sys/net */
#define PROC_SYS_NET_NODES 4
extern const struct tree_node proc_sys_net_nodes[PROC_SYS_NET_NODES];
/* sysuser.c: /proc/sys/user */
extern const struct tree_node proc_sys_user_nodes[8];

/* keys.c */
ssize_t proc_keys_text(uint64_t key, char *buf, size_t size);
ssize_t proc_key_users_text(uint64_t key, char *buf, size_t size);

/* sysnotify.c: /proc/sys/fs/inotify, mount-max */
extern const struct tree_node proc_fanotify_nodes[3];
extern const struct tree_node proc_inotify_nodes[3];
ssize_t proc_lease_break_time_text(uint64_t key, char *buf, size_t size);
int proc_lease_break_time_write(uint64_t key, const char *text, size_t size);
ssize_t proc_mount_max_text(uint64_t key, char *buf, size_t size);
int proc_mount_max_write(uint64_t key, const char *text, size_t size);

/* sysvipc.c: /proc/sysvipc */
extern const struct tree_node proc_sysvipc_nodes[3];

#endif
