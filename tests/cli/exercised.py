"""Random operations on files, each compared with a model (tests/cli/exercising.c), over every kind of file
system that a program can write to. They begin natively and go on in the sandbox, so that there is a tree
below. Afterwards the same is there for whoever looks from elsewhere: at a shared folder natively, at
--overlay=dir:PATH in the next sandbox, which goes on as well. When all is removed nothing is left."""

import concurrent.futures
import os
import re
import subprocess
import tempfile
import time

PLACES = ("tmpfs", "memory", "folder", "bind")
STAT = re.compile(r"kvmsentry: stats: (.*) (\d+)$", re.MULTILINE)
SCRIPT = '"$0" "$@"; status=$?; [ $status != 0 ] || [ "$KEEP" ] || rm -r "$2"/* "$2"/.state*; exit $status'
MORE = 64 << 10  # bytes of guest memory that may stay beyond those of a sandbox that did nothing


def options_of(place, top):
    """The sandbox's options, and the folder to work in."""
    work = os.path.join(top, "work")
    if place == "tmpfs":
        return [], "/dev/shm"
    if place == "folder":
        return [f"--overlay=dir:{os.path.join(top, 'kept')}"], work
    if place == "bind":
        return [f"--bind={work}:/shared"], "/shared"
    return [], work


def stats_of(path):
    with open(path, encoding="utf-8") as log:
        return {name: int(value) for name, value in STAT.findall(log.read())}


class Run:
    """One sandbox at work in one kind of file system."""

    def __init__(self, command, platform, place):
        self.program = os.path.join(os.path.dirname(command.program), "tests/cli/exercising")
        self.sandbox, self.place, self.platform = [command.program, f"--platform={platform}"], place, platform

    def inside(self, *words, keep=False, patience=120):
        log = os.path.join(self.top, "log")
        begin = [*self.sandbox, f"--log={log}", "--stats", *self.options, f"--env=KEEP={'1' if keep else ''}"]
        if os.path.exists(log):
            os.remove(log)
        result = subprocess.run([*begin, "--", "/bin/sh", "-c", SCRIPT, self.program, *words], capture_output=True,
                                text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=patience, check=False)
        return result, stats_of(log)

    def work(self, seed, workers, seconds, operations):
        """What went wrong, or None, and what it says for itself."""
        keep, work = self.place in ("folder", "bind"), os.path.join(self.top, "work")
        os.makedirs(work)
        os.makedirs(os.path.join(self.top, "kept"))
        self.options, folder = options_of(self.place, self.top)
        how = [str(workers), str(seconds), str(operations)]
        if self.place != "tmpfs":
            before = subprocess.run([self.program, "run", work, str(seed), str(workers), "20", "2000"],
                                    capture_output=True, text=True, check=False)
            if before.returncode != 0:
                return "natively", before.stderr
        first, idle = self.inside("survey", folder, keep=True)
        words = ""
        for turn in range(2 if self.place == "folder" else 1):
            began = time.monotonic()
            result, stats = self.inside("run", folder, str(seed + 1 + turn), *how, keep=keep, patience=seconds + 300)
            words += f"{result.stderr.strip()} in {time.monotonic() - began:.0f} s; "
            if first.returncode != 0 or result.returncode != 0 or not re.match(r"[1-9]\d* operations in", words):
                return f"status {first.returncode}, {result.returncode}", words
            complaint = complaint_of(idle, stats)
            if complaint:
                return complaint, words
        after = result.stdout
        if self.place == "bind":
            after = subprocess.run([self.program, "survey", work], capture_output=True, text=True, check=False).stdout
        elif self.place == "folder":
            after = self.inside("survey", folder, keep=True)[0].stdout
        if after != result.stdout or after.count("\n") < workers:
            return f"it is not there afterwards: {len(after)} bytes of survey, not {len(result.stdout)}", words
        return None, words

    def judge(self, tally, *how):
        with tempfile.TemporaryDirectory(dir=os.path.dirname(self.sandbox[0])) as self.top:
            try:
                complaint, words = self.work(*how)
            except subprocess.TimeoutExpired:
                complaint, words = "it hangs", ""
        tally.add("failed" if complaint else "passed", f"files of {self.place} on {self.platform}",
                  f"{complaint}; seed {how[0]}: {words}" if complaint else words)


def complaint_of(idle, stats):
    """What the counters of leaks say, next to those of a sandbox that did nothing."""
    for name in ("tasks alive", "files open", "signals queued and POSIX timers"):
        if name not in stats or stats[name] > idle[name]:
            return f"{name}: {stats.get(name)}, not {idle[name]}"
    memory = "guest memory allocated, bytes"
    return f"{memory}: {stats[memory]}, {idle[memory]} before" if stats[memory] > idle[memory] + MORE else None


def exercise(command, platforms, tally, *how):
    for platform in platforms:
        with concurrent.futures.ThreadPoolExecutor(len(PLACES)) as pool:
            list(pool.map(lambda place: Run(command, platform, place).judge(tally, *how), PLACES))


def test_files(command, platforms, tally):
    """The same operations every time, so that a failure is the change's."""
    exercise(command, platforms, tally, 1, 2, 60, 1500)


def test_files_long(command, platforms, tally):
    """Ten minutes on each platform, all places at once, other operations each time; only by name."""
    exercise(command, platforms, tally, int(time.time()), 4, 600, 1 << 60)
