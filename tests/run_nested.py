#!/usr/bin/env python3
"""The nested tier: the guest tests on the genuine ring-0 path, under kvm_amd in an emulated machine.

Boots Debian's kernel in QEMU (tools/nested/machine.py) once with nested paging and once with
`kvm_amd npt=0`, and runs the platform's own tests there, then each guest test natively and on the
kvm platform. The native run is the
oracle, as on the host; the emulated CPU is another one than the host's, so it runs there, too.

    tests/run_nested.py --build build
    tests/run_nested.py --build build --npt 0 'sig_*' hello platform

The last line is `N passed, N failed, N skipped`.
"""

import argparse
import concurrent.futures
import itertools
import os
import shlex
import sys
import time

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
sys.path[:0] = [TESTS, os.path.join(ROOT, "tools", "nested")]
import guest_table
import machine
from run_guest import run_process
from guest_outcome import ENVIRONMENT, Outcome, Tally, check_native

MAX_BOOTS = 4
BOOT_SECONDS = 60  # usual are 3

def shell_job(command, stdin):
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items())
    words = " ".join(shlex.quote(word) for word in command)
    return f"cd {guest_table.DATA} && exec env -i {environment} {words} < {shlex.quote(stdin)}"


def host_run(test, args):
    """The oracle where the machine's Linux, older than what the Sentry answers as, is none."""
    return run_process(test.command, test.stdin, args.timeout)


class Boot:
    """One machine, and the tests that it has yet to run."""

    def __init__(self, npt, cpus, tests, platform_test):
        self.label = f"nested npt={npt}"
        self.npt = npt
        self.cpus = cpus
        self.tests = tests
        self.platform_test = platform_test
        self.stopped = set()  # tests in which the whole machine stopped

    def machine(self, args):
        """A machine with what the tests need, and their jobs in order: native, sandboxed, ..."""
        # Side by side with nested paging one run of unix_storm in 45 stops or ends in a triple fault: none
        # in 270 with CPUs that take turns, none in 100 without nested paging.
        vm = machine.Machine(args.cache, bool(self.npt), self.cpus, job_timeout=args.timeout,
                             parallel=args.parallel or not self.npt)
        vm.add_program(args.kvmsentry, "/kvmsentry")
        vm.set_keeper("exec /kvmsentry --platform=kvm -- /bin/busybox sleep 1000000")
        for name in os.listdir(guest_table.DATA):
            path = os.path.join(guest_table.DATA, name)
            vm.add_file(path, path)
        for name in ("/etc/passwd", "/etc/group"):
            vm.add_data(name, b"root:x:0:0:root:/root:/bin/sh\n")
        if self.platform_test:
            vm.add_program(self.platform_test, "/platform_test")
            vm.add_job("/platform_test --platform=kvm")
        for test in self.tests:
            vm.add_file(test.program, test.program)
            if "host" not in test.options:
                vm.add_job(shell_job(test.command, test.stdin))
            for options in self.variants(test).values():
                command = ["/kvmsentry", "--platform=kvm", *options, "--", *test.command]
                vm.add_job(shell_job(command, test.stdin))
        return vm

    def variants(self, test):
        """How a test runs in the sandbox here: what the report says behind its name, and options."""
        result = {"": []}
        if "exitless" in test.options and self.cpus > 1 and self.npt:
            result[", exitless"] = ["--exitless=always"]
        return result

    def run(self, args, tally, last):
        """
        Judges tests as they end; those behind one that took the machine down are left over, and
        all of them when the emulated machine did not come up, unless this is the last try.
        """
        vm = self.machine(args)
        reports = (Outcome(r.status, r.out, r.err, r.seconds) for r in vm.run(BOOT_SECONDS))
        first = next(reports)
        outcomes = itertools.chain([first], reports)
        if first.status is None and vm.boot_seconds is None and not last:
            print(f"{self.label}: {first.err.decode(errors='replace')}; once more", flush=True)
            return
        if self.platform_test:
            judge_platform_test(next(outcomes), self.label, tally)
            self.platform_test = None
        while self.tests:
            test = self.tests.pop(0)
            name = f"{test.name} on {self.label}"
            native = host_run(test, args) if "host" in test.options else next(outcomes)
            got = {variant: next(outcomes) for variant in self.variants(test)}
            stopped = next((o for o in (native, *got.values()) if o.status is None), None)
            if stopped:
                why = stopped.err.decode(errors="replace")
                if test.name in self.stopped:
                    tally.add("failed", name, why)
                else:  # no program may stop a kernel; see init.sh for what the emulator does
                    print(f"{name}: {why}; once more", flush=True)
                    self.stopped.add(test.name)
                    self.tests.insert(0, test)
                break
            if check_native(test, native, name, tally):
                for variant, outcome in got.items():
                    tally.judge(name + variant, native, outcome)
        reports.close()
        if args.console or vm.boot_seconds is None:
            print(vm.console)


