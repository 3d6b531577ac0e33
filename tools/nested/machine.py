"""Boots Debian's kernel with kvm_amd in QEMU (TCG emulates SVM) and runs jobs in it.

The machines of this project have neither SVM nor VMX, so this is where the genuine ring-0 path of
the KVM platform runs: once with nested paging, once without (`npt=0`, shadow page tables).

    machine = Machine(cache, npt=True)
    machine.add_program("build/kvmsentry", "/kvmsentry")    # with its shared libraries
    machine.add_job("/kvmsentry doctor")                    # a shell script
    for result in machine.run(boot_timeout=120): ...

Results come as they happen, one for each job in order, and always one for each job: those that the
machine did not get to have `status` None and say why in `err`.
"""

import base64
import binascii
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cpio
import kernel

INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "init.sh")
BUSYBOX = "/bin/busybox"
OUTPUT_LIMIT = 256 * 1024  # bytes of stdout, and of stderr, that a job's report carries
Unavailable = kernel.Unavailable


class Result:
    """What one job did. `status` is the shell's: 128+N for a signal; None if it never ended."""

    def __init__(self, status, seconds, out, err):
        self.status = status
        self.seconds = seconds
        self.out = out
        self.err = err


def shared_libraries(program):
    """Host paths of the libraries a program needs; none for a static one."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return sorted(set(re.findall(r"(/\S+)(?= \(0x)", listing)))


def prepare(cache):
    """Fetches what a Machine needs into the folder `cache`; Unavailable says what is missing."""
    if shutil.which("qemu-system-x86_64") is None:
        raise Unavailable("qemu-system-x86_64 is not installed")
    if not os.path.exists(BUSYBOX):
        raise Unavailable("busybox-static is not installed")
    return kernel.fetch(cache)


class Machine:
    """One boot: collect files and jobs, then run()."""

    def __init__(self, cache, npt=True, cpus=2, memory_mb=1024, job_timeout=60, parallel=True):
        """`parallel`: each emulated CPU has a thread of its own, else they take turns in one."""
        self._kernel = prepare(cache)
        self._cpus = cpus
        self._threads = "multi" if parallel else "single"
        self._memory_mb = memory_mb
        self._job_timeout = job_timeout
        self._nonce = secrets.token_hex(16)
        self._jobs = 0
        self.boot_seconds = None
        self.console = ""  # the emulated machine's console, for when it does not boot
        self._archive = archive = cpio.Archive()
        archive.folder("/dev")
        archive.device("/dev/console", 5, 1)
        archive.device("/dev/null", 1, 3, 0o666)
        archive.file("/bin/busybox", BUSYBOX)
        archive.symlink("/bin/sh", "busybox")
        archive.file("/init", INIT)
        archive.data(
            "/nested.conf",
            f"NONCE={self._nonce} NPT={int(npt)} TIMEOUT={job_timeout} "
            f"LIMIT={OUTPUT_LIMIT}\n".encode(),
        )
        for module in self._kernel.modules:
            archive.file("/modules/" + os.path.basename(module), module)

    def add_file(self, source, path):
        self._archive.file(path, source)

    def add_data(self, path, data, mode=0o644):
        self._archive.data(path, data, mode)

    def add_program(self, source, path):
        self._archive.file(path, source)
        for library in shared_libraries(source):
            self._archive.file(library, library)

    def set_keeper(self, script):
        """What runs beside all jobs; a guest in KVM, to keep one there (see init.sh)."""
        self._archive.data("/keeper", script.encode() + b"\n")

    def add_job(self, script):
        self._archive.data(f"/jobs/{self._jobs}", script.encode() + b"\n")
        self._jobs += 1

    def _command(self, folder):
        return [
            "qemu-system-x86_64",
            *("-machine", "q35", "-accel", f"tcg,thread={self._threads}", "-cpu", "max"),
            *("-smp", str(self._cpus), "-m", str(self._memory_mb)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", self._kernel.image, "-initrd", os.path.join(folder, "initramfs")),
            *("-serial", "file:" + os.path.join(folder, "console")),
            *("-serial", "file:" + os.path.join(folder, "reports")),
            "-append",
            "console=ttyS0 quiet rdinit=/init panic=-1 reboot=t nokaslr mitigations=off "
            "tsc=reliable no_timer_check audit=0 random.trust_cpu=on rcupdate.rcu_expedited=1 "
            "vsyscall=emulate 8250.nr_uarts=2",
        ]

    def run(self, boot_timeout=180):
        """Boots, and yields a Result for each job as its report comes in."""
        folder = tempfile.mkdtemp(prefix="kvmsentry-nested-")
        process = None
        try:
            with open(os.path.join(folder, "initramfs"), "wb") as out:
                out.write(self._archive.bytes())
            open(os.path.join(folder, "reports"), "wb").close()
            process = subprocess.Popen(
                self._command(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            yield from self._results(process, os.path.join(folder, "reports"), boot_timeout)
        finally:
            if process is not None:
                process.kill()
                process.wait()
                process.stdout.close()
            try:
                with open(os.path.join(folder, "console"), errors="replace") as handle:
                    self.console = handle.read()
            except FileNotFoundError:
                pass
            shutil.rmtree(folder, ignore_errors=True)

    def _results(self, process, path, boot_timeout):
        reports = ReportReader(process, path, self._nonce)
        why = "the machine did not boot"
        done = 0
        try:
            name, boot = reports.next(boot_timeout)
            if name != "boot" or boot.status != 0:
                why = "no KVM in the machine: " + boot.err.decode(errors="replace").strip()
                return
            self.boot_seconds = boot.seconds
            while done < self._jobs:
                why = "the machine stopped"
                name, result = reports.next(self._job_timeout + 20)
                if name != str(done):
                    why = f"report {name} came where {done} was due"
                    return
                done += 1
                yield result
        except TimeoutError:
            why += " answering" if done or self.boot_seconds else " in time"
        except EOFError:
            text = process.stdout.read().decode(errors="replace").strip()
            why += f" ({text})" if text else ""
        while done < self._jobs:
            done += 1
            yield Result(None, 0, b"", why.encode())


class ReportReader:
    """Reads reports from the file that the second serial port is written to."""

    def __init__(self, process, path, nonce):
        self._process = process
        self._handle = open(path, "rb")
        self._nonce = nonce.encode()
        self._buffer = b""

    def next(self, timeout):
        """(name, Result) of the next report; TimeoutError, or EOFError once QEMU has ended."""
        limit = time.monotonic() + timeout
        while True:
            ended = self._process.poll() is not None
            self._buffer += self._handle.read()
            while b"\n" in self._buffer:
                line, self._buffer = self._buffer.split(b"\n", 1)
                report = self._parse(line)
                if report is not None:
                    return report
            if ended:
                raise EOFError
            if time.monotonic() > limit:
                raise TimeoutError
            time.sleep(0.05)

    def _parse(self, line):
        words = line.split()
        if len(words) != 6 or words[0] != self._nonce:
            return None
        try:
            out, err = (base64.b64decode(word[1:], validate=True) for word in words[4:])
        except binascii.Error:
            return None
        return words[1].decode(), Result(int(words[2]), int(words[3]) / 1000, out, err)
