/* For tests of what only newer kernels do: the native run skips on an older one. */
#ifndef TESTS_GUEST_KERNEL_H
#define TESTS_GUEST_KERNEL_H

#include <sys/utsname.h>

#include "check.h"

static void need_kernel(int major, int minor)
{
    struct utsname name;
    int got_major = 0, got_minor = 0;

    uname(&name);
    sscanf(name.release, "%d.%d", &got_major, &got_minor);
    if (got_major < major || (got_major == major && got_minor < minor))
        check_skip("the kernel is older than this");
}

#endif
