/*
 * What /proc tells about a task beyond what proc_pid asks: every field of stat, the lines of
 * status, what is counted and what can be set, mappings by name.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "text.h"

static char text[65536];

/* Field `number` of stat as proc(5) counts them, from 1; the name has none of its own here. */
static long long stat_field(const char *path, int number)
{
    char *at;

    read_text(path, text, sizeof(text));
    at = strrchr(text, ')') + 1;
    for (int i = 3; i < number; i++)
        at = strchr(at + 1, ' ');
    return strtoll(at, NULL, 10);
}

static int stat_count(void)
{
    int count = 2;

    read_text("/proc/self/stat", text, sizeof(text));
    for (char *at = strrchr(text, ')') + 1; *at; at++)
        count += *at == ' ';
    return count;
}

static void test_stat(void)
{
    const struct sched_param fifo = {.sched_priority = 7};
    int status;

    CHECK_EQ(stat_count(), 52);
    CHECK_EQ(stat_field("/proc/self/stat", 18), 20 + getpriority(PRIO_PROCESS, 0));
    CHECK_EQ(stat_field("/proc/self/stat", 20), 1);
    CHECK_EQ(stat_field("/proc/self/stat", 35), 0);
    CHECK_EQ(stat_field("/proc/self/stat", 38), SIGCHLD);
    CHECK_EQ(stat_field("/proc/self/stat", 41), SCHED_OTHER);
    CHECK_EQ(stat_field("/proc/self/stat", 9) & 0x40, 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK_EQ(stat_field("/proc/self/stat", 9) & 0x40, 0x40); /* PF_FORKNOEXEC */
        if (sched_setscheduler(0, SCHED_FIFO, &fifo) == 0) {
            CHECK_EQ(stat_field("/proc/self/stat", 18), -8);
            CHECK_EQ(stat_field("/proc/self/stat", 40), 7);
            CHECK_EQ(stat_field("/proc/self/stat", 41), SCHED_FIFO);
        }
        _exit(check_failures ? 1 : 3);
    }
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", child);
    CHECK_EQ(stat_field(path, 52), 3 << 8);
    CHECK_EQ(stat_field(path, 20), 1);
    CHECK_EQ(stat_field(path, 9) & 4, 4); /* PF_EXITING */
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 3 << 8);
}

static long line(const char *name)
{
    const char *at = strstr(text, name);

    return CHECK(at != NULL) ? strtol(at + strlen(name), NULL, 0) : -1;
}

static void test_status(void)
{
    static const char *const names[] = {
        "Name:\t",
        "\nUmask:\t",
        "\nState:\t",
        "\nTgid:\t",
        "\nNgid:\t",
        "\nPid:\t",
        "\nPPid:\t",
        "\nTracerPid:\t",
        "\nUid:\t",
        "\nGid:\t",
        "\nFDSize:\t",
        "\nGroups:\t",
        "\nNStgid:\t",
        "\nNSpid:\t",
        "\nNSpgid:\t",
        "\nNSsid:\t",
        "\nVmPeak:\t",
        "\nVmSize:\t",
        "\nVmLck:\t",
        "\nVmPin:\t",
        "\nVmHWM:\t",
        "\nVmRSS:\t",
        "\nRssAnon:\t",
        "\nRssFile:\t",
        "\nRssShmem:\t",
        "\nVmData:\t",
        "\nVmStk:\t",
        "\nVmExe:\t",
        "\nVmLib:\t",
        "\nVmPTE:\t",
        "\nVmSwap:\t",
        "\nCoreDumping:\t",
        "\nThreads:\t",
        "\nSigQ:\t",
        "\nSigPnd:\t",
        "\nShdPnd:\t",
        "\nSigBlk:\t",
        "\nSigIgn:\t",
        "\nSigCgt:\t",
        "\nCapInh:\t",
        "\nCapPrm:\t",
        "\nCapEff:\t",
        "\nCapBnd:\t",
        "\nCapAmb:\t",
        "\nNoNewPrivs:\t",
        "\nSeccomp:\t",
        "\nCpus_allowed:\t",
        "\nCpus_allowed_list:\t",
        "\nMems_allowed:\t",
        "\nMems_allowed_list:\t",
        "\nvoluntary_ctxt_switches:\t",
        "\nnonvoluntary_ctxt_switches:\t",
    };
    size_t size = 8 << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *at = text;

    read_text("/proc/self/status", text, sizeof(text));
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        const char *next = strstr(at, names[i]);

        if (!next)
            note("no %s where it belongs", names[i] + (names[i][0] == '\n'));
        CHECK(next != NULL);
        at = next ? next : at;
    }
    long anonymous = line("RssAnon:"), shmem = line("RssShmem:"), size_before = line("VmSize:");
    CHECK_EQ(line("VmRSS:"), anonymous + line("RssFile:") + shmem);
    CHECK_EQ(shmem, 0);
    memset(memory, 1, size);
    memset(shared, 1, size);
    read_text("/proc/self/status", text, sizeof(text));
    CHECK_EQ(line("VmSize:"), size_before);
    CHECK(line("RssAnon:") >= anonymous + 8192 && line("RssAnon:") < anonymous + 9000);
    CHECK_EQ(line("RssShmem:"), 8192);
    munmap(memory, size);
    munmap(shared, size);
}

