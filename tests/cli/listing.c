/*
 * Lists a big folder that was there before while it is changed: names that are there all the time
 * come once, each position leads back to its name, and what was removed or made is not there or is.
 * Natively and in the sandbox: tests/cli/overlay.py.
 *
 *     listing FOLDER COUNT    COUNT names, as name_of() has them
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/guest/check.h"

#define COUNT_MAX 10000

static int count;
static unsigned char seen[COUNT_MAX];
static long places[COUNT_MAX];
static int made_seen;

/* Every fourth is long. */
static const char *name_of(int number)
{
    static char text[256];
    int size = snprintf(text, sizeof(text), "k%05d", number);

    if (number % 4 == 0) {
        memset(text + size, 'n', 200);
        text[size + 200] = '\0';
    }
    return text;
}

static void make(int number)
{
    char name[20];

    snprintf(name, sizeof(name), "made%d", number);
    close(open(name, O_CREAT | O_EXCL | O_WRONLY, 0600));
}

/* The next name; its number, -1 for one that was made, -2 at the end. */
static int next(DIR *dir)
{
    struct dirent *d;
    int number;

    while ((d = readdir(dir)) && d->d_name[0] == '.')
        continue;
    if (!d)
        return -2;
    if (sscanf(d->d_name, "k%5d", &number) != 1 || strcmp(d->d_name, name_of(number)) != 0) {
        made_seen++;
        return CHECK(strncmp(d->d_name, "made", 4) == 0) ? -1 : -2;
    }
    return number;
}

static void begin(DIR *dir)
{
    rewinddir(dir);
    memset(seen, 0, sizeof(seen));
    made_seen = 0;
}

/* Reads at most so many names; how many came. */
static int read_some(DIR *dir, int limit)
{
    int number, got = 0;

    while (got < limit) {
        long place = telldir(dir);

        number = next(dir);
        if (number == -2)
            break;
        got++;
        if (number >= 0 && CHECK(number < count)) {
            seen[number]++;
            places[number] = place;
        }
    }
    return got;
}

static void test_places(DIR *dir)
{
    begin(dir);
    CHECK_EQ(read_some(dir, COUNT_MAX), count - 10 + 3);
    for (int number = 0; number < count; number++)
        CHECK_EQ(seen[number], number >= 10);
    CHECK_EQ(made_seen, 3);
    for (int number = count - 1; number >= 10; number -= 97) {
        seekdir(dir, places[number]);
        CHECK_EQ(next(dir), number);
    }
    seekdir(dir, places[20]);
    CHECK(next(dir) == 20 && read_some(dir, 5) <= 5);
}

static void test_changes(DIR *dir)
{
    int got;

    begin(dir);
    got = read_some(dir, count / 2);
    CHECK_EQ(got, count / 2);
    for (int number = 100; number < count; number += 10)
        CHECK_EQ(unlink(name_of(number)), 0);
    for (int i = 10; i < 20; i++)
        make(i);
    read_some(dir, COUNT_MAX);
    for (int number = 10; number < count; number++) {
        if (number < 100 || number % 10)
            CHECK_EQ(seen[number], 1);
        else
            CHECK(seen[number] <= 1);
    }
    CHECK(made_seen >= 3 && made_seen <= 13);
    begin(dir);
    read_some(dir, COUNT_MAX);
    for (int number = 10; number < count; number++)
        CHECK_EQ(seen[number], number < 100 || number % 10);
    CHECK_EQ(made_seen, 13);
}

int main(int argc, char **argv)
{
    DIR *dir;

    count = argc == 3 ? atoi(argv[2]) : 0;
    if (!CHECK(count > 200 && count <= COUNT_MAX) || !CHECK_EQ(chdir(argv[1]), 0))
        return check_done();
    dir = opendir(".");
    begin(dir);
    CHECK_EQ(read_some(dir, COUNT_MAX), count);
    for (int number = 0; number < 10; number++)
        CHECK_EQ(unlink(name_of(number)), 0);
    for (int i = 0; i < 3; i++)
        make(i);
    test_places(dir);
    test_changes(dir);
    for (int number = 0; number < count; number++)
        unlink(name_of(number));
    begin(dir);
    CHECK_EQ(read_some(dir, COUNT_MAX), 13);
    closedir(dir);
    return check_done();
}
