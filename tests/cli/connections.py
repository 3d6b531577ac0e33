"""What many idle connections, and peers that only take, cost: memory of the Sentry's process while they are there."""

import os
import resource
import subprocess

CONNECTIONS = 10000
MEMORY_MAX = 64 << 20  # bytes, of the whole process


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


def measure(command, platform, tally, label, *words):
    """A program that says "ready" when it holds all that it wants to hold."""
    with subprocess.Popen([command.program, f"--platform={platform}", *words],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        said = process.stdout.readline()
        used = resident(process.pid) if said else 0
        process.stdin.close()
    good = said == b"ready\n" and process.returncode == 0 and used < MEMORY_MAX
    tally.add("passed" if good else "failed", f"{label} on {platform}",
              f"{used >> 20} MiB, status {process.returncode}")


def test_connections(command, platforms, tally):
    """10,000 connections with both ends inside, idle, within 64 MiB."""
    program = os.path.join(os.path.dirname(command.busy), "connections")
    if os.geteuid() and resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * CONNECTIONS + 64:
        # Only root inside may raise it above that of whoever starts the sandbox.
        tally.add("skipped", "connections", "the limit of open files is too low here")
        return
    for platform in platforms:
        measure(command, platform, tally, "connections", program, str(CONNECTIONS))


def test_floods(command, platforms, tally):
    """Whatever is sent to those who never read, the Sentry's memory has a limit."""
    program = os.path.join(os.path.dirname(command.busy), "floods")
    for platform in platforms:
        for kind in "datagrams", "streams", "circles", "questions", "packets":
            measure(command, platform, tally, f"a flood of {kind}", program, kind)
