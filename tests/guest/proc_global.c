/* What /proc tells about the whole system: locks on files, memory, files, names of this boot. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "check.h"
#include "text.h"

static char text[262144];

/* The line of /proc/locks with this kind, process and object, without its number; NULL: none. */
static char *find_lock(const char *kind, int pid, const struct stat *st)
{
    char want[128];

    read_text("/proc/locks", text, sizeof(text));
    snprintf(want, sizeof(want), " %d %02x:%02x:%lu ", pid, major(st->st_dev), minor(st->st_dev),
             st->st_ino);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *body = strchr(line, ' ') + 1;

        if (strstr(line, want) && strncmp(body, kind, strlen(kind)) == 0)
            return body;
    }
    return NULL;
}

static bool line_is(const char *kind, int pid, const struct stat *st, const char *head,
                    const char *tail)
{
    char *line = find_lock(kind, pid, st);

    return line && strncmp(line, head, strlen(head)) == 0 && strlen(line) >= strlen(tail) &&
           strcmp(line + strlen(line) - strlen(tail), tail) == 0;
}

static void test_locks(void)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
    struct flock open_range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100};
    char name[64];
    struct stat st;

    snprintf(name, sizeof(name), "/tmp/proc_global.%d", getpid());
    int fd = open(name, O_RDWR | O_CREAT, 0600), other = open(name, O_RDWR);
    CHECK(fd >= 0 && other >= 0);
    unlink(name);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(fcntl(fd, F_SETLK, &range), 0);
    CHECK(line_is("POSIX", getpid(), &st, "POSIX  ADVISORY  WRITE ", " 10 29"));
    CHECK_EQ(fcntl(fd, F_OFD_SETLK, &open_range), 0);
    CHECK(line_is("OFDLCK", -1, &st, "OFDLCK ADVISORY  READ ", " 100 EOF"));
    CHECK_EQ(flock(fd, LOCK_SH), 0);
    CHECK(line_is("FLOCK", getpid(), &st, "FLOCK  ADVISORY  READ ", " 0 EOF"));
    snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
    read_text(name, text, sizeof(text));
    CHECK(strstr(text, "\nlock:\t1: ") && strstr(text, ": FLOCK  ADVISORY  READ ") &&
          strstr(text, ": OFDLCK ADVISORY  READ ") && strstr(text, ": POSIX  ADVISORY  WRITE "));
    pid_t child = fork();
    if (child == 0) {
        flock(other, LOCK_EX);
        _exit(0);
    }
    bool seen = false;
    for (int i = 0; i < 2000 && !seen; i++) {
        seen = find_lock("-> FLOCK  ADVISORY  WRITE ", child, &st) != NULL;
        usleep(1000);
    }
    CHECK(seen);
    CHECK_EQ(flock(fd, LOCK_UN), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK(find_lock("FLOCK", getpid(), &st) == NULL);
    close(other); /* with it go the POSIX locks */
    CHECK(find_lock("POSIX", getpid(), &st) == NULL);
    CHECK(find_lock("OFDLCK", -1, &st) != NULL);
    close(fd);
    CHECK(find_lock("OFDLCK", -1, &st) == NULL);
}

