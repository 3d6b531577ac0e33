#include "host/library.h"

#include <dlfcn.h>

void *host_library_open(const char *name, const char **ret_why)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

    if (!library)
        *ret_why = dlerror();
    return library;
}

void *host_library_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}
