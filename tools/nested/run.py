#!/usr/bin/env python3
"""Runs commands inside the nested tier's machine (see machine.py).

    tools/nested/run.py --npt=0 --file build/kvmsentry:/kvmsentry -- '/kvmsentry doctor' 'ls /'

Each command is a shell script and one job. Their output appears here as it came out there, and the
exit status is that of the first one that failed; 77 if the tier cannot run on this host.
"""

import argparse
import os
import sys
import time

sys.dont_write_bytecode = True
import machine

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--npt", type=int, choices=(0, 1), default=1, help="kvm_amd npt=")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", type=int, default=1024, metavar="MB")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for each command")
    parser.add_argument("--cache", default=os.path.join(ROOT, "build", "nested"))
    parser.add_argument("--console", action="store_true", help="print the machine's console, too")
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="SOURCE[:PATH]",
        help="a file or program for the machine, with the shared libraries it needs",
    )
    parser.add_argument("commands", nargs="+", metavar="COMMAND")
    return parser.parse_args()


def main():
    args = parse_arguments()
    try:
        vm = machine.Machine(
            args.cache, bool(args.npt), args.cpus, args.memory, job_timeout=args.timeout
        )
    except machine.Unavailable as reason:
        print(f"nested tier skipped: {reason}", file=sys.stderr)
        return 77
    for item in args.file:
        source, _, path = item.partition(":")
        vm.add_program(source, path or "/" + os.path.basename(source))
    for command in args.commands:
        vm.add_job(command)
    begin = time.monotonic()
    status = 0
    for command, result in zip(args.commands, vm.run()):
        sys.stdout.buffer.write(result.out)
        sys.stdout.buffer.flush()
        sys.stderr.buffer.write(result.err)
        sys.stderr.buffer.flush()
        print(f"[{result.status}, {result.seconds:.2f} s] {command}", file=sys.stderr)
        if result.status != 0 and status == 0:
            status = 1 if result.status is None else result.status
    if args.console or vm.boot_seconds is None:
        sys.stderr.write(vm.console)
    total = time.monotonic() - begin
    print(f"booted in {vm.boot_seconds} s (machine time), {total:.0f} s in all", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