static long line(const char *name)
{
    const char *at = strstr(text, name);

    return CHECK(at != NULL) ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void test_memory(void)
{
    static const char *const names[] = {
        "MemTotal:", "MemFree:",  "MemAvailable:", "Buffers:",     "Cached:",       "SwapCached:",
        "Active:",   "Inactive:", "SwapTotal:",    "SwapFree:",    "Dirty:",        "AnonPages:",
        "Mapped:",   "Shmem:",    "Slab:",         "CommitLimit:", "Committed_AS:", "VmallocTotal:",
    };

    read_text("/proc/meminfo", text, sizeof(text));
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        CHECK(strstr(text, names[i]) != NULL);
    CHECK(line("MemTotal:") > line("MemFree:"));
    CHECK(line("MemAvailable:") > 0);
    read_text("/proc/vmstat", text, sizeof(text));
    CHECK(line("nr_free_pages ") > 0);
    CHECK(strstr(text, "\npgfault ") && strstr(text, "\npgmajfault ") && strstr(text, "\npswpin "));
}

static void test_time(void)
{
    double up, idle;
    long user, nice, system, idle_ticks;

    read_text("/proc/uptime", text, sizeof(text));
    CHECK_EQ(sscanf(text, "%lf %lf", &up, &idle), 2);
    CHECK(up >= 0 && idle >= 0);
    read_text("/proc/stat", text, sizeof(text));
    CHECK_EQ(sscanf(text, "cpu %ld %ld %ld %ld", &user, &nice, &system, &idle_ticks), 4);
    CHECK(strstr(text, "\ncpu0 ") && strstr(text, "\nctxt ") && strstr(text, "\nbtime ") &&
          strstr(text, "\nprocesses ") && strstr(text, "\nprocs_running "));
}

static void test_boot(void)
{
    char first[64];

    CHECK_EQ(read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text)), 37);
    snprintf(first, sizeof(first), "%.37s", text);
    CHECK(first[14] == '4' && first[8] == '-' && first[36] == '\n');
    read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text));
    CHECK(strcmp(first, text) == 0);
    read_text("/proc/sys/kernel/random/uuid", text, sizeof(text));
    CHECK(strcmp(first, text) != 0);
}

static void test_counts(void)
{
    long before, after;
    int masters[3];

    read_text("/proc/sys/fs/file-nr", text, sizeof(text));
    before = strtol(text, NULL, 10);
    CHECK(before > 0);
    read_text("/proc/sys/kernel/pty/nr", text, sizeof(text));
    before = strtol(text, NULL, 10);
    for (int i = 0; i < 3; i++)
        masters[i] = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    read_text("/proc/sys/kernel/pty/nr", text, sizeof(text));
    after = strtol(text, NULL, 10);
    for (int i = 0; i < 3; i++)
        close(masters[i]);
    CHECK(after >= before + 3 || masters[0] < 0);
}

static void test_texts(void)
{
    CHECK(read_text("/proc/swaps", text, sizeof(text)) > 10 && strncmp(text, "Filename\t", 9) == 0);
    CHECK(read_text("/proc/devices", text, sizeof(text)) > 0 &&
          strncmp(text, "Character devices:\n  1 mem\n", 27) == 0);
    CHECK(strstr(text, "\n\nBlock devices:\n") != NULL);
    CHECK(read_text("/proc/filesystems", text, sizeof(text)) > 0 && strstr(text, "nodev\tproc\n"));
    CHECK(read_text("/proc/execdomains", text, sizeof(text)) > 0 &&
          strncmp(text, "0-0\tLinux", 9) == 0);
    CHECK(read_text("/proc/tty/drivers", text, sizeof(text)) > 0 && strstr(text, "pty_slave"));
    CHECK(read_text("/proc/softirqs", text, sizeof(text)) > 0 && strstr(text, "TIMER:"));
    CHECK(read_text("/proc/interrupts", text, sizeof(text)) > 0 && strstr(text, "CPU0"));
    CHECK(read_text("/proc/version", text, sizeof(text)) > 0 &&
          strncmp(text, "Linux version ", 14) == 0);
    CHECK(read_text("/proc/zoneinfo", text, sizeof(text)) > 0 && strstr(text, "Node 0, zone"));
    CHECK(read_text("/proc/buddyinfo", text, sizeof(text)) > 0 &&
          strncmp(text, "Node 0, zone", 12) == 0);
    CHECK(read_text("/proc/sys/vm/swappiness", text, sizeof(text)) > 0);
    CHECK(read_text("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text)) > 0);
    CHECK_ERRNO(open("/proc/no such thing", O_RDONLY), ENOENT);
}

int main(void)
{
    test_locks();
    test_memory();
    test_time();
    test_boot();
    test_counts();
    test_texts();
    return check_done();
}
