"""How a run of a guest test ended, how it is compared with the native one, and the counts.

Linux is the oracle: a test passes on a platform when its standard output, standard error and
status are byte for byte those of the native run. A test that fails natively fails; one that exits
with 77 natively is skipped by name.
"""

import difflib

SKIP_STATUS = 77
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/",
    "LANG": "C",
    "TZ": "UTC0",
    "EMPTY": "",
}


class Outcome:
    """How one run of one test ended.

    Death by signal N is the status -N here; in the nested tier, where a shell tells, 128+N.
    """

    def __init__(self, status, out, err, seconds=0.0):
        self.status = status  # None: out of time
        self.out = out
        self.err = err
        self.seconds = seconds

    def same_as(self, other):
        return (self.status, self.out, self.err) == (other.status, other.out, other.err)


class Tally:
    """Counts, and prints a line for each test that did not pass."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def add(self, verdict, label, detail=""):
        self.counts[verdict] += 1
        if verdict != "passed" or self.verbose:
            print(f"{verdict}: {label}" + (f": {detail}" if detail else ""), flush=True)

    def judge(self, label, native, got):
        if got.same_as(native):
            self.add("passed", label, f"{got.seconds:.2f} s" if self.verbose else "")
        else:
            self.add("failed", label, difference(native, got))

    def skip_all(self, count, what, why):
        self.counts["skipped"] += count
        print(f"skipped: all {count} {what}: {why}", flush=True)

    def close(self):
        """Prints the closing line; returns the exit status."""
        print("{passed} passed, {failed} failed, {skipped} skipped".format(**self.counts))
        return 1 if self.counts["failed"] or not sum(self.counts.values()) else 0


def difference(native, got):
    """What a person needs to see first: the status, then the first lines that differ."""
    parts = []
    if got.status is None:
        parts.append(f"out of time after {got.seconds:.0f} s")
    elif got.status != native.status:
        parts.append(f"status {got.status}, natively {native.status}")
    for stream in ("out", "err"):
        want, have = getattr(native, stream), getattr(got, stream)
        if want == have:
            continue
        lines = difflib.unified_diff(
            want.decode(errors="replace").splitlines(),
            have.decode(errors="replace").splitlines(),
            lineterm="",
            n=0,
        )
        shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        shown = shown or [f"{len(have)} bytes, natively {len(want)}"]
        extra = [f"... {len(shown) - 12} more"] if len(shown) > 12 else []
        parts.append(f"std{stream}:\n    " + "\n    ".join(shown[:12] + extra))
    return ", ".join(parts)


def check_native(test, native, label, tally):
    """The native outcome if it can serve as the oracle, else None, and counts why not."""
    if native.status == SKIP_STATUS and "status" not in test.options:
        tally.add("skipped", label, native.out.decode(errors="replace").strip())
        return None
    if native.status is None or (native.status != 0 and "status" not in test.options):
        lines = native.out.decode(errors="replace").splitlines()[-12:]
        text = "".join("\n    " + line for line in lines)
        tally.add("failed", label, f"natively: status {native.status}{text}")
        return None
    return native
