/* The notes of a core file, which libc's <sys/procfs.h> has beside names that clash with ours. */
#ifndef ABI_CORE_H
#define ABI_CORE_H

#include <assert.h>
#include <stdint.h>

#include "abi/ptrace.h"

struct linux_core_time {
    int64_t sec, usec;
};

/* struct elf_prstatus */
struct linux_prstatus {
    int32_t si_signo, si_code, si_errno;
    int16_t cursig, pad;
    uint64_t sigpend, sighold;
    int32_t pid, ppid, pgrp, sid;
    struct linux_core_time utime, stime, cutime, cstime;
    struct linux_user_regs regs;
    int32_t fpvalid, pad2;
};
static_assert(sizeof(struct linux_prstatus) == 336, "struct elf_prstatus");

/* struct elf_prpsinfo */
struct linux_prpsinfo {
    char state, sname, zomb, nice;
    uint32_t pad;
    uint64_t flag;
    uint32_t uid, gid;
    int32_t pid, ppid, pgrp, sid;
    char fname[16], psargs[80];
};
static_assert(sizeof(struct linux_prpsinfo) == 136, "struct elf_prpsinfo");

#endif
