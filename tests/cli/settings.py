"""Programs that change what belongs to their kernel: the sandbox's follows, and the host's does not."""

import os
import subprocess
import time

TIMEOUT = 60
QUEUE = "/proc/sys/fs/fanotify/max_queued_events"


def clock():
    return round((time.time() - time.monotonic()) / 60)


def queue():
    with open(QUEUE, encoding="ascii") as file:
        return file.read()


def run_setter(command, platforms, tally, name, host):
    """`host`: what the host has, which the program inside must not change."""
    if os.getuid() != 0:
        tally.add("skipped", name, "sets it: needs root")
        return
    program = os.path.join(os.path.dirname(command.program), "tests", "cli", name)
    for platform in platforms:
        before = host()
        result = subprocess.run([command.program, f"--platform={platform}", "--", program], check=False,
                                capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
        moved = host() != before
        good = (result.returncode, result.stdout, moved) == (0, b"ok\n", False)
        tally.add("passed" if good else "failed", f"{name} on {platform}",
                  f"{result.returncode}: {result.stdout}{result.stderr}{' the host moved' if moved else ''}")


def test_settings(command, platforms, tally):
    run_setter(command, platforms, tally, "clockset", clock)
    run_setter(command, platforms, tally, "queuefull", queue)
