/* `kvmsentry diff`: what is kept in a folder of --overlay=dir:PATH. */
#ifndef RUNTIME_DIFF_H
#define RUNTIME_DIFF_H

struct options;

/* Prints the list to standard output; the status to exit with. */
int diff_run(const struct options *options);

#endif
