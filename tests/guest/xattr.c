/* Extended attributes, as far as every file system of the host and the sandbox agree on them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "check.h"

#define NOWHERE ((const char *)8)

int main(void)
{
    const char *here = "poem.txt";
    static char big[1 << 20];
    char name[300], value[16];
    int fd = open(here, O_RDONLY);

    CHECK(fd >= 0);
    CHECK_ERRNO(getxattr(here, "user.kvmsentry-none", value, sizeof(value)), ENODATA);
    CHECK_ERRNO(fgetxattr(fd, "user.kvmsentry-none", value, sizeof(value)), ENODATA);
    CHECK_ERRNO(lgetxattr(here, "nospace.x", value, sizeof(value)), EOPNOTSUPP);
    CHECK_ERRNO(getxattr("no-such-file", "user.x", value, sizeof(value)), ENOENT);
    CHECK_ERRNO(getxattr(NOWHERE, "user.x", value, sizeof(value)), EFAULT);
    CHECK_ERRNO(fgetxattr(-1, "user.x", value, sizeof(value)), EBADF);
    CHECK_ERRNO(getxattr(here, "", value, sizeof(value)), ERANGE);
    CHECK_ERRNO(getxattr(here, NOWHERE, value, sizeof(value)), EFAULT);
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = 0;
    CHECK_ERRNO(getxattr(here, name, value, sizeof(value)), ERANGE);

    CHECK(listxattr(here, NULL, 0) >= 0);
    CHECK(flistxattr(fd, NULL, 0) >= 0);
    CHECK_ERRNO(llistxattr("no-such-file", NULL, 0), ENOENT);
    CHECK_ERRNO(flistxattr(-1, NULL, 0), EBADF);

    CHECK_ERRNO(setxattr(here, "user.x", value, 1, 64), EINVAL);
    CHECK_ERRNO(setxattr(here, "user.x", big, sizeof(big), 0), E2BIG);
    CHECK_ERRNO(setxattr("no-such-file", "user.x", value, 1, 0), ENOENT);
    CHECK_ERRNO(removexattr("no-such-file", "user.x"), ENOENT);
    CHECK_ERRNO(fremovexattr(-1, "user.x"), EBADF);
    return check_done();
}
