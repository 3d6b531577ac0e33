"""Makes the files that cannot be executed: broken, foreign and odd ELF images, and scripts."""

import struct

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
PT_LOAD, PF_RX = 1, 5
EM_386, EM_X86_64, EM_AARCH64 = 3, 62, 183
BASE = 0x400000
CODE = bytes.fromhex("31ff" "b83c000000" "0f05")  # exit(0)


def elf(machine=EM_X86_64, bits=2, entry=None, segments=None, count=None, kind=2):
    """An ELF image with one small loadable segment, or with the given ones: tuples of
    (offset, address, bytes in the file, bytes in memory)."""
    code_at = EHDR.size + PHDR.size * (len(segments) if segments else 1)
    size = code_at + len(CODE)
    segments = segments or [(0, BASE, size, size)]
    ident = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    header = EHDR.pack(ident, kind, machine, 1, BASE + code_at if entry is None else entry,
                       EHDR.size, 0, 0, EHDR.size, PHDR.size,
                       len(segments) if count is None else count, 0, 0, 0)
    table = b"".join(PHDR.pack(PT_LOAD, PF_RX, offset, address, address, in_file, in_memory, 4096)
                     for offset, address, in_file, in_memory in segments)
    return header + table + CODE


def bad_files():
    """(name, contents, mode, accepted exit codes). What execve(2) refuses is 126."""
    whole = elf()
    return [
        ("empty", b"", 0o755, (126,)),
        ("not-executable", whole, 0o644, (126,)),
        ("text", b"just some words\n", 0o755, (126,)),
        ("script-without-interpreter", b"#!\n", 0o755, (126,)),
        ("script-of-missing-interpreter", b"#!/nonexistent/interpreter\n", 0o755, (126, 127)),
        ("truncated-magic", whole[:3], 0o755, (126,)),
        ("truncated-header", whole[:40], 0o755, (126,)),
        ("truncated-table", whole[:EHDR.size + 20], 0o755, (126,)),
        ("32-bit", elf(machine=EM_386, bits=1), 0o755, (126,)),
        ("aarch64", elf(machine=EM_AARCH64), 0o755, (126,)),
        ("object-file", elf(kind=1), 0o755, (126,)),
        ("core-file", elf(kind=4), 0o755, (126,)),
        ("no-segments", elf(count=0), 0o755, (126,)),
        ("too-many-segments", elf(count=0xffff), 0o755, (126,)),
        ("overlapping-segments",
         elf(segments=[(0, BASE, 180, 0x3000), (0, BASE + 0x1000, 180, 0x3000)],
             entry=BASE + 176), 0o755, (126,)),
        ("huge-segment", elf(segments=[(0, BASE, 120, 1 << 62)]), 0o755, (126,)),
        ("wrapping-segment", elf(segments=[(0, 2**64 - 4096, 120, 8192)]), 0o755, (126,)),
        ("kernel-address", elf(segments=[(0, 0xffff800000000000, 120, 4096)],
                               entry=0xffff800000000000), 0o755, (126,)),
        ("file-size-above-memory-size", elf(segments=[(0, BASE, 129, 64)]), 0o755, (126,)),
        ("unaligned-segment", elf(segments=[(1, BASE, 100, 100)]), 0o755, (126,)),
        ("entry-outside", elf(entry=0x12345000), 0o755, (126,)),
        ("entry-not-canonical", elf(entry=1 << 60), 0o755, (126,)),
    ]
