#!/usr/bin/env python3
"""Builds the libFuzzer targets with ASan and UBSan and runs each over its corpus for a while.

A target NAME is tests/fuzz/NAME_fuzz.c, its seeds are tests/fuzz/corpus/NAME/. Inputs that reach
new code are kept in build/fuzz/corpus/NAME and used again by the next run; ./dev fuzz --merge adds
them, reduced, to the seeds. A crash leaves the input behind and counts as a failure.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "fuzz")
SEEDS = os.path.join(ROOT, "tests", "fuzz", "corpus")
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def targets():
    """The names of all targets, from their sources."""
    sources = glob.glob(os.path.join(ROOT, "tests", "fuzz", "*_fuzz.c"))
    return sorted(os.path.basename(source).removesuffix("_fuzz.c") for source in sources)


def build():
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        subprocess.run(
            ["meson", "setup", BUILD, ROOT, "-Dfuzz=true", "-Dtests=disabled", "-Db_lundef=false",
             "-Db_sanitize=address,undefined", "-Dc_args=-fsanitize=fuzzer-no-link"],
            env={**os.environ, "CC": "clang"}, stdout=subprocess.DEVNULL, check=True,
        )
    programs = [f"tests/fuzz/{name}_fuzz" for name in targets()]
    result = subprocess.run(["ninja", "-C", BUILD, *programs], capture_output=True, text=True,
                            check=False)
    if result.returncode != 0:
        print("\n".join(result.stdout.splitlines()[-40:]))
        sys.exit("the fuzz targets do not build")


def folders(name):
    """Where new inputs go, and where all are read from."""
    kept, seeds = os.path.join(BUILD, "corpus", name), os.path.join(SEEDS, name)
    os.makedirs(kept, exist_ok=True)
    return [kept] + ([seeds] if os.path.isdir(seeds) else [])


def fuzz(program, name, seconds):
    """True if the target survived."""
    artifacts = os.path.join(BUILD, "crashes", name)
    os.makedirs(artifacts, exist_ok=True)
    result = subprocess.run(
        [program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
         "-max_len=65536", "-print_final_stats=1", f"-artifact_prefix={artifacts}/",
         *folders(name)],
        env={**os.environ, **SANITIZERS}, capture_output=True, text=True, errors="replace",
        check=False,
    )
    done = re.search(r"stat::number_of_executed_units: (\d+)", result.stderr)
    coverage = re.findall(r"cov: (\d+)", result.stderr)
    print(f"{name}: {done.group(1) if done else 'no'} runs, "
          f"{coverage[-1] if coverage else 'no'} edges reached")
    if result.returncode != 0 or not done or int(done.group(1)) == 0:
        print("\n".join(result.stderr.splitlines()[-60:]))
        return False
    return True


def merge(program, name):
    seeds = os.path.join(SEEDS, name)
    os.makedirs(seeds, exist_ok=True)
    subprocess.run([program, "-merge=1", seeds, os.path.join(BUILD, "corpus", name)],
                   env={**os.environ, **SANITIZERS}, check=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rest", type=int, metavar="SECONDS",
                        help="for all but the loader's, which reads what nobody has looked at before")
    parser.add_argument("--target", help="only this one")
    parser.add_argument("--merge", action="store_true", help="add what was found to the seeds")
    args = parser.parse_args()
    build()
    programs = {name: os.path.join(BUILD, "tests", "fuzz", name + "_fuzz")
                for name in targets() if args.target in (None, name)}
    passed = failed = 0
    if args.merge:
        for name, program in programs.items():
            merge(program, name)
    else:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            seconds = {name: args.seconds if name == "elf" else args.rest or args.seconds
                       for name in programs}
            good = list(pool.map(lambda name: fuzz(programs[name], name, seconds[name]), programs))
        passed, failed = good.count(True), good.count(False)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or (passed == 0 and not args.merge) else 0


if __name__ == "__main__":
    sys.exit(main())
