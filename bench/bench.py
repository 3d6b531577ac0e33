#!/usr/bin/env python3
"""Measures the sandbox against the host itself and prints Markdown for docs/PERFORMANCE.md.

Native and every platform take turns, for several rounds in each row, so that what disturbs the
machine disturbs all of them; the figure shown is the median over the rounds. A row is printed as
soon as it is measured. A platform that does not work here is named and left out, never guessed; a
run that fails or takes too long is named in its place, and the others go on.
"""

import argparse
import datetime
import math
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import servers

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLATFORMS = ("kvm", "ptrace")
TOO_LONG = 60  # seconds for one run
FAILED = math.nan
COUNTED_NS = 2e8  # of the runs in which exits are counted

# Key, title, benchmark, options for kvmsentry; first those of bench/guest.c, then those of
# bench/processes.c.
OPERATIONS = [
    ("getpid", "`getpid`, raw", "getpid", ()),
    ("sentry", "`getpid` served by the Sentry (fast path off)", "getpid", ("--no-fastpath",)),
    ("clock", "`clock_gettime`", "clock_gettime", ()),
    ("zero", "`read` of 4 KiB from /dev/zero", "read_zero", ()),
    ("pipe", "1-byte pipe `write` + `read`", "pipe", ()),
    ("fault", "page fault (first touch of 4 KiB)", "page_fault", ()),
    ("mmap", "`mmap` + `munmap` of 64 KiB", "mmap", ()),
    ("thread", "thread create + join", "thread", ()),
    ("futex", "futex ping-pong, there and back", "futex", ()),
]
PROCESSES = [
    ("fork", "`fork` + `_exit` + `wait`", "fork_exit", ()),
    ("exec", "`fork` + `execve` of a static program + `wait`", "fork_exec", ()),
    ("spawn", "`posix_spawn` of a static program (`vfork`, `execve`) + `wait`", "vfork_exec", ()),
    ("pipe2", "pipe ping-pong between processes, there and back", "pipe_switch", ()),
    ("futex2", "futex ping-pong between processes, there and back", "futex_switch", ()),
    ("epoll", "eventfd + `epoll_wait` between processes, there and back", "epoll_wake", ()),
    ("signal", "`tgkill` to itself, handler, `rt_sigreturn`", "signal", ()),
    ("hack", "hackbench's pattern: 20 senders, 20 receivers, 2,000 messages by pipes",
     "hackbench_pipes", ()),
    ("hacks", "the same by sockets", "hackbench_sockets", ()),
    ("thousand", "1,000 threads at once: made, met, joined", "threads_1000", ()),
    ("myriad", "10,000 threads at once: made, met, joined", "threads_10000", ()),
]
# System calls of both sides: fork, wait4, set_robust_list, exit_group; two writes and two reads.
CALLS_OF = {"fork": 4, "pipe2": 4}
# They take long, and are one long operation.
ROUNDS_OF = {"myriad": 1, "find": 2, "servers": 1}
SLOW = {"myriad", "thousand", "find", "servers"}  # left out by --quick
UNCOUNTED = {"myriad"}  # exits are not counted: it would take as long once more
# Those of bench/files.c.
FILES = [
    ("stat", "`stat` of /etc/passwd", "stat", ()),
    ("absent", "`stat` of a name that does not exist", "absent", ()),
    ("open", "`open` + `close` of /etc/passwd", "open_close", ()),
    ("pread", "`pread` of 4 KiB", "pread", ()),
    ("block", "`read` of 1 MiB, sequential", "read_block", ()),
    ("large", "`read` of 8 MiB, sequential", "read_large", ()),
    ("write", "`write` of 1 MiB to a tmpfs, sequential", "write_block", ()),
    ("grow", "`write` of 1 MiB at the end of a new file on a tmpfs", "write_new", ()),
    ("create", "`open` with O_CREAT + `close` + `unlink` on a tmpfs", "create_unlink", ()),
    ("readdir", "`readdir` of 10,000 names", "readdir", ()),
    ("map", "`mmap` of 1 MiB of a file, a byte of each page read, `munmap`", "map_read", ()),
]
# Those of bench/sockets.c: two processes, but for the last.
SOCKETS = [
    ("unixtrip", "a byte there and back, `socketpair`", "unix_trip", ()),
    ("tcptrip", "a byte there and back, TCP", "tcp_trip", ()),
    ("udptrip", "a byte there and back, UDP", "udp_trip", ()),
    ("unixbulk", "1 MiB in blocks of 64 KiB, `socketpair`", "unix_bulk", ()),
    ("tcpbulk", "1 MiB in blocks of 64 KiB, TCP", "tcp_bulk", ()),
    ("connect", "`connect` + `accept` + both `close`, TCP", "tcp_connect", ()),
]
IN_PROCESSES = {name for _, _, name, _ in PROCESSES}
IN_FILES = {name for _, _, name, _ in FILES}
IN_SOCKETS = {name for _, _, name, _ in SOCKETS}
COMPILED_FILES = 10
STOPPED = "each call stopped once by a tracer that does nothing"  # bench/tracer.c
# Whole programs over many files: key, title, words; they run in Bench.folder.
COMMANDS = [
    ("find", "`find /usr`", ["find", "/usr"]),
    ("compile", "a program of 10 files, compiled and linked",
     ["sh", "-c", "exec cc -O1 -o /dev/shm/kvmsentry-bench-program part*.c"]),
]


