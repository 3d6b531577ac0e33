#!/usr/bin/env python3
"""Writes docs/COMPAT.md from the table of system calls and from what was measured with others' tests
(docs/conformance.txt, kept by hand); --check only tells whether it is current."""

import collections
import os
import sys

sys.dont_write_bytecode = True
import syscall_table

OUTPUT = os.path.join(syscall_table.ROOT, "docs", "COMPAT.md")
MEASURED = os.path.join(syscall_table.ROOT, "docs", "conformance.txt")

HEAD = """\
# System calls

Generated from `sentry/syscalls/syscalls.def` and `docs/conformance.txt` by `./dev doc`; edit those,
not this page.

The Sentry answers as Linux {release}. Of the {total} numbers which that kernel's x86-64 table has:

| | calls | meaning |
|---|---:|---|
| full | {FULL} | does what its manual page says |
| partial | {PARTIAL} | works; what is missing is said below |
| refused | {REFUSED} | looks at its arguments and refuses, as Linux does where a container may not use it |
| not implemented | {ABSENT} | returns `ENOSYS`; the log names it once |
| retired | {RETIRED} | returns `ENOSYS` on Linux {release} as well: the number is kept, the call is gone |

Numbers that are not listed (337 to 423, and from 470 on) return `ENOSYS` on Linux {release} too.
"""
RELEASE = "6.18"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---:" + "|---" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def percent(passed, total):
    return f"{passed} of {total} ({100 * passed / total:.1f} %)"


class Suite:
    """What one suite of tests measured."""

    def __init__(self, title):
        self.title, self.day = title, ""
        self.texts, self.counts, self.failures = [], [], []

    def take(self, word, rest):
        """One line of its part of docs/conformance.txt; False: not understood."""
        if word == "text":
            self.texts.append(rest)
        elif word == "date":
            self.day = rest
        elif word == "count":
            family, *numbers = rest.split()
            self.counts.append((family, *map(int, numbers)))
        elif word == "not":
            head, _, reason = rest.partition(" : ")
            platform, *tests = head.split()
            self.failures.append((platform, tests, reason))
        else:
            return False
        return True

    def section(self):
        total = ("all", *(sum(row[i] for row in self.counts) for i in (1, 2, 3)))
        lines = ["", f"## {self.title}", "", *self.texts, f"Measured on {self.day}.", ""]
        lines += ["| family | KVM | ptrace |", "|---|---:|---:|"]
        for family, tests, kvm, ptrace in self.counts + [total]:
            lines.append(f"| {family} | {percent(kvm, tests)} | {percent(ptrace, tests)} |")
        if not self.failures:
            return lines
        lines += ["", "Those that do not pass:", "", "| tests | where | why |", "|---|---|---|"]
        for platform, tests, reason in self.failures:
            names = ", ".join(f"`{test}`" for test in tests)
            lines.append(f"| {names} | {platform} | {reason} |")
        return lines


def measured():
    """Lines of docs/conformance.txt: `# comment`, `suite TITLE`, and for the suite `text ...`, `date DAY`,
    `count FAMILY TOTAL KVM PTRACE`, `not PLATFORM TEST... : reason`."""
    suites = []
    with open(MEASURED, encoding="utf-8") as source:
        for line in source:
            word, _, rest = line.strip().partition(" ")
            if word == "suite":
                suites.append(Suite(rest))
            elif word and not word.startswith("#") and not (suites and suites[-1].take(word, rest)):
                raise SystemExit(f"{MEASURED}: {line.strip()}: not understood")
    return [line for suite in suites if suite.counts for line in suite.section()]


def page(rows):
    levels = collections.Counter(row.level for row in rows)
    counts = {level: levels[level] for level in ("FULL", "PARTIAL", "REFUSED", "ABSENT", "RETIRED")}
    lines = [HEAD.format(release=RELEASE, total=len(rows), **counts)]
    supported = [row for row in rows if row.level in ("FULL", "PARTIAL")]
    lines += ["## Implemented", ""]
    if supported:
        lines += table(
            ("number", "call", "how far", "what is missing"),
            [(str(r.number), f"`{r.name}`", r.level.lower(), r.note) for r in supported],
        )
    else:
        lines.append("None yet.")
    lines += ["", "## Refused", ""]
    lines += table(
        ("number", "call", "what it answers"),
        [(str(r.number), f"`{r.name}`", r.note) for r in rows if r.level == "REFUSED"],
    )
    lines += ["", "## Not implemented", ""]
    lines += table(
        ("number", "call", "why, or what it waits for"),
        [(str(r.number), f"`{r.name}`", r.note) for r in rows if r.level == "ABSENT"],
    )
    lines += ["", "## Retired", ""]
    lines.append(", ".join(f"`{r.name}` ({r.number})" for r in rows if r.level == "RETIRED") + ".")
    lines += measured()
    return "\n".join(lines) + "\n"


def main():
    text = page(syscall_table.read())
    if "--check" in sys.argv[1:]:
        with open(OUTPUT, encoding="utf-8") as current:
            if current.read() == text:
                return 0
        print("docs/COMPAT.md does not follow from the table of calls and docs/conformance.txt: run ./dev doc")
        return 1
    os.makedirs(os.path.dirname(OUTPUT), exist_ok=True)
    with open(OUTPUT, "w", encoding="utf-8") as output:
        output.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
