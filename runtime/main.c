#include "runtime/diff.h"
#include "runtime/options.h"
#include "runtime/platforms.h"
#include "runtime/sandbox.h"

int main(int argc, char **argv)
{
    struct options options;

    options_parse(argc, argv, &options);
    if (options.command == COMMAND_DOCTOR)
        return doctor_run();
    if (options.command == COMMAND_DIFF)
        return diff_run(&options);
    return sandbox_run(&options);
}