static long long counted(const char *name)
{
    read_text("/proc/self/io", text, sizeof(text));
    const char *at = strstr(text, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : -1;
}

static void test_io(void)
{
    char buf[1000] = "";
    int p[2];

    CHECK_EQ(pipe(p), 0);
    long long read_before = counted("rchar: "), length = (long long)strlen(text);
    long long written = counted("wchar: "), calls = counted("syscw: ");
    for (int i = 0; i < 5; i++)
        CHECK_EQ(write(p[1], buf, 100), 100);
    CHECK_EQ(read(p[0], buf, sizeof(buf)), 500);
    CHECK_EQ(counted("wchar: "), written + 500);
    CHECK_EQ(counted("syscw: "), calls + 5);
    CHECK(counted("rchar: ") >= read_before + 500 + 4 * length);
    close(p[0]);
    close(p[1]);
}

static void test_oom(void)
{
    read_text("/proc/self/oom_score_adj", text, sizeof(text));
    long before = strtol(text, NULL, 10);

    CHECK_EQ(write_text("/proc/self/oom_score_adj", "500\n"), 0);
    read_text("/proc/self/oom_adj", text, sizeof(text));
    CHECK_EQ(strtol(text, NULL, 10), 500 * 17 / 1000);
    CHECK_EQ(write_text("/proc/self/oom_adj", "15"), 0);
    read_text("/proc/self/oom_score_adj", text, sizeof(text));
    CHECK_EQ(strtol(text, NULL, 10), 1000);
    CHECK_ERRNO(write_text("/proc/self/oom_adj", "16"), EINVAL);
    CHECK_ERRNO(write_text("/proc/self/oom_score_adj", "1001"), EINVAL);
    CHECK_ERRNO(write_text("/proc/self/oom_score_adj", "x"), EINVAL);
    if (geteuid() == 0) {
        char number[16];

        snprintf(number, sizeof(number), "%ld", before);
        CHECK_EQ(write_text("/proc/self/oom_score_adj", number), 0);
    }
}

static void test_timers(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    timer_t timer;
    int id, signo, pid, clock;
    unsigned long value;

    event.sigev_value.sival_ptr = (void *)0x1234;
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    read_text("/proc/self/timers", text, sizeof(text));
    CHECK_EQ(sscanf(text, "ID: %d\nsignal: %d/%lx\nnotify: signal/pid.%d\nClockID: %d\n", &id,
                    &signo, &value, &pid, &clock),
             5);
    CHECK(signo == SIGUSR2 && value == 0x1234 && pid == getpid() && clock == CLOCK_MONOTONIC);
    CHECK_EQ(timer_delete(timer), 0);
    CHECK_EQ(read_text("/proc/self/timers", text, sizeof(text)), 0);
}

static void test_children(void)
{
    char path[64], want[64];
    pid_t one = fork();

    if (one == 0)
        for (;;)
            pause();
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    snprintf(want, sizeof(want), "%d ", one);
    read_text(path, text, sizeof(text));
    CHECK(strcmp(text, want) == 0);
    kill(one, SIGKILL);
    CHECK_EQ(waitpid(one, NULL, 0), one);
    CHECK_EQ(read_text(path, text, sizeof(text)), 0);
}

/* The program's own first mapping: device and number, and the link with its addresses. */
static void test_mappings(void)
{
    unsigned long start, end, ino;
    unsigned dev_major, dev_minor;
    char name[4096], own[4096], link[128];
    struct stat st;
    ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);

    CHECK(n > 0);
    own[n] = 0;
    read_text("/proc/self/maps", text, sizeof(text));
    char *at = strstr(text, own);
    if (!CHECK(at != NULL))
        return;
    while (at > text && at[-1] != '\n')
        at--;
    CHECK_EQ(sscanf(at, "%lx-%lx r%*c%*c%*c %*x %x:%x %lu %4095s", &start, &end, &dev_major,
                    &dev_minor, &ino, name),
             6);
    CHECK(strcmp(name, own) == 0);
    CHECK_EQ(stat("/proc/self/exe", &st), 0);
    CHECK_EQ(st.st_ino, ino);
    CHECK(major(st.st_dev) == dev_major && minor(st.st_dev) == dev_minor);
    snprintf(link, sizeof(link), "/proc/self/map_files/%lx-%lx", start, end);
    n = readlink(link, name, sizeof(name) - 1);
    CHECK_EQ(n, strlen(own));
    CHECK(memcmp(name, own, strlen(own)) == 0);
    CHECK_EQ(lstat(link, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0400);
    snprintf(link, sizeof(link), "/proc/self/map_files/%lx-%lx", start, end + 4096);
    CHECK_ERRNO(readlink(link, name, sizeof(name)), ENOENT);
}

static void test_links(void)
{
    char path[64];
    struct stat st;
    int modes[] = {O_RDONLY, O_WRONLY, O_RDWR}, want[] = {0500, 0300, 0700};

    for (int i = 0; i < 3; i++) {
        int fd = open("/dev/null", modes[i]);

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        CHECK_EQ(lstat(path, &st), 0);
        CHECK_EQ(st.st_mode, S_IFLNK | want[i]);
        CHECK_EQ(st.st_size, 64);
        close(fd);
    }
    CHECK_EQ(stat("/proc/self", &st), 0);
    CHECK(st.st_mtime > 1000000000);
}

static void test_smaps(void)
{
    size_t size = 64 << 12;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char start[32];

    memset(memory, 1, size);
    snprintf(start, sizeof(start), "%08lx-", (unsigned long)memory);
    read_text("/proc/self/smaps", text, sizeof(text));
    char *at = strstr(text, start);
    if (!CHECK(at != NULL))
        return;
    memmove(text, at, strlen(at) + 1);
    CHECK_EQ(line("\nSize:"), 256);
    CHECK_EQ(line("\nRss:"), 256);
    CHECK_EQ(line("\nAnonymous:"), 0);
    at = strstr(text, "\nVmFlags: ");
    CHECK(at && memcmp(at + 10, "rd wr sh mr mw me ms", 20) == 0);
    read_text("/proc/self/smaps_rollup", text, sizeof(text));
    CHECK(strstr(text, "[rollup]\nRss:") != NULL);
    CHECK_EQ(line("\nPss_Shmem:"), 256);
    read_text("/proc/self/numa_maps", text, sizeof(text));
    start[strlen(start) - 1] = 0;
    at = strstr(text, start[0] == '0' ? start + 1 : start);
    CHECK(at && strstr(at, " default ") && strstr(at, "N0=64"));
    munmap(memory, size);
}

int main(void)
{
    test_stat();
    test_status();
    test_io();
    test_oom();
    test_timers();
    test_children();
    test_mappings();
    test_links();
    test_smaps();
    return check_done();
}
