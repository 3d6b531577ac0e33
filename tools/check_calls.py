#!/usr/bin/env python3
"""Checks what the built libraries define and use: no host system call outside host/.

Looks at what the built static libraries leave undefined: whatever is not defined by the project
itself must be in tools/pure_functions.txt, the list of library functions that do not enter the
kernel (or, like malloc and locks, enter it in ways that the jail knows of). Inline assembly is
searched for the instruction itself. host/ is exempt; so is what executes in the guest.

A name that two libraries define is an error, too: the linker silently takes the first for both.
"""

import argparse
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PURE = os.path.join(ROOT, "tools", "pure_functions.txt")
EXEMPT = ("host/", "gofer/", "ring0/", "vdso/", "tests/", "tools/", "bench/", "build/")
INSTRUCTION = re.compile(r'^[^/*\n]*"[^"\n]*\b(?:syscall|sysenter|int\s+\$0x80)\b', re.MULTILINE)
ASSEMBLER = re.compile(r"\b(?:asm|__asm__)\b")


def pure_functions():
    """Exact names, and per-file exceptions as {object file: names}."""
    names, exceptions = set(), {}
    with open(PURE, encoding="utf-8") as lines:
        for line in lines:
            words = line.split("#")[0].split()
            if len(words) == 2:
                exceptions.setdefault(words[0], set()).add(words[1])
            elif words:
                names.add(words[0])
    return names, exceptions


def symbols(library, flags):
    """(source file, symbol) pairs: nm names the members of an archive."""
    listing = subprocess.run(["nm", *flags.split(), "-A", library], capture_output=True, text=True,
                             check=True).stdout
    for line in listing.splitlines():
        match = re.search(r"([^/:]+)\.o:.*\s(\S+)$", line)
        if match:
            yield match.group(1), match.group(2).split("@")[0]


def built_objects(build):
    """(folder, file) of each static library, and of the objects that go straight into a program."""
    for pattern in ("**/*.a", "**/kvmsentry.p/*.o"):
        for path in sorted(glob.glob(os.path.join(build, pattern), recursive=True)):
            folder = os.path.dirname(os.path.relpath(path, build))
            if folder.split("/")[0] not in ("asan", "clang", "fuzz", "tsan"):
                yield folder, path


def duplicates(libraries):
    definers = {}
    for folder, path in libraries:
        for member, symbol in symbols(path, "--extern-only --defined-only"):
            definers.setdefault(symbol, set()).add(f"{folder}/{member}")
    return [f"{symbol} is defined by {' and '.join(sorted(places))}"
            for symbol, places in sorted(definers.items()) if len(places) > 1]


def problems(build):
    names, exceptions = pure_functions()
    libraries = list(built_objects(build))
    if not libraries:
        return [f"nothing is built in {build}"]
    ours = {symbol for _, path in libraries for _, symbol in symbols(path, "--defined-only")}
    complaints = duplicates([pair for pair in libraries if not pair[0].startswith("tests")])
    for folder, path in libraries:
        if (folder + "/").startswith(EXEMPT):
            continue
        for member, symbol in symbols(path, "--undefined-only"):
            # What goes straight into the program is named after its folder: runtime_main.c.
            source = (member.replace("_", "/", 1) if folder == "kvmsentry.p"
                      else f"{folder}/{member}")
            if symbol in ours or symbol in names or symbol in exceptions.get(source, ()):
                continue
            complaints.append(f"{source} uses {symbol}(): a host call belongs into host/; a pure "
                              "function into tools/pure_functions.txt")
    for path in glob.glob(os.path.join(ROOT, "**", "*.[chS]"), recursive=True):
        relative = os.path.relpath(path, ROOT)
        if relative.startswith(EXEMPT) or relative.startswith("build"):
            continue
        with open(path, encoding="utf-8") as source:
            text = source.read()
        if ASSEMBLER.search(text) and INSTRUCTION.search(text):
            complaints.append(f"{relative}: a system call instruction outside host/")
    return complaints


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    bad = problems(parser.parse_args().build)
    print("\n".join(bad) if bad else "no host call outside host/")
    sys.exit(1 if bad else 0)
