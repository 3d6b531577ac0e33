#!/usr/bin/env python3
"""Runs the guest tests: natively, then in the sandbox on every platform, and compares.

Linux is the oracle: a test passes on a platform when its standard output, standard error and
status are byte for byte those of the native run. A test that fails natively fails; one that exits
with 77 natively, or whose program was not built, or whose platform is missing, is skipped by name.

    tests/run_guest.py --build build                  # every platform of this host
    tests/run_guest.py --build build --nested         # the kvm platform in QEMU, npt=1 and npt=0
    tests/run_guest.py --build build --platform ptrace futex 'sig_*'

The last line is `N passed, N failed, N skipped`.
"""

import argparse
import concurrent.futures
import difflib
import fnmatch
import os
import resource
import shlex
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, TESTS)
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "tools", "nested"))
import guest_table
import machine

PLATFORMS = ("kvm", "ptrace")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/",
    "LANG": "C",
    "TZ": "UTC0",
    "EMPTY": "",
}
SKIP_STATUS = 77


class Outcome:
    """How one run of one test ended. Death by signal is 128+N, as a shell says it."""

    def __init__(self, status, out, err, seconds=0.0):
        self.status = status  # None: out of time
        self.out = out
        self.err = err
        self.seconds = seconds

    def same_as(self, other):
        return (self.status, self.out, self.err) == (other.status, other.out, other.err)


class Tally:
    """Counts, and prints a line for each test that did not pass."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def add(self, verdict, label, detail=""):
        self.counts[verdict] += 1
        if verdict != "passed" or self.verbose:
            print(f"{verdict}: {label}" + (f": {detail}" if detail else ""), flush=True)

    def judge(self, label, native, got):
        if got.same_as(native):
            self.add("passed", label, f"{got.seconds:.2f} s" if self.verbose else "")
        else:
            self.add("failed", label, difference(native, got))

    def closing_line(self):
        return "{passed} passed, {failed} failed, {skipped} skipped".format(**self.counts)


def difference(native, got):
    """What a person needs to see first: the status, then the first lines that differ."""
    parts = []
    if got.status is None:
        parts.append(f"out of time after {got.seconds:.0f} s")
    elif got.status != native.status:
        parts.append(f"status {got.status}, natively {native.status}")
    for stream in ("out", "err"):
        want, have = getattr(native, stream), getattr(got, stream)
        if want == have:
            continue
        lines = difflib.unified_diff(
            want.decode(errors="replace").splitlines(),
            have.decode(errors="replace").splitlines(),
            lineterm="",
            n=0,
        )
        shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        shown = shown or [f"{len(have)} bytes, natively {len(want)}"]
        extra = [f"... {len(shown) - 12} more"] if len(shown) > 12 else []
        parts.append(f"std{stream}:\n    " + "\n    ".join(shown[:12] + extra))
    return ", ".join(parts)


def limit_child():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, resource.RLIM_INFINITY))


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
            preexec_fn=limit_child,
        )
        try:
            out, err = process.communicate(timeout=timeout)
            status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            status = None
    return Outcome(status, out, err, time.monotonic() - begin)


def sandbox_command(kvmsentry, platform, command):
    return [kvmsentry, f"--platform={platform}", "--", *command]


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


def check_native(test, native, label, tally):
    if native.status == SKIP_STATUS and "status" not in test.options:
        tally.add("skipped", label, native.out.decode(errors="replace").strip())
        return None
    if native.status is None or (native.status != 0 and "status" not in test.options):
        text = native.out.decode(errors="replace").strip().replace("\n", "\n    ")
        tally.add("failed", label, f"natively: status {native.status}\n    {text}")
        return None
    return native


def run_local(tests, args, tally):
    usable = usable_platforms(args.kvmsentry)
    platforms = []
    for name in args.platform or PLATFORMS:
        if usable[name] is None:
            platforms.append(name)
        else:
            for test in tests:
                tally.counts["skipped"] += 1
            print(f"skipped: all {len(tests)} guest tests on {name}: {usable[name]}", flush=True)

    def job(test):
        timeout = args.timeout * (3 if "slow" in test.options else 1)
        native = native_run(test, timeout, tally)
        if native is None:
            return
        for platform in platforms:
            command = sandbox_command(args.kvmsentry, platform, test.command)
            got = run_process(command, test.stdin, timeout)
            tally.judge(f"{test.name} on {platform}", native, got)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(job, tests))


def shell_job(command, stdin):
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items())
    words = " ".join(shlex.quote(word) for word in command)
    return f"cd {guest_table.DATA} && exec env -i {environment} {words} < {shlex.quote(stdin)}"


def run_nested(tests, npt, args, tally):
    """One boot: each test natively there and in the sandbox, since the emulated CPU is another."""
    label = f"nested npt={npt}"
    tests = [t for t in tests if "local" not in t.options and os.path.exists(t.program)]
    try:
        vm = machine.Machine(args.cache, bool(npt), job_timeout=args.timeout)
    except machine.Unavailable as reason:
        tally.counts["skipped"] += len(tests)
        print(f"skipped: all {len(tests)} tests of {label}: {reason}", flush=True)
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
        vm.add_job(shell_job(sandbox_command("/kvmsentry", "kvm", test.command), test.stdin))
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
    root = os.path.dirname(TESTS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(root, "build"))
    parser.add_argument("--kvmsentry", help="the program to test; BUILD/kvmsentry")
    parser.add_argument("--platform", action="append", choices=PLATFORMS)
    parser.add_argument("--nested", action="store_true", help="the nested tier, instead")
    parser.add_argument("--npt", type=int, choices=(0, 1), action="append")
    parser.add_argument("--cache", default=os.path.join(root, "build", "nested"))
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
    tests = guest_table.read_tests(args.build)
    if args.names:
        tests = [t for t in tests if any(fnmatch.fnmatch(t.name, n) for n in args.names)]
    tally = Tally(args.verbose)
    if args.native:
        for test in tests:
            if native_run(test, args.timeout, tally):
                tally.add("passed", test.name)
    elif not os.path.exists(args.kvmsentry):
        print(f"{args.kvmsentry} does not exist: build it first", file=sys.stderr)
        return 2
    elif args.nested:
        for npt in args.npt or (1, 0):
            run_nested(tests, npt, args, tally)
    else:
        run_local(tests, args, tally)
    print(tally.closing_line())
    return 1 if tally.counts["failed"] or not sum(tally.counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
