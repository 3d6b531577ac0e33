#!/usr/bin/env python3
"""./dev check: everything about the sources that a machine can judge. Errors fail, warnings do not.

Each check is a function that returns two lists of lines: errors and warnings.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import check_calls
import check_docs
import check_floors

ROOT = check_floors.ROOT
FILE_WARN, FILE_FAIL, FUNCTION_WARN = 600, 1000, 80  # lines
DATA_FILES = (".def",)  # tables are as long as what they list
JOBS = os.cpu_count() or 1

# What must not be named in a public repository: paths of one machine, such as this checkout's.
FORBIDDEN = re.compile("|".join(r"(?<![\w.])" + re.escape(path) + r"/"
                                for path in (ROOT, os.path.expanduser("~/.")[:-2])))


def run(*command, **kwargs):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **kwargs)


def sources(*endings):
    return sorted(path for path in check_floors.source_files() if path.endswith(endings))


def tracked():
    return run("git", "ls-files", "-z").stdout.split("\0")[:-1]


def check_format(_build):
    result = run("clang-format", "--dry-run", "-Werror", *sources(".c", ".h"))
    return [line for line in result.stderr.splitlines() if "error:" in line], []


def check_includes(_build):
    return check_floors.problems(), []


def check_headers(_build):
    """Each header compiles by itself, so that no include order matters."""
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
             "-I.", "-Ibuild", "-fsyntax-only", "-x", "c",
             *run("pkg-config", "--cflags", "lwip").stdout.split()]

    def compile_alone(path):
        result = run("gcc", *flags, "-", input=f'#include "{path}"\nextern int nothing;\n')
        return result.stderr.splitlines()[:3] if result.returncode else []

    headers = [path for path in sources(".h") if not path.startswith("tests/guest/")]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return sum(pool.map(compile_alone, headers), []), []


def check_host_calls(build):
    return check_calls.problems(build), []


def functions(lines):
    """(first line number, length) of each function body: braces in the first column."""
    begin = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            begin = number
        elif line.startswith("}") and begin:
            yield begin, number - begin
            begin = None


def check_sizes(_build):
    errors, warnings = [], []
    for path in sources(".c", ".h", ".S"):
        with open(os.path.join(ROOT, path), encoding="utf-8") as source:
            lines = source.read().splitlines()
        if len(lines) > FILE_FAIL:
            errors.append(f"{path}: {len(lines)} lines")
        elif len(lines) > FILE_WARN:
            warnings.append(f"{path}: {len(lines)} lines")
        for begin, size in functions(lines) if path.endswith(".c") else ():
            if size > FUNCTION_WARN:
                warnings.append(f"{path}:{begin}: a function of {size} lines")
    return errors, warnings


def check_documents(_build):
    result = run(sys.executable, "-B", "tools/gen_compat.py", "--check")
    return result.stdout.splitlines() + check_docs.problems(), []


def check_words(_build):
    errors = []
    for path in tracked():
        if path == "tools/check.py" or not os.path.isfile(os.path.join(ROOT, path)):
            continue
        try:
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if FORBIDDEN.search(line):
                        errors.append(f"{path}:{number}: a path of one machine: {line.strip()}")
        except UnicodeDecodeError:
            continue  # fuzzing seeds and other binaries
    return errors, []


def clang_build(build):
    folder = os.path.join(build, "clang")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        result = run("meson", "setup", folder, ROOT, "-Dtests=enabled",
                     env={**os.environ, "CC": "clang"})
        if result.returncode:
            return folder, result.stdout.splitlines()[-20:]
    targets = ["meson-test-prereq"] + (["kvmsentry"] if os.path.isdir("runtime") else [])
    result = run("ninja", "-C", folder, *targets)
    lines = result.stdout.splitlines()
    errors = [line for line in lines if "error:" in line] or lines[-20:]
    return folder, errors if result.returncode else []


def check_clang(build):
    """gcc has just built everything, with warnings as errors; now clang."""
    return clang_build(build)[1], []


def check_tidy(build):
    folder, errors = clang_build(build)
    if errors:
        return errors, []
    files = [path for path in sources(".c")
             if not path.startswith(("tests/", "bench/", "ring0/", "vdso/"))]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        results = pool.map(lambda path: run("clang-tidy", "--quiet", "-p", folder, path), files)
        lines = {shorten(line, folder) for result in results for line in result.stdout.splitlines()
                 if re.search(r": (error|warning): ", line)}
    return sorted(lines), []


def shorten(line, folder):
    """A compiler's line with the file named from the root."""
    path, rest = line.split(":", 1)
    return os.path.relpath(os.path.join(folder, path), ROOT) + ":" + rest


CHECKS = {
    "format": check_format,
    "floors": check_includes,
    "headers": check_headers,
    "calls": check_host_calls,
    "sizes": check_sizes,
    "docs": check_documents,
    "words": check_words,
    "clang": check_clang,
    "tidy": check_tidy,
}


def main():
    parser = argparse.ArgumentParser(prog="./dev check", description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help="name the checks")
    parser.add_argument("names", nargs="*", metavar="CHECK", help="only these")
    args = parser.parse_args()
    if args.list:
        print("\n".join(CHECKS))
        return 0
    for name in args.names:
        if name not in CHECKS:
            parser.error(f"no check {name}; --list names them")
    passed = failed = 0
    for name in args.names or CHECKS:
        begin = time.monotonic()
        errors, warnings = CHECKS[name](args.build)
        verdict = "FAILED" if errors else "ok"
        print(f"{name:8} {verdict} ({time.monotonic() - begin:.1f} s)", flush=True)
        print("".join(f"  {line}\n" for line in errors), end="")
        print("".join(f"  warning: {line}\n" for line in warnings), end="", flush=True)
        failed, passed = failed + bool(errors), passed + (not errors)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
