"""The tables of guest tests, tests/guest/list.txt and busybox.txt: name | options | command.

A command is words quoted as in a shell; `< FILE` at its end names its standard input, in
tests/guest/data, which is also the folder that every test runs in.
"""

import fnmatch
import os
import shlex

TESTS = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(TESTS, "guest", "data")
BUSYBOX = "/bin/busybox"
OPTIONS = {"status", "local", "slow", "smp", "host", "exitless"}


class Test:
    """One row: `command` is complete, `stdin` a path."""

    def __init__(self, name, options, command, stdin):
        self.name = name
        self.options = options
        self.command = command
        self.stdin = stdin

    @property
    def program(self):
        return self.command[0]


def _row(path, number, line):
    fields = [field.strip() for field in line.split("|", 2)]
    if len(fields) != 3 or not set(fields[1].split()) <= OPTIONS:
        raise SystemExit(f"{path}:{number}: not `name | options | command`")
    words = shlex.split(fields[2])
    stdin = "/dev/null"
    if len(words) > 2 and words[-2] == "<":
        stdin = os.path.join(DATA, words[-1])
        words = words[:-2]
    return fields[0], set(fields[1].split()), words, stdin


def _read(path):
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            line = line.rstrip("\n")
            if line.strip() and not line.startswith("#"):
                yield _row(path, number, line)


def read_tests(build, patterns=()):
    """The rows of both tables that match; programs are those of the build folder."""
    tests = []
    for name, options, words, stdin in _read(os.path.join(TESTS, "guest", "list.txt")):
        words[0] = os.path.join(os.path.abspath(build), "tests", "guest", words[0])
        tests.append(Test(name, options, words, stdin))
    for name, options, words, stdin in _read(os.path.join(TESTS, "guest", "busybox.txt")):
        tests.append(Test("busybox_" + name, options, [BUSYBOX] + words, stdin))
    names = [test.name for test in tests]
    for name in names:
        if names.count(name) > 1:
            raise SystemExit(f"two guest tests are called {name}")
    if patterns:
        tests = [t for t in tests if any(fnmatch.fnmatch(t.name, p) for p in patterns)]
    return tests
