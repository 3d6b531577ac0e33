"""One run of a program, in a session and a folder of its own, of which nothing is left."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

from guest_outcome import Outcome


class Program:
    """Runs from the beginning; to be used by `with`, whose end ends its processes if they still run."""

    def __init__(self, words, environment, stdin=subprocess.DEVNULL):
        self.folder = tempfile.mkdtemp(prefix="program.", dir="/tmp")
        self.begin = time.monotonic()
        self.process = subprocess.Popen(words, cwd=self.folder, env=environment, stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, start_new_session=True)

    def finish(self, timeout):
        """Its outcome, after at most so many seconds; standard input, if it is a pipe, ends."""
        try:
            out, err = self.process.communicate(timeout=timeout)
            status = self.process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            out, err = self.process.communicate()
            status = None
        name = self.folder.encode()
        return Outcome(status, out.replace(name, b"FOLDER"), err.replace(name, b"FOLDER"),
                       time.monotonic() - self.begin)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)
