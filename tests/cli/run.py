#!/usr/bin/env python3
"""Tests of the command as a whole: bad input, killing it at any moment, and its jail.

    tests/cli/run.py --build build [--kills 100] [-v] [input|hosts|options|kill|jail|debuggers...]

The last line is `N passed, N failed, N skipped`.
"""

import argparse
import ctypes
import difflib
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import images
import terminal
from attacks import test_attacks, test_frozen, test_million
from connections import test_connections, test_floods
from debuggers import test_debuggers
from exercised import test_files, test_files_long
from guest_outcome import Tally
from hostfiles import test_host_files
from kept import test_kept
from namespaces import leave_in_order
from network import test_network_host, test_network_sandbox
from overlay import test_bind, test_overlay
from run_guest import PLATFORMS, usable_platforms
from settings import test_settings
from shares import test_shares
from uds import test_uds

TIMEOUT = 20  # seconds; a hang is what some of these look for
PR_SET_CHILD_SUBREAPER = 36
WATCHED = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # where programs leave files behind


class Command:
    """The program under test and how a run of it ended."""

    def __init__(self, args):
        self.program = args.kvmsentry
        self.hello = os.path.join(args.build, "tests", "guest", "hello")
        self.busy = os.path.join(args.build, "tests", "cli", "busy")

    def run(self, *words, prefix=(), program=None):
        """(status, stdout, stderr); status None when it hung, 128+N for a signal."""
        try:
            result = subprocess.run([*prefix, program or self.program, *words], capture_output=True,
                                    stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return None, "", ""
        status = result.returncode if result.returncode >= 0 else 128 - result.returncode
        return status, *(s.decode(errors="replace") for s in (result.stdout, result.stderr))


def judge_refusal(tally, label, outcome, codes, mention):
    """One clear line on stderr that names the culprit, nothing on stdout, and the right code."""
    status, out, err = outcome
    lines = err.splitlines()
    complaint = None
    if status not in codes:
        complaint = f"status {status}, not {' or '.join(map(str, codes))}"
    elif out:
        complaint = "it wrote to standard output"
    elif len(lines) != 1 or not lines[0].startswith("kvmsentry: "):
        complaint = f"{len(lines)} lines on standard error"
    elif mention not in lines[0]:
        complaint = f"the line does not name {mention}"
    tally.add("failed" if complaint else "passed", label,
              f"{complaint}\n    " + "\n    ".join(lines[:5]) if complaint else lines[0])


def test_input(command, platforms, tally):
    """Files that cannot be run, on each platform."""
    with tempfile.TemporaryDirectory() as folder:
        for name, contents, mode, codes in images.bad_files():
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                file.write(contents)
            os.chmod(path, mode)
            for platform in platforms:
                judge_refusal(tally, f"{name} on {platform}",
                              command.run(f"--platform={platform}", path), codes, name)
        for platform in platforms:
            option = f"--platform={platform}"
            judge_refusal(tally, f"a directory on {platform}", command.run(option, folder), (126,),
                          folder)
            judge_refusal(tally, f"no such file on {platform}",
                          command.run(option, folder + "/nothing"), (127,), "/nothing")
            judge_refusal(tally, f"a file as directory on {platform}",
                          command.run(option, folder + "/empty/x"), (126, 127), "/empty/x")
            judge_refusal(tally, f"no such name in PATH on {platform}",
                          command.run(option, "no-such-program-anywhere"), (127,), "no-such-program")


def test_options(command, _platforms, tally):
    """Wrong options end with 125 and a hint; --help and --version say something and end well."""
    for words in (["--platform=vax", command.hello], ["--no-such-option", command.hello],
                  ["--strace=not_a_call", command.hello], ["--log-level=loud", command.hello],
                  ["--env=NOVALUE", command.hello], ["--cwd=/nonexistent", command.hello],
                  ["--log=/nonexistent/log", command.hello], []):
        status, out, err = command.run(*words)
        good = status == 125 and not out and err.startswith("kvmsentry: ")
        tally.add("passed" if good else "failed", "options " + (" ".join(words[:1]) or "(none)"),
                  f"status {status}: {err.strip()}")
    for word in ("--help", "--version"):
        status, out, err = command.run(word)
        good = status == 0 and "kvmsentry" in out and not err
        tally.add("passed" if good else "failed", word, f"status {status}")


def test_hosts(command, _platforms, tally):
    """Hosts without a usable /dev/kvm: --platform=kvm says so, auto goes on with ptrace."""
    if not os.path.exists("/dev/kvm") or not shutil.which("unshare") or subprocess.run(
            ["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        tally.add("skipped", "hosts", "needs root, a mount namespace and a /dev/kvm to take away")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program, hello = (shutil.copy(path, folder) for path in (command.program, command.hello))
        no_such_device = "mount --bind /dev/null /dev/kvm"
        missing = ("mkdir -p $0.dev && mount -t tmpfs dev $0.dev && for d in null zero full urandom; do "
                   "touch $0.dev/$d && mount --bind /dev/$d $0.dev/$d; done && "
                   "mount --move $0.dev /dev")
        other_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        hosts = [
            ("/dev/kvm is no KVM", ["unshare", "-m", "sh", "-c", no_such_device + ' && exec "$@"', "-"]),
            ("/dev/kvm is missing",
             ["unshare", "-m", "sh", "-c", missing + ' && exec "$@"', folder + "/m"]),
        ]
        if os.stat("/dev/kvm").st_mode & 0o006 == 0:
            hosts.append(("/dev/kvm is not permitted", other_user))
        for label, prefix in hosts:
            judge_refusal(tally, label, command.run("--platform=kvm", hello, prefix=prefix,
                                                    program=program), (125,), "kvm")
            status, out, err = command.run(hello, prefix=prefix, program=program)
            native = subprocess.run([hello], capture_output=True, text=True, check=False).stdout
            good = status == 0 and out == native and not err
            tally.add("passed" if good else "failed", f"auto where {label}",
                      f"status {status}: {err.strip()}")


def children_left(seconds):
    """Waits for every child, also those that the sandbox left to us; the ones still there then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid:
            continue
        if time.monotonic() > deadline:
            with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
                return [int(word) for word in children.read().split()]
        time.sleep(0.002)


def traces():
    """Mounts, and files in the places where temporary files go."""
    with open("/proc/self/mountinfo", encoding="ascii", errors="replace") as mounts:
        found = {line.split(" - ")[0].split()[4] for line in mounts}
    for folder in WATCHED:
        if os.path.isdir(folder):
            # Other programs work here, too: ours are known by their names.
            found |= {os.path.join(folder, n) for n in os.listdir(folder)
                      if re.search("sentry|gofer|memfile", n)}
    return found


def start_and_kill(command, platform, delay):
    """Kills a sandbox `delay` seconds after its start, or, for None, once the program runs."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [command.program, f"--platform={platform}", command.busy], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder,
            env={**os.environ, "TMPDIR": folder, "XDG_RUNTIME_DIR": folder})
        if delay is None:
            select.select([process.stdout], [], [], TIMEOUT)
            ready = os.read(process.stdout.fileno(), 6) == b"ready\n"
        else:
            time.sleep(delay)
            ready = True
        os.kill(process.pid, signal.SIGKILL)
        left = children_left(3)
        for stream in (process.stdin, process.stdout):
            stream.close()
        process.returncode = -signal.SIGKILL  # reaped above
        files = os.listdir(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return ready, left, files


def test_kill(command, platforms, tally, kills):
    """SIGKILL in a loop of starts, at moments from the first instruction to a program at work."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    for platform in platforms:
        before = traces()
        complaint = None
        for number in range(kills):
            # Every fourth is killed at work; the others while they start.
            delay = None if number % 4 == 0 else chance.uniform(0, 0.04)
            ready, left, files = start_and_kill(command, platform, delay)
            if not ready:
                complaint = f"start {number}: the program never got ready"
            elif left or files:
                complaint = f"start {number} (seed {seed}, delay {delay}): left {left} {files}"
            if complaint:
                break
        new = traces() - before
        if new and not complaint:
            complaint = f"left behind: {', '.join(sorted(new))}"
        tally.add("failed" if complaint else "passed", f"{kills} kills on {platform}",
                  complaint or "")


def jail_state(pid):
    """What /proc says of the jail of each thread of a process."""
    wanted = ("Seccomp", "NoNewPrivs", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii", errors="replace") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        if fields["Name"].startswith("kvm-nx-lpage-re"):
            continue  # KVM's worker, a thread of the kernel that only looks like one of ours
        yield thread, {name: int(fields[name].strip(), 16) for name in wanted}


def processes_below(pid):
    found = [pid]
    for parent in found:
        for thread in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as children:
                found += map(int, children.read().split())
    return found


def test_jail(command, platforms, tally):
    """Every thread of every process of a running sandbox is behind all the layers."""
    for platform in platforms:
        with subprocess.Popen([command.program, f"--platform={platform}", command.busy],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            complaint = None
            below = processes_below(process.pid)
            for pid in below:
                # The gofer, the first child, may keep one of root's: CAP_DAC_READ_SEARCH.
                kept = {"CapEff": 1 << 2, "CapPrm": 1 << 2} if pid == below[1] else {}
                for thread, state in jail_state(pid):
                    capabilities = [n for n in state if n.startswith("Cap") and n != "CapBnd"
                                    and state[n] & ~kept.get(n, 0)]
                    if state["Seccomp"] != 2 or state["NoNewPrivs"] != 1 or capabilities:
                        with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                            complaint = f"thread {thread} of {comm.read().strip()} ({pid}): {state}"
            process.stdin.close()
        tally.add("failed" if complaint else "passed", f"jail on {platform}", complaint or "")


def test_terminal(command, platforms, tally):
    """Job control on the caller's terminal: of a shell inside, and of the sandbox as a job."""
    if not shutil.which("bash"):
        tally.add("skipped", "terminal", "there is no bash")
        return
    native = terminal.play(terminal.SHELL, terminal.JOBS), terminal.play_job([])
    for platform in platforms:
        argv = [command.program, f"--platform={platform}"]
        inside = terminal.play(argv + terminal.SHELL, terminal.JOBS), terminal.play_job(argv)
        for label, got, want in zip(("shell", "job"), inside, native):
            difference = "\n".join(difflib.unified_diff(want.splitlines(), got.splitlines(), "native",
                                                        platform, lineterm=""))
            tally.add("failed" if difference else "passed", f"terminal: {label} on {platform}",
                      difference)


def test_trees(command, platforms, tally):
    """What a program finds in /tmp: a tree of its own, and in it the folder that it was started in."""
    script = 'pwd; cat "$0/word" ../*/word; cd ..; pwd; echo more > /tmp/own; cat /tmp/own; echo no > "$0/new"; cat "$0/new"'
    for platform in platforms:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            deep = os.path.join(folder, "deep")
            os.makedirs(deep)
            os.chmod(folder, 0o755)
            with open(os.path.join(deep, "word"), "w", encoding="ascii") as word:
                word.write("here\n")
            status, out, err = command.run(f"--platform={platform}", f"--cwd={deep}", "--", "/bin/sh", "-c",
                                           script, deep)
            good = out == f"{deep}\nhere\nhere\n{folder}\nmore\nno\n" and status == 0 and not err
            good = good and os.listdir(deep) == ["word"] and not os.path.exists("/tmp/own")
            tally.add("passed" if good else "failed", f"trees on {platform}", f"{status}: {out}{err}")


def main():
    root = os.path.dirname(os.path.dirname(HERE))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(root, "build"))
    parser.add_argument("--kills", type=int, default=100, help="starts on each platform")
    parser.add_argument("-v", "--verbose", action="store_true", help="name what passed, too")
    parser.add_argument("names", nargs="*",
                        help="input, options, hosts, jail, debuggers, hostfiles, terminal, trees, overlay, bind, "
                             "network, netsandbox, connections, floods, settings, uds, kept, shares, attacks, frozen, files, "
                             "kill; all; by name alone: million, files-long")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    args.kvmsentry = os.path.join(args.build, "kvmsentry")
    leave_in_order()
    tally = Tally(args.verbose)
    command = Command(args)
    if not os.path.exists(command.program):
        print(f"{command.program} does not exist: build it first")
        return 2
    tests = {"input": test_input, "options": test_options, "hosts": test_hosts, "jail": test_jail,
             "debuggers": test_debuggers, "hostfiles": test_host_files, "terminal": test_terminal,
             "trees": test_trees, "overlay": test_overlay, "bind": test_bind,
             "network": test_network_host, "netsandbox": test_network_sandbox,
             "connections": test_connections, "floods": test_floods,
             "uds": test_uds, "settings": test_settings,
             "kept": test_kept, "shares": test_shares, "attacks": test_attacks, "frozen": test_frozen,
             "files": test_files,
             "kill": lambda *words: test_kill(*words, args.kills)}
    by_name = {"million": test_million, "files-long": test_files_long}  # these take minutes
    usable = usable_platforms(command.program)
    platforms = [name for name in PLATFORMS if usable[name] is None]
    for name in args.names or tests:
        for platform in PLATFORMS:
            if usable[platform] and name not in ("options", "hosts"):
                tally.add("skipped", f"{name} on {platform}", usable[platform])
        (tests | by_name)[name](command, platforms, tally)
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
