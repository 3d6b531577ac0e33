"""Reads sentry/syscalls/syscalls.def, the one table of system calls, for the tools in this folder."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, "sentry", "syscalls", "syscalls.def")

_ROW = re.compile(
    r'^SYS_(FULL|PARTIAL|REFUSED|ABSENT|RETIRED)\s*\(\s*(\d+)\s*,\s*(\w+)\s*'
    r'(?:,\s*"((?:[^"\\]|\\.)*)"\s*)?(?:,\s*"((?:[^"\\]|\\.)*)"\s*)?\)\s*$'
)
_WORDS = {"FULL": (True, False), "PARTIAL": (True, True), "REFUSED": (True, True),
          "ABSENT": (True, True), "RETIRED": (False, False)}  # which of args and note a row must have


class Row:
    """One system call: `level` is FULL, PARTIAL, REFUSED, ABSENT or RETIRED."""

    def __init__(self, level, number, name, args, note):
        self.level, self.number, self.name, self.args, self.note = level, number, name, args, note


def read(path=TABLE):
    """All rows in the order of the file; ValueError names the first line that is no proper row."""
    rows = []
    with open(path, encoding="utf-8") as table:
        for line_number, line in enumerate(table, 1):
            if not line.startswith("SYS_"):
                continue
            match = _ROW.match(line)
            if not match:
                raise ValueError(f"{path}:{line_number}: not a row on one line: {line.strip()}")
            level, number, name, args, note = match.groups()
            if (args is not None, note is not None) != _WORDS[level]:
                raise ValueError(f"{path}:{line_number}: wrong number of fields for {level}")
            if rows and int(number) <= rows[-1].number:
                raise ValueError(f"{path}:{line_number}: numbers must ascend")
            rows.append(Row(level, int(number), name, args or "", note or ""))
    return rows