def make_files(folder):
    """What bench/files.c and COMMANDS find in their folder."""
    with open(os.path.join(folder, "big"), "wb") as big:
        for _ in range(32):
            big.write(os.urandom(1 << 20))
    os.mkdir(os.path.join(folder, "many"))
    for number in range(10000):
        with open(os.path.join(folder, "many", f"name-{number}"), "wb"):
            pass
    for number in range(COMPILED_FILES):
        main = "int main(void) { return part0() > 0; }\n" if number == 0 else ""
        lines = "".join(f"    n = n * {k} + (int)strlen(getenv(\"HOME\"));\n" for k in range(2, 60))
        with open(os.path.join(folder, f"part{number}.c"), "w", encoding="ascii") as part:
            part.write("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
                       f"int part{number}(void)\n{{\n    int n = 0;\n{lines}    return n;\n}}\n{main}")


class Bench:
    """Where things are, what is wanted, and how to run a program natively or on a platform."""

    def __init__(self, args):
        self.build = args.build
        self.budget = str(args.budget)
        self.rounds = args.rounds
        self.rows = set(args.row or ())
        self.left_out = SLOW if args.quick and not self.rows else set()
        self.sentry = os.path.join(self.build, "kvmsentry")
        self.guest = os.path.join(self.build, "bench", "bench_guest")
        self.processes = os.path.join(self.build, "bench", "bench_processes")
        self.files = os.path.join(self.build, "bench", "bench_files")
        self.sockets = os.path.join(self.build, "bench", "bench_sockets")
        self.folder = None  # where the file benchmarks run
        self.hello = os.path.join(self.build, "bench", "bench_hello")
        self.tracer = os.path.join(self.build, "bench", "bench_tracer")
        self.spawn = os.path.join(self.build, "bench", "bench_spawn")

    def wanted(self, key):
        return key not in self.left_out and (not self.rows or key in self.rows)

    def rounds_of(self, key):
        return min(self.rounds, ROUNDS_OF.get(key, self.rounds))

    def command(self, where, program, *options):
        if where == "native":
            return list(program)
        if where == STOPPED:
            return [self.tracer, *program]
        return [self.sentry, f"--platform={where}", *options, *program]

    def works(self, where):
        """None, or why a platform cannot be measured."""
        result = subprocess.run(self.command(where, [self.hello]), capture_output=True, text=True,
                                timeout=60, check=False)
        if result.returncode == 0 and result.stdout == "hello\n":
            return None
        lines = result.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit status {result.returncode}"

    def program(self, name):
        if name in IN_FILES:
            return self.files
        if name in IN_SOCKETS:
            return self.sockets
        return self.processes if name in IN_PROCESSES else self.guest

    def operation(self, where, name, options):
        """Nanoseconds of one operation; infinite when it took too long, FAILED when it failed."""
        command = self.command(where, [self.program(name), self.budget, name],
                               *(options if where != "native" else ()))
        try:
            line = subprocess.run(command, capture_output=True, text=True, timeout=TOO_LONG,
                                  check=True, cwd=self.folder).stdout
            return float(line.split()[1])
        except subprocess.TimeoutExpired:
            return math.inf
        except (subprocess.CalledProcessError, IndexError, ValueError):
            return FAILED

    def whole(self, where, words):
        """Nanoseconds from spawn to exit of a program over many files, or as operation()."""
        begin = time.monotonic_ns()
        program = subprocess.Popen(self.command(where, words), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, cwd=self.folder)
        late = threading.Timer(TOO_LONG, program.kill)
        late.start()
        status = program.wait()  # with a timeout it would look every 50 ms
        late.cancel()
        if status != 0:
            return math.inf if status == -signal.SIGKILL else FAILED
        return time.monotonic_ns() - begin

    def startup(self, where, count):
        """Microseconds from spawn to exit of hello: the median."""
        command = [self.spawn, str(count), *self.command(where, [self.hello])]
        line = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        return float(line.split()[0])

    def memory(self, where):
        """KiB of all processes of a sandbox in which hello waits: (proportional, resident)."""
        with subprocess.Popen(
            self.command(where, [self.hello, "wait"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            time.sleep(0.05)
            rollups = [smaps(pid) for pid in descendants(process.pid)]
            process.stdin.close()
        return tuple(sum(rollup[field] for rollup in rollups) for field in ("Pss", "Rss"))

    def exits(self, name, options, nanoseconds):
        """Guest exits per operation as KVM counted them, where one operation takes about that
        long; None if that is not known."""
        def count(operations):
            with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
                program = [self.program(name), f"={operations}", name]
                command = self.command("kvm", program, "--stats", f"--log={log.name}", *options)
                subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               timeout=TOO_LONG, check=True, cwd=self.folder)
                return int(re.search(r"\bKVM exits\D*(\d+)", log.read()).group(1))

        if not math.isfinite(nanoseconds):
            return None
        more = max(2, min(1000, int(COUNTED_NS / nanoseconds)))
        try:
            return max(count(1 + more) - count(1), 0) / more
        except (subprocess.SubprocessError, AttributeError):
            return None


def descendants(pid):
    """A process and everything below it."""
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as children:
                    found += map(int, children.read().split())
        except FileNotFoundError:
            continue
    return found


def smaps(pid):
    fields = {"Pss": 0, "Rss": 0}
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                name, _, value = line.partition(":")
                if name in fields:
                    fields[name] = int(value.split()[0])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return fields


def short(nanoseconds):
    if math.isnan(nanoseconds):
        return "failed"
    if math.isinf(nanoseconds):
        return f"over {TOO_LONG} s"
    if nanoseconds < 1000:
        return f"{nanoseconds:.0f} ns" if nanoseconds >= 100 else f"{nanoseconds:.1f} ns"
    return f"{nanoseconds / 1000:.2f} µs" if nanoseconds < 1e6 else f"{nanoseconds / 1e6:.2f} ms"


def ratio(here, native):
    return f"{here / native:.2f}" if math.isfinite(here / native) else "-"


def median(values):
    """Of the runs that came to an end in time; what was wrong with the first when none did."""
    good = [value for value in values if math.isfinite(value)]
    return statistics.median(good) if good else values[0]


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def host_line():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True, check=False).stdout.strip()
    return (f"{datetime.date.today()}, commit {commit or 'unknown'}; {os.cpu_count()} CPUs, {model}; "
            f"Linux {platform.release().split('-')[0]}")


def take_turns(places, rounds, measure):
    """The median of measure(where) over the rounds, for each place."""
    times = {where: [] for where in places}
    for number in range(rounds):
        # Each round begins with another place, so that none always follows the same one.
        first = number % len(places)
        for where in places[first:] + places[:first]:
            if not times[where] or math.isfinite(times[where][-1]):
                times[where].append(measure(where))
    return {where: median(values) for where, values in times.items()}


def print_operations(bench, places, operations):
    head = ["operation", "native"]
    for where in places[1:]:
        head += [where, "ratio"]
    if "kvm" in places:
        head.append("KVM exits per operation")
    print(row(*head))
    print(row("---", *["---:"] * (len(head) - 1)), flush=True)
    medians = {}
    for key, title, name, options in operations:
        if not bench.wanted(key):
            continue
        here = take_turns(places, bench.rounds_of(key),
                          lambda where, n=name, o=options: bench.operation(where, n, o))
        medians.update({(where, key): value for where, value in here.items()})
        cells = [title, short(here["native"])]
        for where in places[1:]:
            cells += [short(here[where]), ratio(here[where], here["native"])]
        if "kvm" in places:
            exits = None if key in UNCOUNTED else bench.exits(name, options, here["kvm"])
            cells.append("-" if exits is None else f"{exits:.3f}")
        print(row(*cells), flush=True)
    return medians


def print_commands(bench, places):
    if not any(bench.wanted(key) for key, *_ in COMMANDS):
        return
    places = [*places, STOPPED]
    print(row("whole program over many files", *places))
    print(row("---", *["---:"] * len(places)), flush=True)
    for key, title, words in COMMANDS:
        if not bench.wanted(key):
            continue
        for where in places:
            bench.whole(where, words)
        here = take_turns(places, bench.rounds_of(key), lambda where, w=words: bench.whole(where, w))
        cells = [short(here["native"])]
        for where in places[1:]:
            cells.append(f"{short(here[where])} ({ratio(here[where], here['native'])})")
        print(row(title, *cells), flush=True)


def print_files(bench, places):
    # Not in /tmp, which the sandbox has of its own.
    with tempfile.TemporaryDirectory(dir=os.path.join(bench.build, "bench")) as folder:
        make_files(folder)
        bench.folder = folder
        print_operations(bench, places, FILES)
        print()
        print_commands(bench, places)
        bench.folder = None


def print_whole(bench, places):
    starts = take_turns(places, bench.rounds, lambda where: bench.startup(where, 10))
    memory = {where: bench.memory(where) for where in places}
    native = starts["native"]
    print(row("whole program", *places))
    print(row("---", *["---:"] * len(places)))
    print(row("hello, from spawn to exit",
              *[short(starts[where] * 1000) for where in places]))
    print(row("... above native",
              *[short(max(starts[where] - native, 0) * 1000) for where in places]))
    for index, title in enumerate(("proportional (PSS)", "resident (RSS)")):
        print(row(f"memory of all its processes while hello waits, {title}",
                  *[f"{memory[where][index] / 1024:.1f} MiB" for where in places]))


def bare_loops(bench):
    """What one round trip costs this host, whoever makes it: (name, ns or why not) by platform."""
    program = os.path.join(bench.build, "bench", "bench_bare")
    result = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    loops = {}
    for line in result.stdout.splitlines():
        name, value = line.split(": ", 1)
        loops["kvm" if "KVM" in name else "ptrace"] = (
            name, float(value) if value.isdigit() else value)
    return loops


def print_limits(loops, medians):
    """The bare loops, and what the Sentry needs for a call that it serves."""
    print(row("physical limit", "median", "a call served by the Sentry", "ratio"))
    print(row("---", "---:", "---:", "---:"))
    for where, (name, value) in loops.items():
        served = medians.get((where, "sentry"))
        if isinstance(value, str) or served is None:
            print(row(name, value if isinstance(value, str) else short(value), "-", "-"))
        else:
            print(row(name, short(value), short(served), f"{served / value:.2f}"))


def print_traps(bench, loops, medians, places):
    """Operations next to the system calls that the programs make for them, as bare round trips."""
    cells = ["its traps alone", "calls"]
    for where in places[1:]:
        cells += [f"{where}: traps", "measured", "ratio"]
    print(row(*cells))
    print(row("---", *["---:"] * (len(cells) - 1)))
    for key, title, _, _ in PROCESSES:
        if key not in CALLS_OF or not bench.wanted(key):
            continue
        cells = [title, str(CALLS_OF[key])]
        for where in places[1:]:
            value, measured = loops.get(where, ("", "-"))[1], medians[where, key]
            if isinstance(value, str) or not math.isfinite(measured):
                cells += ["-", short(measured), "-"]
            else:
                alone = CALLS_OF[key] * value
                cells += [short(alone), short(measured), f"{measured / alone:.2f}"]
        print(row(*cells))


def parse_options():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    keys = [key for key, *_ in OPERATIONS + PROCESSES + FILES + COMMANDS + SOCKETS]
    keys += ["servers", "hello"]
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--budget", type=int, metavar="MS",
                        help="for each benchmark and round, default 60")
    parser.add_argument("--quick", action="store_true",
                        help="2 rounds of 20 ms, without the rows that take long")
    parser.add_argument("--only", choices=("calls", "processes", "files", "sockets"),
                        help="only these tables")
    parser.add_argument("--row", action="append", choices=keys, metavar="ROW",
                        help="only this row, or these: " + " ".join(keys))
    parser.add_argument("--platform", action="append", choices=PLATFORMS, help="only this one")
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.budget = args.budget or (20 if args.quick else 60)
    return args