def judge_platform_test(outcome, label, tally):
    """The platform's own test, a line for each of its guests: "ok NAME" or "FAILED NAME"."""
    lines = outcome.out.decode(errors="replace").splitlines()
    for line in lines:
        verdict, _, name = line.partition(" ")
        if verdict in ("ok", "FAILED"):
            tally.add("passed" if verdict == "ok" else "failed", f"platform {name} on {label}")
    if outcome.status != 0 and not any(line.startswith("FAILED ") for line in lines):
        detail = "\n    ".join([f"status {outcome.status}", *lines[-8:]])
        tally.add("failed", f"platform_test on {label}", detail + outcome.err.decode()[-500:])


def run_boot(boot, args, tally):
    """Boots again after a test that took the machine down, but not for ever."""
    begin = time.monotonic()
    count = len(boot.tests)
    for i in range(MAX_BOOTS):
        boot.run(args, tally, last=i == MAX_BOOTS - 1)
        if not boot.tests:
            break
    for test in boot.tests:
        tally.counts["failed"] += 1
    if boot.tests:
        print(f"failed: {len(boot.tests)} tests on {boot.label}: not reached", flush=True)
    seconds = time.monotonic() - begin
    print(f"{boot.label}, {boot.cpus} CPUs: {count} tests in {seconds:.0f} s", flush=True)


def plan(tests, args):
    """
    The boots: tests of threads on two processors, all the others on one, since a second processor
    makes the emulator several times slower.
    """
    boots = []
    for npt in args.npt or (1, 0):
        for cpus in (2, 1):
            group = [t for t in tests if ("smp" in t.options) == (cpus == 2)]
            platform_test = args.platform_test if cpus == 2 else None
            if group or platform_test:
                boots.append(Boot(npt, cpus, group, platform_test))
    return boots


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--kvmsentry", help="the program to test; BUILD/kvmsentry")
    parser.add_argument("--npt", type=int, choices=(0, 1), action="append")
    parser.add_argument("--cache", default=os.path.join(ROOT, "build", "nested"))
    parser.add_argument("--jobs", type=int, default=2, help="machines at once")
    parser.add_argument("--timeout", type=int, default=90, help="seconds for a test")
    parser.add_argument("--parallel", action="store_true",
                        help="emulated CPUs run side by side with nested paging, too")
    parser.add_argument("--console", action="store_true", help="print the machine's console, too")
    parser.add_argument("-v", "--verbose", action="store_true", help="name what passed, too")
    parser.add_argument("names", nargs="*", help="tests, as shell patterns; all")
    args = parser.parse_args()
    args.kvmsentry = os.path.abspath(args.kvmsentry or os.path.join(args.build, "kvmsentry"))
    args.platform_test = os.path.join(args.build, "tests", "platform", "platform_test")
    if args.names and "platform" not in args.names or not os.path.exists(args.platform_test):
        args.platform_test = None
    return args


def main():
    args = parse_arguments()
    tests = guest_table.read_tests(args.build, args.names)
    if not os.path.exists(args.kvmsentry):
        print(f"{args.kvmsentry} does not exist: build it first", file=sys.stderr)
        return 2
    tally = Tally(args.verbose)
    count = len(args.npt or (1, 0))
    for test in [t for t in tests if not os.path.exists(t.program)]:
        tally.skip_all(count, f"runs of {test.name}", f"{test.program} does not exist")
        tests.remove(test)
    tests = [t for t in tests if "local" not in t.options]
    try:
        machine.prepare(args.cache)
    except machine.Unavailable as reason:
        tally.skip_all(len(tests) * count, "tests of the nested tier", reason)
        return tally.close()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda boot: run_boot(boot, args, tally), plan(tests, args)))
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
