#!/usr/bin/env python3
"""Runs programs of Debian natively, then in the sandbox on every platform of this host, and
compares what they print and how they end.

    tests/programs/run.py --build build
    tests/programs/run.py --build build --platform ptrace git 'py*'

Each NAME.sh beside this file is one test, run by bash in an empty folder. Its first line names the
Debian packages that it needs (A|B: either); without them it is skipped by name. A line "# again:"
after it names options of the sandbox with which it runs once more. Those in network/ have a server
and a client, on different sides of a network (sides.py); their names are network/NAME.

The last line is `N passed, N failed, N skipped`.
"""

import argparse
import fnmatch
import os
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from guest_outcome import Tally, difference
from namespaces import leave_in_order
from program import Program
import sides
from run_guest import PLATFORMS, usable_platforms

NAMES = sorted(f[:-3] for f in os.listdir(HERE) if f.endswith(".sh"))
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
               "LC_ALL": "C.UTF-8", "TZ": "UTC0", "TERM": "xterm"}
TIMEOUT = 240  # seconds; the slowest natively takes some ten


def heading(script, name):
    """The words behind `# NAME:` in the first two lines."""
    with open(script, encoding="utf-8") as lines:
        for line in (lines.readline(), lines.readline()):
            if line.startswith(f"# {name}:"):
                return line.split(":", 1)[1].split()
    return []


def missing_packages(script):
    wanted = heading(script, "packages")
    known = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"],
                           capture_output=True, text=True, check=False).stdout.splitlines()
    there = {line.removeprefix("installed ") for line in known if line.startswith("installed ")}
    return [w for w in wanted if there.isdisjoint(w.split("|"))]


def run(script, prefix=()):
    with Program([*prefix, "/bin/bash", script], ENVIRONMENT) as program:
        return program.finish(TIMEOUT)


def judge(tally, label, native, got):
    """What goes to standard error (progress, times) is no part of the answer; it helps a reader."""
    if (got.status, got.out) == (native.status, native.out):
        tally.add("passed", label, f"{got.seconds:.1f} s, natively {native.seconds:.1f} s")
    else:
        tally.add("failed", label, difference(native, got))


def chosen(names, patterns):
    return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--kvmsentry", help="another binary than that of the build folder")
    parser.add_argument("--platform", help="only these, separated by commas")
    parser.add_argument("--both-versions", action="store_true", help="network/: each run over IPv4 and over IPv6")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each test")
    parser.add_argument("names", nargs="*", default=["*"], help="patterns")
    args = parser.parse_args()
    leave_in_order()
    program = os.path.abspath(args.kvmsentry or os.path.join(args.build, "kvmsentry"))
    usable = usable_platforms(program)
    wanted = args.platform.split(",") if args.platform else PLATFORMS
    platforms = [name for name in wanted if not usable[name]]
    tally = Tally(args.verbose)
    for name in chosen(NAMES, args.names):
        script = os.path.join(HERE, name + ".sh")
        missing = missing_packages(script)
        if missing:
            tally.skip_all(len(wanted), f"runs of {name}", f"not installed: {' '.join(missing)}")
            continue
        for platform in set(wanted) - set(platforms):
            tally.add("skipped", f"{name} on {platform}", usable[platform])
        native = run(script)
        variants = [[]] + [[option] for option in heading(script, "again")]
        for platform in platforms:
            for options in variants:
                got = run(script, (program, f"--platform={platform}", *options, "--"))
                judge(tally, " ".join([name, "on", platform, *options]), native, got)
    sides.run_all([name.removeprefix("network/") for name in chosen([f"network/{n}" for n in sides.NAMES], args.names)],
                  sides.Runner(program, ENVIRONMENT, TIMEOUT), platforms, tally, judge, missing_packages,
                  args.both_versions)
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
