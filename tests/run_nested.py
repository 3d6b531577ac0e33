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
from guest_outcome import ENVIRONMENT, Outcome, Tally, check_native


def shell_job(command, stdin):
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items())
    words = " ".join(shlex.quote(word) for word in command)
    return f"cd {guest_table.DATA} && exec env -i {environment} {words} < {shlex.quote(stdin)}"


def load_machine(vm, tests, args):
    """Copies what the tests need into the machine, and gives it their jobs in order."""
    vm.add_program(args.kvmsentry, "/kvmsentry")
    for name in os.listdir(guest_table.DATA):
        path = os.path.join(guest_table.DATA, name)
        vm.add_file(path, path)
    for name in ("/etc/passwd", "/etc/group"):
        vm.add_data(name, b"root:x:0:0:root:/root:/bin/sh\n")
    if args.platform_test:
        vm.add_program(args.platform_test, "/platform_test")
        vm.add_job("/platform_test --platform=kvm")
    for test in tests:
        vm.add_file(test.program, test.program)
        vm.add_job(shell_job(test.command, test.stdin))
        vm.add_job(shell_job(["/kvmsentry", "--platform=kvm", "--", *test.command], test.stdin))


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


def run_nested(tests, npt, args, tally):
    """One boot: each test natively there and in the sandbox, since the emulated CPU is another."""
    label = f"nested npt={npt}"
    begin = time.monotonic()
    vm = machine.Machine(args.cache, bool(npt), job_timeout=args.timeout)
    load_machine(vm, tests, args)
    outcomes = [Outcome(r.status, r.out, r.err, r.seconds) for r in vm.run()]
    if args.platform_test:
        judge_platform_test(outcomes.pop(0), label, tally)
    for test, native, got in zip(tests, outcomes[::2], outcomes[1::2]):
        name = f"{test.name} on {label}"
        if native.status is None:
            tally.add("failed", name, native.err.decode(errors="replace"))
        elif check_native(test, native, name, tally):
            tally.judge(name, native, got)
    if args.console or vm.boot_seconds is None:
        print(vm.console)
    print(f"{label}: {len(tests)} tests in {time.monotonic() - begin:.0f} s", flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--kvmsentry", help="the program to test; BUILD/kvmsentry")
    parser.add_argument("--npt", type=int, choices=(0, 1), action="append")
    parser.add_argument("--cache", default=os.path.join(ROOT, "build", "nested"))
    parser.add_argument("--timeout", type=int, default=90, help="seconds for a test")
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
    boots = args.npt or [1, 0]
    for test in [t for t in tests if not os.path.exists(t.program)]:
        tally.skip_all(len(boots), f"runs of {test.name}", f"{test.program} does not exist")
        tests.remove(test)
    tests = [t for t in tests if "local" not in t.options]
    try:
        machine.prepare(args.cache)
    except machine.Unavailable as reason:
        tally.skip_all(len(tests) * len(boots), "tests of the nested tier", reason)
        return tally.close()
    # Most tests keep one processor busy: two machines at once take hardly longer than one.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda npt: run_nested(tests, npt, args, tally), boots))
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
