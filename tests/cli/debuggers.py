"""Debian's own strace and gdb in the sandbox, on programs that they start there."""

import shutil

GDB_COMMANDS = ("break main", "run", "bt", "info registers rip", "stepi", "continue")


def judge(tally, label, outcome, wanted):
    """A good end, and all of the texts in what was printed."""
    status, out, err = outcome
    text = out + err
    missing = [words for words in wanted if words not in text]
    if status != 0:
        tally.add("failed", label, f"status {status}\n    " + "\n    ".join(text.splitlines()[-8:]))
    elif missing:
        tally.add("failed", label, f"nothing of {missing}")
    else:
        tally.add("passed", label, "")


def run_strace(command, platform):
    return command.run(f"--platform={platform}", "strace", "-f", "sh", "-c", "ls / | wc -l")


def run_gdb(command, platform):
    words = [word for line in GDB_COMMANDS for word in ("-ex", line)]
    return command.run(f"--platform={platform}", "gdb", "-nx", "-batch", *words, command.hello)


def test_debuggers(command, platforms, tally):
    """A traced pipeline, and a breakpoint."""
    tests = {
        "strace": (run_strace, ('execve("', "wait4(", "SIGCHLD", "+++ exited with 0 +++")),
        "gdb": (run_gdb, ("Breakpoint 1, ", "#0 ", "rip ", "<main", "exited normally")),
    }
    for name, (run, wanted) in tests.items():
        for platform in platforms:
            label = f"{name} on {platform}"
            if shutil.which(name):
                judge(tally, label, run(command, platform), wanted)
            else:
                tally.add("skipped", label, f"{name} is not installed")
