"""An interactive shell on a terminal of the host: the same job control inside as outside.

A bash is driven through a pseudo-terminal, step by step: each step types something and waits for
what has to come. The transcripts of a native run and of each platform's must be the same.
"""

import os
import pty
import re
import select
import signal
import time

TIMEOUT = 30  # seconds for a step; only a failure takes as long
PROMPT = rb"<\d+> $"
SHELL = ["bash", "--norc", "--noprofile", "-i"]

# What is typed, and what the answer ends with (None: nothing to wait for).
JOBS = [
    (b"", PROMPT),
    (b"set +o emacs; PS1='<$?> '\n", PROMPT),
    (b"tty >/dev/null && echo terminal\n", PROMPT),
    # Stop, look, continue in the foreground, end of file.
    (b"sh -c 'echo ready; exec cat'\n", rb"\nready\r\n$"),
    (b"one\n", rb"one\r\none\r\n$"),
    (b"\x1a", PROMPT),
    (b"jobs\n", PROMPT),
    (b"fg >/dev/null\n", rb"null\r\n$"),
    (b"two\n", rb"two\r\ntwo\r\n$"),
    (b"\x04", PROMPT),
    # A pipeline: stopped as a whole, continued in the background, killed.
    (b"sh -c 'echo runs >&2; exec sleep 1000' | sleep 1000\n", rb"\nruns\r\n$"),
    (b"\x1a", PROMPT),
    (b"bg >/dev/null; jobs\n", PROMPT),
    (b"kill %1; wait %1; echo \"${PIPESTATUS[@]}\"\n", PROMPT),
    (b"jobs\n", PROMPT),
    # Interrupts reach the foreground job, not the shell.
    (b"sh -c 'echo ready; exec sleep 1000'\n", rb"\nready\r\n$"),
    (b"\x03", PROMPT),
    (b"sh -c 'trap \"echo caught; exit 5\" INT; echo ready; while :; do sleep 0.1; done'\n",
     rb"\nready\r\n$"),
    (b"\x03", PROMPT),
    (b"false | true; echo ${PIPESTATUS[@]}\n", PROMPT),
    # The background may not read.
    (b"cat & wait %1 2>/dev/null; jobs %1\n", PROMPT),
    (b"fg >/dev/null\n", rb"null\r\n$"),
    (b"three\n", rb"three\r\nthree\r\n$"),
    (b"\x04", PROMPT),
    # A new session has no terminal; a program that ignores hangups runs on.
    (b"setsid -w sh -c 'echo x >/dev/tty' 2>/dev/null || echo none\n", PROMPT),
    (b"nohup sh -c 'kill -HUP $$; echo alive' 2>/dev/null </dev/null | cat\n", PROMPT),
    (b"echo $(stty size)\n", PROMPT),
    (b"exit 7\n", None),
]


class Session:
    """A program on a new terminal of its own, as the leader of a session."""

    def __init__(self, argv):
        self.output = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="<0> ", TERM="dumb", HISTFILE="", INPUTRC="/dev/null", LC_ALL="C")
            try:
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)

    def read(self, timeout):
        """False at the end, or when nothing comes."""
        if not select.select([self.terminal], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.terminal, 4096)
        except OSError:
            data = b""
        self.output += data
        return bool(data)

    def step(self, text, pattern):
        start, deadline = len(self.output), time.monotonic() + TIMEOUT
        os.write(self.terminal, text)
        while pattern and not re.search(pattern, self.output[start:]):
            if not self.read(max(0, deadline - time.monotonic())):
                return False
        return True

    def end(self):
        """The wait status; the rest of the output is read."""
        while self.read(TIMEOUT):
            pass
        for _ in range(100):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.05)
        else:
            os.kill(self.pid, signal.SIGKILL)
            status = os.waitpid(self.pid, 0)[1]
        os.close(self.terminal)
        return status


def play(argv, steps):
    """The transcript of a run, without the numbers of processes."""
    session, problem = Session(argv), ""
    for text, pattern in steps:
        if not session.step(text, pattern):
            problem = f"\n(nothing more after typing {text!r})"
            os.kill(session.pid, signal.SIGKILL)
            break
    status = session.end()
    text = re.sub(rb"\[(\d+)\] \d+", rb"[\1] N", session.output).decode(errors="replace")
    return f"{text}{problem}\n(status {status:#x})"


def play_job(argv):
    """
    A command that is a job of a shell outside: ^Z stops the sandbox as a whole, the shell sees it,
    and its fg lets all of it go on.
    """
    words = " ".join(argv + ["sh", "-c", "'echo ready; cat; echo end'"]).encode()
    steps = [
        (b"", PROMPT),
        (b"set +o emacs; PS1='<$?> '\n", PROMPT),
        (words + b"\n", rb"\nready\r\n$"),
        (b"one\n", rb"one\r\none\r\n$"),
        (b"\x1a", PROMPT),
        (b"jobs | grep -c Stopped\n", PROMPT),
        (b"fg >/dev/null\n", rb"null\r\n$"),
        (b"two\n", rb"two\r\ntwo\r\n$"),
        (b"\x04", PROMPT),
        (b"exit 7\n", None),
    ]
    text = play(SHELL, steps)
    return text.replace(words.decode(), "COMMAND")
