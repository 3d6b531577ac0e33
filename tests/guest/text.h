/* Files of text that are read and written whole, such as those of /proc. */
#ifndef TESTS_GUEST_TEXT_H
#define TESTS_GUEST_TEXT_H

#include <fcntl.h>

#include "check.h"

/* All of it, or what fits, with a NUL behind; its length. */
__attribute__((unused)) static size_t read_text(const char *path, char *buf, size_t size)
{
    size_t length = 0;
    int fd = open(path, O_RDONLY);

    if (!CHECK(fd >= 0))
        note("%s", path);
    for (ssize_t n; length < size - 1 && (n = read(fd, buf + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    buf[length] = 0;
    close(fd);
    return length;
}

/* By one write(2). 0, or -1 with errno. */
__attribute__((unused)) static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

#endif
