/* /sys as programs use it: processors and their caches, memory, nodes, devices by kind and number.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "check.h"
#include "text.h"

static char text[65536];

static const char *slurp(const char *path)
{
    read_text(path, text, sizeof(text));
    return text;
}

static int count(const char *path, const char *head)
{
    DIR *dir = opendir(path);
    int found = 0;

    if (!CHECK(dir != NULL))
        return -1;
    for (struct dirent *e; (e = readdir(dir));)
        found += strncmp(e->d_name, head, strlen(head)) == 0 && e->d_name[strlen(head)] >= '0' &&
                 e->d_name[strlen(head)] <= '9';
    closedir(dir);
    return found;
}

static void leads_to(const char *path, const char *end)
{
    char real[PATH_MAX];

    if (!CHECK(realpath(path, real) != NULL))
        return;
    size_t length = strlen(real), tail = strlen(end);
    if (!CHECK(length >= tail && strcmp(real + length - tail, end) == 0))
        note("%s is %s", path, real);
}

#define CPU "/sys/devices/system/cpu/"

static void test_cpus(void)
{
    char online[256], list[64];
    struct stat st;
    long cpus = sysconf(_SC_NPROCESSORS_CONF);

    CHECK_EQ(count(CPU, "cpu"), cpus);
    snprintf(online, sizeof(online), "%.200s", slurp(CPU "online"));
    CHECK(strncmp(online, "0", 1) == 0);
    CHECK(strcmp(slurp("/sys/devices/system/node/node0/cpulist"), online) == 0 ||
          count("/sys/devices/system/node", "node") > 1);
    CHECK(strcmp(slurp(CPU "cpu0/topology/physical_package_id"), "0\n") == 0);
    slurp(CPU "cpu0/topology/core_id");
    CHECK(text[0] >= '0' && text[0] <= '9');
    slurp(CPU "cpu0/topology/thread_siblings_list");
    snprintf(list, sizeof(list), "%.60s", text);
    CHECK(list[0] == '0');
    CHECK_EQ(stat("/sys/devices/system/node/node0/cpu0/topology", &st), 0);
    CHECK(strcmp(slurp("/sys/devices/system/node/possible"), "0\n") == 0 || text[0] == '0');
    CHECK_ERRNO(open(CPU "cpu01", O_RDONLY), ENOENT);
    CHECK_ERRNO(open(CPU "cpu99999", O_RDONLY), ENOENT);
}

static void test_caches(void)
{
    if (access(CPU "cpu0/cache/index0", F_OK) < 0)
        return; /* a machine that tells of none */
    CHECK(strcmp(slurp(CPU "cpu0/cache/index0/level"), "1\n") == 0);
    slurp(CPU "cpu0/cache/index0/type");
    CHECK(strcmp(text, "Data\n") == 0 || strcmp(text, "Instruction\n") == 0);
    slurp(CPU "cpu0/cache/index0/size");
    CHECK(atoi(text) > 0 && strstr(text, "K\n"));
    slurp(CPU "cpu0/cache/index0/coherency_line_size");
    CHECK_EQ(atoi(text), 64);
    CHECK(slurp(CPU "cpu0/cache/index0/shared_cpu_list")[0] == '0');
    CHECK(count(CPU "cpu0/cache", "index") >= 2);
}

static void test_memory(void)
{
    if (access("/sys/devices/system/memory", F_OK) < 0)
        return; /* a kernel without memory blocks */
    CHECK(strtoul(slurp("/sys/devices/system/memory/block_size_bytes"), NULL, 16) >= 1UL << 20);
    CHECK(count("/sys/devices/system/memory", "memory") > 0);
    CHECK(strcmp(slurp("/sys/devices/system/memory/memory0/state"), "online\n") == 0);
    CHECK(strcmp(slurp("/sys/devices/system/memory/memory0/phys_index"), "00000000\n") == 0);
    slurp("/sys/devices/system/node/node0/meminfo");
    CHECK(strncmp(text, "Node 0 MemTotal: ", 17) == 0);
}

static void test_devices(void)
{
    struct stat st;

    leads_to("/sys/class/net/lo", "/devices/virtual/net/lo");
    leads_to("/sys/class/tty/ptmx", "/devices/virtual/tty/ptmx");
    leads_to("/sys/dev/char/1:3", "/devices/virtual/mem/null");
    CHECK(strcmp(slurp("/sys/class/tty/ptmx/dev"), "5:2\n") == 0);
    CHECK(strcmp(slurp("/sys/class/mem/null/uevent"),
                 "MAJOR=1\nMINOR=3\nDEVNAME=null\nDEVMODE=0666\n") == 0);
    CHECK(strcmp(slurp("/sys/class/net/lo/address"), "00:00:00:00:00:00\n") == 0);
    CHECK(strcmp(slurp("/sys/class/net/lo/type"), "772\n") == 0);
    CHECK(stat("/sys/block", &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(stat("/sys/module", &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(stat("/sys/fs/cgroup", &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(strtoul(slurp("/sys/kernel/uevent_seqnum"), NULL, 10) < UINT64_MAX);
    CHECK(stat("/sys/class/tty", &st) == 0 && st.st_mtime > 1000000000);
}

int main(void)
{
    test_cpus();
    test_caches();
    test_memory();
    test_devices();
    return check_done();
}