def print_tables(bench, places, only):
    def wants(table, *keys):
        return only in (None, table) and any(map(bench.wanted, keys))

    loops = bare_loops(bench)
    if wants("processes", *[key for key, *_ in PROCESSES]):
        medians = print_operations(bench, places, PROCESSES)
        print()
        print_traps(bench, loops, medians, places)
        print()
    if wants("files", *[key for key, *_ in FILES + COMMANDS]):
        print_files(bench, places)
        print()
    if wants("sockets", *[key for key, *_ in SOCKETS]):
        print_operations(bench, places, SOCKETS)
        print()
    if wants("sockets", "servers"):
        servers.print_servers(bench, places, bench.rounds_of("servers"), row)
        print()
    if wants("calls", *[key for key, *_ in OPERATIONS]):
        medians = print_operations(bench, places, OPERATIONS)
        print()
        print_limits(loops, medians)
        print()
    if wants("calls", "hello"):
        print_whole(bench, places)


def main():
    args = parse_options()
    bench = Bench(args)
    subprocess.run(["ninja", "-C", args.build, "kvmsentry", "bench/bench_guest", "bench/bench_hello",
                    "bench/bench_processes", "bench/bench_files", "bench/bench_sockets",
                    "bench/bench_spawn", "bench/bench_tracer", "bench/bench_bare"],
                   stdout=subprocess.DEVNULL, check=True)
    places = ["native"]
    print(host_line() + f"; medians of {args.rounds} rounds.\n", flush=True)
    for where in args.platform or PLATFORMS:
        reason = bench.works(where)
        if reason:
            print(f"{where} is left out: {reason}\n")
        else:
            places.append(where)
    print_tables(bench, places, args.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
