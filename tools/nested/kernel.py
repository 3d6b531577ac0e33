"""Debian's kernel for the nested tier: fetched as a package, unpacked beside it, never installed.

The bzImage is turned into the vmlinux inside it, because an emulated machine needs about ten
seconds to decompress what Python decompresses in one; QEMU boots a vmlinux through its PVH note.

Invariant: a cache folder either holds a complete kernel (its `ready` file is written last) or is
thrown away and made anew.
"""

import glob
import lzma
import os
import shutil
import struct
import subprocess
import tarfile

# In the order in which they must be loaded.
MODULES = (
    "kernel/virt/lib/irqbypass.ko",
    "kernel/arch/x86/kvm/kvm.ko",
    "kernel/drivers/crypto/ccp/ccp.ko",
    "kernel/arch/x86/kvm/kvm-amd.ko",
)


class Unavailable(Exception):
    """The nested tier cannot run here; the text says what is missing and what to do."""


class Kernel:
    """Paths of one unpacked kernel: the bootable image and the modules in load order."""

    def __init__(self, folder):
        self.image = os.path.join(folder, "vmlinux")
        self.modules = [os.path.join(folder, os.path.basename(m)) for m in MODULES]


def _run(command, **kwargs):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, **kwargs).stdout
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        text = (error.stderr or error.stdout).strip().splitlines()
        raise Unavailable(f"{' '.join(command)}: {text[-1] if text else 'failed'}") from None


def _package_name():
    """The package behind the meta package linux-image-amd64."""
    for line in _run(["apt-cache", "depends", "linux-image-amd64"]).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "Depends:" and words[1].startswith("linux-image-"):
            return words[1]
    raise Unavailable("apt knows no linux-image-amd64 (run apt-get update)")


def extract_vmlinux(bzimage):
    """The ELF image inside an xz-compressed bzImage (Linux, Documentation/x86/boot.rst)."""
    if bzimage[0x202:0x206] != b"HdrS":
        raise Unavailable("the kernel image is no bzImage")
    setup_sectors = bzimage[0x1F1] or 4
    payload_offset, payload_size = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup_sectors + 1) * 512 + payload_offset
    payload = bzimage[start : start + payload_size]
    if not payload.startswith(b"\xfd7zXZ\0"):
        raise Unavailable("the kernel image is not compressed with xz")
    # The last four bytes are the size of the result; the decompressor stops before them.
    image = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(payload)
    if image[:4] != b"\x7fELF":
        raise Unavailable("the kernel image holds no ELF file")
    return image


def _unpack(package, folder):
    """Only the image and the modules: the whole package would be 400 MB."""
    wanted = {os.path.basename(name): name for name in MODULES}
    dump = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    found = set()
    with tarfile.open(fileobj=dump.stdout, mode="r|") as archive:
        for member in archive:
            base = os.path.basename(member.name)
            if base.startswith("vmlinuz-"):
                image = extract_vmlinux(archive.extractfile(member).read())
                with open(os.path.join(folder, "vmlinux"), "wb") as out:
                    out.write(image)
                found.add("vmlinux")
            elif base in wanted and member.name.endswith(wanted[base]):
                with open(os.path.join(folder, base), "wb") as out:
                    shutil.copyfileobj(archive.extractfile(member), out)
                found.add(base)
    dump.wait()
    missing = ({"vmlinux"} | set(wanted)) - found
    if missing:
        raise Unavailable(f"{os.path.basename(package)} lacks {', '.join(sorted(missing))}")


def fetch(cache):
    """The unpacked kernel in `cache`, downloading it if it is not there yet."""
    folder = os.path.join(os.path.abspath(cache), "kernel")
    ready = os.path.join(folder, "ready")
    if os.path.exists(ready):
        return Kernel(folder)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    name = _package_name()
    _run(["apt-get", "-o", "APT::Sandbox::User=root", "download", name], cwd=folder)
    packages = glob.glob(os.path.join(folder, "*.deb"))
    if len(packages) != 1:
        raise Unavailable(f"apt-get download {name} left {len(packages)} packages")
    _unpack(packages[0], folder)
    os.unlink(packages[0])
    with open(ready, "w", encoding="ascii") as out:
        out.write(name + "\n")
    return Kernel(folder)
