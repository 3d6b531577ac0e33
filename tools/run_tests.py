#!/usr/bin/env python3
"""Runs the test suites one after the other and adds up what they report.

A suite is either a meson suite (unit tests; Criterion's counts are read from meson's log) or a
command that ends with a line "N passed, N failed, N skipped". A suite that exits non-zero without
counting a failure, or that counts nothing at all, has failed once: a broken runner is no success.

The last line of all is the sum in the same form. The exit status is 1 if anything failed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
CRITERION = re.compile(
    r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)"
)
MESON_SKIP, MESON_FINE = "SKIP", ("OK", "EXPECTEDFAIL")


class Counts:
    """Passed, failed and skipped tests."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def meson_suite(build, suite, timeout_factor=1, under=()):
    """Runs one suite of meson tests; a Criterion program counts with each of its tests."""
    log = os.path.join(build, "meson-logs", f"testlog-{suite}.json")
    if os.path.exists(log):
        os.remove(log)
    subprocess.run(
        [*under, "meson", "test", "-C", build, "--no-rebuild", "--suite", suite, "--logbase", f"testlog-{suite}",
         "--timeout-multiplier", str(timeout_factor)],
        stdout=subprocess.DEVNULL, check=False,
    )
    counts = Counts()
    if not os.path.exists(log):
        print(f"meson knows no suite {suite} in {build}")
        return Counts(failed=1)
    with open(log, encoding="utf-8") as lines:
        for line in lines:
            test = json.loads(line)
            output = test.get("stdout", "") + test.get("stderr", "")
            criterion = CRITERION.search(output)
            if test["result"] == MESON_SKIP:
                counts.add(Counts(skipped=1))
                print(f"skipped: {test['name']}: {output.strip().splitlines()[-1:]}")
                continue
            if criterion:
                tested, passing, failing, crashing = map(int, criterion.groups())
                counts.add(Counts(passing, failing + crashing, tested - passing - failing - crashing))
            if test["result"] not in MESON_FINE:
                if not criterion or not (failing or crashing):
                    counts.add(Counts(failed=1))
                print(f"{test['name']}: {test['result']}\n{output}")
            elif not criterion:
                counts.add(Counts(passed=1))
    return counts


def command_suite(command):
    """Runs a command, shows what it prints, and takes its closing line for the sum."""
    counts = None
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            match = COUNTS.match(line.strip())
            if match:
                counts = Counts(*(int(number or 0) for number in match.groups()))
            else:
                print("  " + line.rstrip("\n"), flush=True)
    if counts is None:
        print(f"{command[0]}: no closing line, exit status {process.returncode}")
        return Counts(failed=1)
    if process.returncode != 0 and counts.failed == 0:
        print(f"{command[0]}: exit status {process.returncode}")
        counts.failed = 1
    if counts.passed + counts.failed + counts.skipped == 0:
        print(f"{command[0]}: no test ran")
        counts.failed = 1
    return counts


def sanitized(build):
    """The unit tests, and the guest tests on ptrace, once more in a build with AddressSanitizer and
    UndefinedBehaviorSanitizer."""
    folder = os.path.join(build, "asan")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(
            ["meson", "setup", folder, ROOT, "-Db_sanitize=address,undefined", "-Db_lundef=false",
             "-Dtests=enabled"],
            stdout=subprocess.DEVNULL, check=True,
        )
    result = subprocess.run(["ninja", "-C", folder, "meson-test-prereq", "kvmsentry"],
                            capture_output=True, text=True, check=False)
    if result.returncode != 0:
        print("\n".join(result.stdout.splitlines()[-40:]))
        return Counts(failed=1)
    os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    leaks = os.path.join(ROOT, "tests", "unit", "leaks.supp")
    os.environ["LSAN_OPTIONS"] = f"suppressions={leaks}:print_suppressions=0"
    counts = meson_suite(folder, "unit", timeout_factor=4)
    counts.add(command_suite(python(
        "tests/run_guest.py", "--build", build, "--platform", "ptrace",
        "--kvmsentry", os.path.join(folder, "kvmsentry"), "--timeout", "120")))
    return counts


