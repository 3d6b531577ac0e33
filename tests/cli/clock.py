"""A program that sets the clock (clockset.c): the sandbox's follows, and the host's does not."""

import os
import subprocess
import time

TIMEOUT = 60


def ahead():
    return time.time() - time.monotonic()


def test_clock(command, platforms, tally):
    if os.getuid() != 0:
        tally.add("skipped", "clock", "sets it: needs root")
        return
    program = os.path.join(os.path.dirname(command.program), "tests", "cli", "clockset")
    for platform in platforms:
        before = ahead()
        result = subprocess.run([command.program, f"--platform={platform}", "--", program], check=False,
                                capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
        moved = abs(ahead() - before) > 60
        good = (result.returncode, result.stdout, moved) == (0, b"ok\n", False)
        tally.add("passed" if good else "failed", f"clock on {platform}",
                  f"{result.returncode}: {result.stdout}{result.stderr}{' the host moved' if moved else ''}")
