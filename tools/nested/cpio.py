"""Writes an initramfs: a cpio archive in the "newc" format (Linux, driver-api/early-userspace).

Uncompressed, since an emulated machine inflates slower than it reads. Parent folders are made as
needed; symbolic links of the host are followed, so that what was asked for is what is there.
"""

import os
import stat


class Archive:
    """Collects entries; bytes() is the finished archive."""

    def __init__(self):
        self._chunks = []
        self._names = set()
        self._inode = 0

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self._inode += 1
        raw = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + raw
        self._chunks.append(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def folder(self, path):
        path = path.strip("/")
        if not path or path in self._names:
            return
        self.folder(os.path.dirname(path))
        self._names.add(path)
        self._entry(path, stat.S_IFDIR | 0o755)

    def data(self, path, data, mode=0o644):
        path = path.strip("/")
        if path in self._names:
            return
        self.folder(os.path.dirname(path))
        self._names.add(path)
        self._entry(path, stat.S_IFREG | mode, data)

    def file(self, path, source):
        with open(source, "rb") as handle:
            self.data(path, handle.read(), os.stat(source).st_mode & 0o777)

    def symlink(self, path, target):
        path = path.strip("/")
        self.folder(os.path.dirname(path))
        self._names.add(path)
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor, mode=0o600):
        path = path.strip("/")
        self.folder(os.path.dirname(path))
        self._names.add(path)
        self._entry(path, stat.S_IFCHR | mode, rdev=(major, minor))

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        return b"".join(self._chunks)
