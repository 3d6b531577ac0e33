#!/usr/bin/env python3
"""Runs the guest tests: natively, then in the sandbox on every platform of this host, and compares.

A test that fails natively fails; one whose program was not built, or whose platform is missing, is
skipped by name (guest_outcome.py).

    tests/run_guest.py --build build
    tests/run_guest.py --build build --platform ptrace futex 'sig_*'

The last line is `N passed, N failed, N skipped`.
"""

import argparse
import concurrent.futures
import os
import resource
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, TESTS)
import guest_table
from guest_outcome import ENVIRONMENT, Outcome, Tally, check_native

PLATFORMS = ("kvm", "ptrace")


def settle_child():
    """The same start for every test, however this runner was started (nohup, a shell's background)."""
    for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(signo, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, resource.RLIM_INFINITY))


def last_words(process):
    """What a killed process had written, even if others in a session of theirs keep its pipes."""
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired as late:
        process.stdout.close()
        process.stderr.close()
        return late.stdout or b"", late.stderr or b""


def run_process(command, stdin, timeout):
    """Runs in a session of its own, of which nothing is left afterwards."""
    begin = time.monotonic()
    with open(stdin, "rb") as source:
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd=guest_table.DATA,
            start_new_session=True,
            preexec_fn=settle_child,
        )
        try:
            out, err = process.communicate(timeout=timeout)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = last_words(process)
            status = None
    return Outcome(status, out, err, time.monotonic() - begin)


def sandbox_command(kvmsentry, platform, command, *options):
    return [kvmsentry, f"--platform={platform}", *options, "--", *command]


def usable_platforms(kvmsentry):
    """What `kvmsentry doctor` says of each platform: {name: None or why not}."""
    result = {}
    doctor = subprocess.run([kvmsentry, "doctor"], capture_output=True, text=True, check=False)
    for line in doctor.stdout.splitlines():
        name, _, rest = line.strip().partition(":")
        if name in PLATFORMS:
            result[name] = None if rest.strip().startswith("usable") else rest.strip()
    for name in PLATFORMS:
        result.setdefault(name, f"doctor does not name it (status {doctor.returncode})")
    return result


def native_run(test, timeout, tally):
    """The oracle's outcome, or None when the test cannot be judged (which is counted)."""
    if not os.path.exists(test.program):
        tally.add("skipped", test.name, f"{test.program} does not exist")
        return None
    native = run_process(test.command, test.stdin, timeout)
    return check_native(test, native, test.name, tally)


def run_local(tests, args, tally):
    usable = usable_platforms(args.kvmsentry)
    platforms = []
    for name in args.platform or PLATFORMS:
        if usable[name] is None:
            platforms.append(name)
        else:
            tally.skip_all(len(tests), f"guest tests on {name}", usable[name])

    def job(test):
        timeout = args.timeout * (3 if "slow" in test.options else 1)
        native = native_run(test, timeout, tally)
        if native is None:
            return
        for platform in platforms:
            command = sandbox_command(args.kvmsentry, platform, test.command)
            got = run_process(command, test.stdin, timeout)
            tally.judge(f"{test.name} on {platform}", native, got)
        for platform in platforms if "exitless" in test.options else []:
            command = sandbox_command(args.kvmsentry, platform, test.command, "--exitless=always")
            got = run_process(command, test.stdin, timeout)
            tally.judge(f"{test.name} on {platform}, exitless", native, got)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(job, tests))


def parse_arguments():
    root = os.path.dirname(TESTS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(root, "build"))
    parser.add_argument("--kvmsentry", help="the program to test; BUILD/kvmsentry")
    parser.add_argument("--platform", action="append", choices=PLATFORMS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=60, help="seconds for a test")
    parser.add_argument("--native", action="store_true", help="the native runs only")
    parser.add_argument("-v", "--verbose", action="store_true", help="name what passed, too")
    parser.add_argument("names", nargs="*", help="tests, as shell patterns; all")
    args = parser.parse_args()
    args.kvmsentry = os.path.abspath(args.kvmsentry or os.path.join(args.build, "kvmsentry"))
    return args


def main():
    args = parse_arguments()
    tests = guest_table.read_tests(args.build, args.names)
    tally = Tally(args.verbose)
    if args.native:
        for test in tests:
            if native_run(test, args.timeout, tally):
                tally.add("passed", test.name)
    elif not os.path.exists(args.kvmsentry):
        print(f"{args.kvmsentry} does not exist: build it first", file=sys.stderr)
        return 2
    else:
        run_local(tests, args, tally)
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
