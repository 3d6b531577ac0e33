/*
 * The first line of a script: `#! interpreter [one argument]`, cut as Linux cuts it
 * (fs/binfmt_script.c): spaces and tabs only; the rest of the line is one argument; a line longer
 * than the 255 bytes that are looked at is refused if that would cut the interpreter's name, and
 * silently shortened if it cuts the argument.
 */
#include "loader/elf_plan.h"

#include <errno.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

int script_parse(const void *buf, size_t size, struct script_line *ret_line, struct why *why)
{
    /* As in Linux's zero-padded buffer, a NUL ends the line where the file ends. */
    char line[SCRIPT_LINE_MAX + 1] = {0};
    size_t end, name, name_end, arg;
    bool whole;

    memcpy(line, buf, MIN(size, (size_t)SCRIPT_LINE_MAX));
    end = 2;
    while (end < SCRIPT_LINE_MAX - 1 && line[end] && line[end] != '\n')
        end++;
    whole =
        end < SCRIPT_LINE_MAX - 1 || line[end] == '\n' || line[end] == '\0' || is_blank(line[end]);

    for (name = 2; name < end && is_blank(line[name]); name++)
        ;
    for (name_end = name; name_end < end && !is_blank(line[name_end]); name_end++)
        ;
    if (name == name_end)
        return why_set(why, -ENOEXEC, "a script that names no interpreter after its #!");
    if (name_end == end && !whole)
        return why_set(why, -ENOEXEC, "a script whose #! line is longer than %d bytes",
                       SCRIPT_LINE_MAX - 1);
    while (end > name_end && is_blank(line[end - 1]))
        end--;
    for (arg = name_end; arg < end && is_blank(line[arg]); arg++)
        ;

    *ret_line = (struct script_line){.has_argument = arg < end};
    memcpy(ret_line->interpreter, line + name, name_end - name);
    memcpy(ret_line->argument, line + arg, end - arg);
    return 0;
}
