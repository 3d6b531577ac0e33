/* Counters of the sandbox, for --stats and the benchmark. */
#ifndef RUNTIME_STATS_H
#define RUNTIME_STATS_H

struct platform;
struct memfile;
struct kernel;

/*
 * Logs "kvmsentry: stats: NAME VALUE" lines, whatever the log level. After the last program has
 * ended only the runtime's own files (the standard descriptors among them) are open; more is a
 * leak.
 */
void stats_log(struct platform *platform, struct memfile *memfile, struct kernel *kernel);

#endif