def race_checked(build):
    """The unit tests in a build with clang's ThreadSanitizer, without Criterion, whose processes it
    does not follow (tests/unit/plain). It needs the usual places of its shadow: setarch -R."""
    folder = os.path.join(build, "tsan")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(
            ["meson", "setup", folder, ROOT, "-Db_sanitize=thread", "-Db_lundef=false",
             "-Dtests=disabled", "-Dplain_tests=true"],
            env={**os.environ, "CC": "clang"}, stdout=subprocess.DEVNULL, check=True,
        )
    result = subprocess.run(["ninja", "-C", folder, "meson-test-prereq"], capture_output=True,
                            text=True, check=False)
    if result.returncode != 0:
        print("\n".join(result.stdout.splitlines()[-40:]))
        return Counts(failed=1)
    os.environ["TSAN_OPTIONS"] = "halt_on_error=0:second_deadlock_stack=1"
    return meson_suite(folder, "unit", timeout_factor=6, under=("setarch", "-R"))


def python(*command):
    return [sys.executable, "-B", *command]


def suites(build):
    """Name, what it is, how to run it; the quick ones first."""
    return [
        ("unit", "unit tests (Criterion)", lambda: meson_suite(build, "unit")),
        ("check", "style, floors, jail, documents: ./dev check",
         lambda: command_suite(python("tools/check.py", "--build", build))),
        ("asan", "unit tests, and guest programs on ptrace, with sanitizers",
         lambda: sanitized(build)),
        ("tsan", "unit tests with ThreadSanitizer", lambda: race_checked(build)),
        ("platform", "each platform by itself", lambda: meson_suite(build, "platform")),
        ("guest", "guest programs against a native run, on each platform",
         lambda: command_suite(python("tests/run_guest.py", "--build", build))),
        ("cli", "bad input, killing the sandbox, the jail",
         lambda: command_suite(python("tests/cli/run.py", "--build", build))),
        ("fuzz", "what hostile bytes reach first, for a minute or most of one, under libFuzzer",
         lambda: command_suite(python("tools/fuzz.py", "--seconds", "45", "--rest", "30"))),
        ("callfuzz", "random system calls in the sandbox for two minutes",
         # Always the same rounds, so that a failure is the change's; new ones are the long suite's.
         lambda: command_suite(python("tools/callfuzz.py", "--build", build, "--seconds", "120",
                                      "--seed", "3452861195"))),
        ("nested", "the ring-0 path under kvm_amd in QEMU, with npt=1 and npt=0",
         lambda: command_suite(python("tests/run_nested.py", "--build", build))),
    ]


def named_suites(build):
    """Too long for every run: only by their names."""
    return [
        ("programs", "programs of Debian against a native run, on each platform",
         lambda: command_suite(python("tests/programs/run.py", "--build", build))),
        ("files-long", "ten minutes of random operations on files on each platform, every byte compared",
         lambda: command_suite(python("tests/cli/run.py", "--build", build, "-v", "files-long"))),
        ("million", "what is remembered of a folder of a million files",
         lambda: command_suite(python("tests/cli/run.py", "--build", build, "-v", "million"))),
        ("callfuzz-long", "random system calls in the sandbox for an hour",
         lambda: command_suite(python("tools/callfuzz.py", "--build", build, "--seconds", "3600"))),
    ]


def main():
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--suite", help="only these, separated by commas")
    parser.add_argument("--list", action="store_true", help="name the suites")
    args = parser.parse_args()
    usual = suites(args.build)
    known = usual + named_suites(args.build)
    if args.list:
        for name, what, _ in known:
            print(f"{name:13} {what}")
        return 0
    wanted = args.suite.split(",") if args.suite else [name for name, _, _ in usual]
    unknown = set(wanted) - {name for name, _, _ in known}
    if unknown:
        parser.error(f"no suite {', '.join(sorted(unknown))}; --list names them")

    total, lines = Counts(), []
    for name, what, run in known:
        if name not in wanted:
            continue
        print(f"== {name}: {what}", flush=True)
        begin = time.monotonic()
        counts = run()
        seconds = time.monotonic() - begin
        total.add(counts)
        lines.append(f"{name:13} {counts.passed:5} {counts.failed:6} {counts.skipped:7} {seconds:8.1f}")
    print(f"\n{'suite':13} {'pass':>5} {'fail':>6} {'skip':>7} {'seconds':>8}")
    print("\n".join(lines))
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
