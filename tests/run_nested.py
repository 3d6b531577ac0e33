#!/usr/bin/env python3
"""The nested tier: the guest tests on the genuine ring-0 path, under kvm_amd in an emulated machine.

Boots Debian's kernel in QEMU (tools/nested/machine.py) once with nested paging and once with
`kvm_amd npt=0`, and runs each test there natively and on the kvm platform. The native run is the
oracle, as on the host; the emulated CPU is another one than the host's, so it runs there, too.

    tests/run_nested.py --build build
    tests/run_nested.py --build build --npt 0 'sig_*' hello

The last line is `N passed, N failed, N skipped`.
"""

import argparse
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


def run_nested(tests, npt, args, tally):
    """One boot: each test natively there and in the sandbox, since the emulated CPU is another."""
    label = f"nested npt={npt}"
    missing = [t for t in tests if not os.path.exists(t.program)]
    for test in missing:
        tally.add("skipped", f"{test.name} on {label}", f"{test.program} does not exist")
    tests = [t for t in tests if "local" not in t.options and t not in missing]
    try:
        vm = machine.Machine(args.cache, bool(npt), job_timeout=args.timeout)
    except machine.Unavailable as reason:
        tally.skip_all(len(tests), f"tests of {label}", reason)
        return
    vm.add_program(args.kvmsentry, "/kvmsentry")
    for name in os.listdir(guest_table.DATA):
        path = os.path.join(guest_table.DATA, name)
        vm.add_file(path, path)
    for name in ("/etc/passwd", "/etc/group"):
        vm.add_data(name, b"root:x:0:0:root:/root:/bin/sh\n")
    for test in tests:
        vm.add_file(test.program, test.program)
        vm.add_job(shell_job(test.command, test.stdin))
        vm.add_job(shell_job(["/kvmsentry", "--platform=kvm", "--", *test.command], test.stdin))
    begin = time.monotonic()
    outcomes = [Outcome(r.status, r.out, r.err, r.seconds) for r in vm.run()]
    for test, native, got in zip(tests, outcomes[::2], outcomes[1::2]):
        name = f"{test.name} on {label}"
        if native.status is None:
            tally.add("failed", name, native.err.decode(errors="replace"))
        elif check_native(test, native, name, tally):
            tally.judge(name, native, got)
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
    return args


def main():
    args = parse_arguments()
    tests = guest_table.read_tests(args.build, args.names)
    if not os.path.exists(args.kvmsentry):
        print(f"{args.kvmsentry} does not exist: build it first", file=sys.stderr)
        return 2
    tally = Tally(args.verbose)
    for npt in args.npt or (1, 0):
        run_nested(tests, npt, args, tally)
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
