/*
 * execve's middle part: an ELF image and its arguments into a fresh address space, with the stack
 * exactly as Linux builds it (fs/binfmt_elf.c describes the order; System V ABI AMD64, 3.4.1).
 * Knows no task: everything comes in `struct load_request`, randomness included, so that the same
 * request always gives the same address space.
 *
 *   user_min   ET_EXEC   ...   2/3: ET_DYN, brk  ...   mmap (down) | stack gap | stack  [vdso]
 * user_max
 *
 * The file is hostile: every field of it is checked before use (elf_plan.h).
 */
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#include "base/compiler.h"

struct mm;
struct file;
struct vdso;

/* Fill it with host_getrandom(). Without load_request.randomize only at_random is used. */
struct load_entropy {
    uint8_t at_random[16]; /* the bytes AT_RANDOM points to */
    uint64_t stack, stack_padding, mmap, exec, brk, vdso;
};

struct load_request {
    struct mm *mm;           /* fresh and empty */
    struct file *exe;        /* readable; borrowed */
    const char *path;        /* AT_EXECFN, as the caller named it */
    const char *const *argv; /* host strings, NULL-terminated */
    const char *const *envp;
    uint32_t uid, euid, gid, egid;
    bool secure;
    bool randomize;       /* ASLR; off for personality(ADDR_NO_RANDOMIZE) */
    uint64_t stack_limit; /* RLIMIT_STACK in bytes */
    uint64_t hwcap, hwcap2;
    uint32_t min_sigstack; /* AT_MINSIGSTKSZ: bytes of a signal frame with this host's FP state */
    struct load_entropy entropy;
    const struct vdso *vdso; /* what to map as [vvar] and [vdso] (vdso.h); NULL: none */
    /* Opens the PT_INTERP or `#!` interpreter by path; a reference for the caller, or -errno. */
    int (*open)(void *arg, const char *path, struct file **ret);
    void *open_arg;
    /*
     * Tells who runs the ELF that was found, which may not be `exe`: changes the ids, `secure`,
     * `randomize` and stack_limit of the request it is given. 0 or -errno; NULL: nothing to change.
     */
    int (*identify)(void *arg, struct file *elf, struct load_request *request);
    void *identify_arg;
};

struct load_result {
    uaddr_t entry;
    uaddr_t stack;    /* initial rsp, 16-byte aligned, pointing to argc */
    char comm[16];    /* last component of the path */
    struct file *exe; /* what /proc/self/exe names: the ELF, not the script; a reference */
};

/*
 * 0, or -errno as execve(2): ENOEXEC, EACCES, EINVAL, ELIBBAD, E2BIG, ENOMEM, ELOOP, EIO. With a
 * negative result ret_why (of why_size bytes) says in words what was wrong, for the command line,
 * to be printed behind "PATH: "; and mm holds whatever was mapped so far.
 */
int loader_load(const struct load_request *req, struct load_result *ret_result, char *ret_why,
                size_t why_size);

/* Words for an error of opening the program itself, as loader_load() uses for interpreters. */
const char *loader_open_words(int error);

#endif
