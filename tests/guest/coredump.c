/* Core dumps: when there is one, what wait(2) says, and what is in the file; core(5). */
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define MARK 0x6b766d73656e7472UL

static volatile uint64_t marked = MARK;
static int ready[2];

static void allow(rlim_t size)
{
    struct rlimit limit = {size, size};

    CHECK_EQ(setrlimit(RLIMIT_CORE, &limit), 0);
}

static int status_of(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        check_failures = 0;
        fn();
        _exit(99);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static void fault(void)
{
    static volatile uintptr_t nowhere = 16;

    allow(RLIM_INFINITY);
    *(volatile int *)nowhere = 1;
}

static void without_limit(void)
{
    allow(0);
    abort();
}

static void less_than_a_page(void)
{
    allow(4095);
    abort();
}

static void no_core_signal(void)
{
    allow(RLIM_INFINITY);
    raise(SIGTERM);
}

static void undumpable(void)
{
    allow(RLIM_INFINITY);
    CHECK_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
    abort();
}

static void small(void)
{
    allow(8192);
    abort();
}

static void *stand_by(void *arg)
{
    CHECK_EQ(write(ready[1], "x", 1), 1);
    for (;;)
        pause();
    return NULL;
}

static void with_threads(void)
{
    pthread_t thread;
    char c;

    allow(RLIM_INFINITY);
    CHECK_EQ(pipe(ready), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&thread, NULL, stand_by, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(read(ready[0], &c, 1), 1);
    raise(SIGQUIT);
}

/* ---- the file -------------------------------------------------------------------------------- */

static uint8_t *map_core(size_t *ret_size)
{
    int fd = open("core", O_RDONLY);
    struct stat st;
    uint8_t *bytes;

    if (fd < 0)
        return NULL;
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0600);
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(bytes != MAP_FAILED);
    close(fd);
    *ret_size = (size_t)st.st_size;
    return bytes;
}

static size_t aligned(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

/* The first note of a type, and how many there are. */
static const void *find_note(const uint8_t *core, uint32_t type, int *ret_count)
{
    const Elf64_Ehdr *head = (const void *)core;
    const Elf64_Phdr *ph = (const void *)(core + head->e_phoff);
    const void *found = NULL;

    *ret_count = 0;
    CHECK_EQ(ph->p_type, PT_NOTE);
    for (size_t at = 0; at < ph->p_filesz;) {
        const Elf64_Nhdr *note_head = (const void *)(core + ph->p_offset + at);
        size_t data = at + sizeof(*note_head) + aligned(note_head->n_namesz);

        if (note_head->n_type == type) {
            ++*ret_count;
            if (!found)
                found = core + ph->p_offset + data;
        }
        at = data + aligned(note_head->n_descsz);
    }
    return found;
}

/* What was at that address. */
static uint64_t word_at(const uint8_t *core, uintptr_t addr)
{
    const Elf64_Ehdr *head = (const void *)core;
    const Elf64_Phdr *ph = (const void *)(core + head->e_phoff);

    for (int i = 0; i < head->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD && addr >= ph[i].p_vaddr &&
            addr < ph[i].p_vaddr + ph[i].p_filesz)
            return *(const uint64_t *)(core + ph[i].p_offset + (addr - ph[i].p_vaddr));
    }
    return 0;
}

static void test_contents(void)
{
    const prpsinfo_t *info;
    const prstatus_t *status;
    const siginfo_t *signal;
    const Elf64_Ehdr *head;
    uint8_t *core;
    size_t size;
    int count;

    CHECK_EQ(status_of(fault), SIGSEGV | WCOREFLAG);
    core = map_core(&size);
    if (!core) {
        CHECK(core != NULL);
        return;
    }
    head = (const void *)core;
    CHECK_EQ(memcmp(head->e_ident, ELFMAG, SELFMAG), 0);
    CHECK_EQ(head->e_type, ET_CORE);
    CHECK_EQ(head->e_machine, EM_X86_64);
    status = find_note(core, NT_PRSTATUS, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(status->pr_cursig, SIGSEGV);
    CHECK_EQ(status->pr_ppid, getpid());
    CHECK_EQ(status->pr_fpvalid, 1);
    info = find_note(core, NT_PRPSINFO, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(strcmp(info->pr_fname, "coredump"), 0);
    CHECK_EQ(info->pr_pid, status->pr_pid);
    signal = find_note(core, NT_SIGINFO, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(signal->si_signo, SIGSEGV);
    CHECK_EQ((uintptr_t)signal->si_addr, 16);
    CHECK(find_note(core, NT_AUXV, &count) != NULL);
    CHECK(find_note(core, NT_FILE, &count) != NULL);
    CHECK(find_note(core, NT_FPREGSET, &count) != NULL);
    CHECK(find_note(core, NT_X86_XSTATE, &count) != NULL);
    CHECK_EQ(word_at(core, (uintptr_t)&marked), MARK);
    CHECK(word_at(core, status->pr_reg[19]) != 0 || word_at(core, status->pr_reg[19] + 8) != 0);
    CHECK_EQ(munmap(core, size), 0);
    CHECK_EQ(unlink("core"), 0);
}

/* ---- which memory: MADV_DONTDUMP, /proc/PID/coredump_filter ---------------------------------- */

#define AREA 8192
static volatile uint64_t *kept, *left_out, *again, *shared, *shared_file;

static uint64_t *area(int flags, int fd)
{
    uint64_t *p = mmap(NULL, AREA, PROT_READ | PROT_WRITE, flags, fd, 0);

    CHECK(p != MAP_FAILED);
    *p = MARK;
    return p;
}

static void make_areas(void)
{
    int fd = open("mapped", O_RDWR | O_CREAT, 0600);

    CHECK_EQ(ftruncate(fd, AREA), 0);
    kept = area(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    left_out = area(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    again = area(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    shared = area(MAP_SHARED | MAP_ANONYMOUS, -1);
    shared_file = area(MAP_SHARED, fd);
    close(fd);
    CHECK_EQ(madvise((void *)left_out, AREA, MADV_DONTDUMP), 0);
    CHECK_EQ(madvise((void *)again, AREA, MADV_DONTDUMP), 0);
    CHECK_EQ(madvise((void *)again, AREA, MADV_DODUMP), 0);
}

static void set_filter(const char *value)
{
    int fd = open("/proc/self/coredump_filter", O_RDWR);
    char text[16] = "";

    CHECK_EQ(write(fd, value, strlen(value)), (ssize_t)strlen(value));
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(read(fd, text, sizeof(text) - 1), 9);
    CHECK_EQ(strtol(text, NULL, 16), strtol(value, NULL, 0));
    close(fd);
}

static void with_shared(void)
{
    set_filter("0x32");
    fault();
}

static void with_private_only(void)
{
    set_filter("0x31");
    fault();
}

static void with_files(void)
{
    set_filter("0x3b");
    fault();
}

/* Which of the areas are in the core file, a bit for each. */
static unsigned kept_areas(void (*fn)(void))
{
    volatile uint64_t *areas[] = {kept, left_out, again, shared, shared_file};
    unsigned found = 0;
    uint8_t *core;
    size_t size;

    CHECK_EQ(status_of(fn), SIGSEGV | WCOREFLAG);
    core = map_core(&size);
    if (!CHECK(core != NULL))
        return 0;
    for (unsigned i = 0; i < ARRAY_COUNT(areas); i++) {
        if (word_at(core, (uintptr_t)areas[i]) == MARK)
            found |= 1U << i;
    }
    CHECK_EQ(munmap(core, size), 0);
    CHECK_EQ(unlink("core"), 0);
    return found;
}

static void test_filter(void)
{
    make_areas();
    CHECK_EQ(kept_areas(fault), 0x0d);
    CHECK_EQ(kept_areas(with_shared), 0x08);
    CHECK_EQ(kept_areas(with_private_only), 0x05);
    CHECK_EQ(kept_areas(with_files), 0x1d);
    CHECK_EQ(unlink("mapped"), 0);
}

static void test_threads(void)
{
    uint8_t *core;
    size_t size;
    int count;

    CHECK_EQ(status_of(with_threads), SIGQUIT | WCOREFLAG);
    core = map_core(&size);
    CHECK(core != NULL);
    if (!core)
        return;
    find_note(core, NT_PRSTATUS, &count);
    CHECK_EQ(count, 4);
    find_note(core, NT_PRPSINFO, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(munmap(core, size), 0);
    CHECK_EQ(unlink("core"), 0);
}

static void test_refusals(void)
{
    struct stat st;
    siginfo_t info;
    pid_t pid;

    CHECK_EQ(status_of(without_limit), SIGABRT);
    CHECK_EQ(status_of(less_than_a_page), SIGABRT);
    CHECK_EQ(status_of(no_core_signal), SIGTERM);
    CHECK_EQ(status_of(undumpable), SIGABRT);
    CHECK_ERRNO(stat("core", &st), ENOENT);
    CHECK_EQ(symlink("elsewhere", "core"), 0);
    CHECK_EQ(status_of(fault), SIGSEGV | WCOREFLAG); /* in its place */
    CHECK_EQ(lstat("core", &st), 0);
    CHECK(S_ISREG(st.st_mode));
    CHECK_EQ(unlink("core"), 0);
    CHECK_EQ(mkdir("core", 0700), 0);
    CHECK_EQ(status_of(fault), SIGSEGV);
    CHECK_EQ(rmdir("core"), 0);
    CHECK_EQ(status_of(small), SIGABRT | WCOREFLAG);
    CHECK_EQ(stat("core", &st), 0);
    CHECK(st.st_size <= 8192);
    pid = fork();
    if (pid == 0)
        fault();
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    CHECK_EQ(info.si_code, CLD_DUMPED);
    CHECK_EQ(info.si_status, SIGSEGV);
    CHECK_EQ(unlink("core"), 0);
}

int main(void)
{
    char folder[] = "/tmp/coredump-XXXXXX", pattern[8] = "";
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    if (setrlimit(RLIMIT_CORE, &limit) < 0)
        check_skip("no cores may be written here");
    if (read(fd, pattern, sizeof(pattern)) != 5 || strcmp(pattern, "core\n") != 0)
        check_skip("cores have another name here");
    close(fd);
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(chdir(folder), 0);
    signal(SIGQUIT, SIG_DFL); /* a shell's background job is started without */
    test_contents();
    test_threads();
    test_filter();
    test_refusals();
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(folder), 0);
    return check_done();
}
