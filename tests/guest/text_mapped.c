/*
 * A program that maps its own text once more, to read it: it is what the file has, whatever was
 * done to make the calls from the text that it executes cheaper.
 */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"

#define PAGE  4096UL
#define TIMES 1000

static const ElfW(Phdr) * find_text(void)
{
    const ElfW(Phdr) *phdr = (const void *)getauxval(AT_PHDR);

    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
        if (phdr[i].p_type == PT_LOAD && (phdr[i].p_flags & PF_X))
            return &phdr[i];
    }
    return NULL;
}

int main(void)
{
    const ElfW(Phdr) *text = find_text();
    int fd = open("/proc/self/exe", O_RDONLY);
    size_t size, offset;
    char *map, *bytes;

    if (!text || fd < 0)
        return 1;
    for (int i = 0; i < TIMES; i++) {
        CHECK(syscall(SYS_getppid) >= 0);
        CHECK(getuid() == geteuid());
    }
    offset = text->p_offset & -PAGE;
    size = text->p_offset + text->p_filesz - offset;
    bytes = malloc(size);
    map = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)offset);
    CHECK(bytes && map != MAP_FAILED);
    CHECK_EQ(pread(fd, bytes, size, (off_t)offset), (ssize_t)size);
    CHECK_EQ(memcmp(map, bytes, size), 0);
    return check_done();
}
