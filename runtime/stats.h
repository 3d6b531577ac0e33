/* Counters of the sandbox, for --stats and the benchmark. */
#ifndef RUNTIME_STATS_H
#define RUNTIME_STATS_H

struct platform;
struct memfile;

/* Logs "kvmsentry: stats: NAME VALUE" lines, whatever the log level. */
void stats_log(struct platform *platform, struct memfile *memfile);

#endif
