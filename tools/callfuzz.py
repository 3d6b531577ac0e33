#!/usr/bin/env python3
"""Runs the call fuzzer (tests/fuzz/calls.c) in the sandbox, on each platform, for a while.

First the seeds that once found something, tests/fuzz/corpus/calls/seeds.txt, then random ones, in
slices of some seconds with a fresh sandbox each. A slice passes when the program inside comes to
its end: no crash or complaint of the Sentry, no process that cannot be killed, no call that the
jail does not know, no hang. What fails is printed with the seed of its round, to be run again by

    ./dev fuzz calls --round=SEED --platform=ptrace

The last line is `N passed, N failed, N skipped`.
"""

import argparse
import os
import random
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SEEDS = os.path.join(ROOT, "tests", "fuzz", "corpus", "calls", "seeds.txt")
PLATFORMS = ("kvm", "ptrace")
SLICE, PATIENCE = 20, 90
sys.path.insert(0, os.path.join(ROOT, "tests"))
from run_guest import usable_platforms


class Fuzz:
    def __init__(self, args):
        self.kvmsentry = args.kvmsentry or os.path.join(args.build, "kvmsentry")
        self.program = os.path.join(args.build, "tests", "fuzz", "calls")
        self.passed = self.failed = self.skipped = 0
        self.rounds = self.calls = 0

    def run(self, platform, *arguments):
        """One sandbox; True if all went well."""
        command = [self.kvmsentry, f"--platform={platform}", "--", self.program, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
        try:
            out, err = process.communicate(timeout=SLICE + PATIENCE)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            status = "none: it hangs"
        lines = out.splitlines()
        # Warnings and notes have a level's name; errors, and a sanitizer's words, have none.
        words = [line for line in err.splitlines()
                 if not line.startswith(("kvmsentry: warning: ", "kvmsentry: info: "))]
        done = lines[-1].split() if lines and lines[-1].startswith("done: ") else None
        if status == 0 and done and not words:
            self.passed += 1
            self.rounds += int(done[1])
            self.calls += int(done[3])
            return True
        self.failed += 1
        print(f"failed: {' '.join(command)}\nstatus {status}; the last it said:")
        print("\n".join(lines[-4:] + words[:60]), flush=True)
        return False

    def platform(self, platform, seed, seconds):
        end = time.monotonic() + seconds
        with open(SEEDS, encoding="ascii") as seeds:
            for line in seeds:
                if line.strip() and not line.startswith("#"):
                    self.run(platform, "round", line.split()[0], 1)
        while True:
            left = end - time.monotonic()
            if left < 1:
                break
            self.run(platform, seed, max(1, min(SLICE, int(left))))
            seed += 1
        print(f"{platform}: {self.rounds} rounds, {self.calls} calls so far, "
              f"seeds up to {seed - 1}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz calls", description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help=argparse.SUPPRESS)
    parser.add_argument("--kvmsentry", help="the program to test; BUILD/kvmsentry")
    parser.add_argument("--seconds", type=int, default=60, help="for all platforms together")
    parser.add_argument("--platform", action="append", choices=PLATFORMS)
    parser.add_argument("--seed", type=int, help="where to begin; a random one unless told")
    parser.add_argument("--round", help="run only this round")
    parser.add_argument("--times", type=int, default=20, help="how often, with --round")
    args = parser.parse_args()
    fuzz = Fuzz(args)
    usable = usable_platforms(fuzz.kvmsentry)
    platforms = args.platform or PLATFORMS
    seed = args.seed if args.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    for platform in platforms:
        if usable[platform]:
            fuzz.skipped += 1
            print(f"skipped: {platform}: {usable[platform]}")
        elif args.round:
            fuzz.run(platform, "round", args.round, args.times)
        else:
            fuzz.platform(platform, seed, args.seconds / len(platforms))
    print(f"{fuzz.passed} passed, {fuzz.failed} failed, {fuzz.skipped} skipped")
    return 1 if fuzz.failed or not fuzz.passed else 0


if __name__ == "__main__":
    sys.exit(main())
