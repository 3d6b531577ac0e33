#!/usr/bin/env python3
"""Frames that nobody should send, to one station: half-right ARP, IPv4, IPv6, ICMP, TCP and UDP, cut and changed.

    frames.py DEVICE HARDWARE_ADDRESS SEED SECONDS

The station has 10.9.0.2 and fd09::2, this side 10.9.0.1 and fd09::1. Needs CAP_NET_RAW.
"""

import random
import socket
import struct
import sys
import time

NEAR4, FAR4 = (socket.inet_aton(text) for text in ("10.9.0.2", "10.9.0.1"))
NEAR6, FAR6 = (socket.inet_pton(socket.AF_INET6, text) for text in ("fd09::2", "fd09::1"))
GROUPS6 = [socket.inet_pton(socket.AF_INET6, text) for text in ("ff02::1", "ff02::1:ff00:2", "ff02::2")]
OURS = bytes([2, 0, 0, 0, 0, 9])
TCP, UDP, ICMP, ICMP6, IGMP = 6, 17, 1, 58, 2


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Frames:
    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.kinds = [self.tcp4, self.udp4, self.icmp4, self.fragment, self.options, self.tcp6, self.udp6,
                      self.icmp6, self.headers6, self.arp, self.odd_names, self.noise]

    def some(self, size):
        return self.chance.randbytes(size)

    def ip4(self, protocol, payload, source=FAR4, target=NEAR4, fragment=0, number=0, options=b""):
        head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, self.chance.randrange(256),
                           20 + len(options) + len(payload), number or self.chance.randrange(65536), fragment,
                           self.chance.choice([1, 64, 255]), protocol, 0, source, target) + options
        return 0x0800, head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload

    @staticmethod
    def ip6(protocol, payload, target=NEAR6):
        return 0x86dd, struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + FAR6 + target + payload

    @staticmethod
    def summed(protocol, packet, at, names):
        packet = packet[:at] + b"\0\0" + packet[at + 2:]
        total = checksum(names + struct.pack("!HH", len(packet), protocol) + packet)
        return packet[:at] + struct.pack("!H", total) + packet[at + 2:]

    def tcp(self, names):
        pick = self.chance.choice
        options = b"".join(pick([b"\x01", b"\x02\x04\x05\xb4", b"\x03\x03\x07", b"\x05\x0a" + self.some(8), self.some(3)])
                           for _ in range(self.chance.randrange(5)))[:40]
        options += b"\0" * (-len(options) % 4)
        words = pick([5 + len(options) // 4] * 6 + [self.chance.randrange(16)])
        flags = pick([2, 0x10, 0x12, 0x11, 4, 0x14, 0x18, self.chance.randrange(256)])
        packet = struct.pack("!HHIIBBHHH", pick([4000, 4001]), pick([7000, 99]), self.chance.randrange(1 << 32),
                             self.chance.randrange(1 << 32), words << 4, flags, self.chance.randrange(65536), 0, 0)
        return self.summed(TCP, packet + options + self.some(pick([0, 10, 1000])), 16, names)

    def udp(self, names):
        data = self.some(self.chance.choice([0, 10, 1400]))
        size = self.chance.choice([8 + len(data)] * 5 + [self.chance.randrange(65536)])
        return self.summed(UDP, struct.pack("!HHHH", 5000, self.chance.choice([7000, 99]), size, 0) + data, 6, names)

    def tcp4(self):
        return self.ip4(TCP, self.tcp(FAR4 + NEAR4))

    def udp4(self):
        return self.ip4(UDP, self.udp(FAR4 + NEAR4))

    def tcp6(self):
        return self.ip6(TCP, self.tcp(FAR6 + NEAR6))

    def udp6(self):
        return self.ip6(UDP, self.udp(FAR6 + NEAR6))

    def icmp4(self):
        about = self.ip4(self.chance.choice([TCP, UDP]), self.some(8), NEAR4, FAR4)[1]
        packet = struct.pack("!BBHI", self.chance.choice([8, 0, 3, 5, 11, 12]), self.chance.randrange(16), 0,
                             self.chance.randrange(1 << 32)) + self.chance.choice([self.some(20), about, b""])
        return self.ip4(ICMP, packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:])

    def icmp6(self):
        pick = self.chance.choice
        kind = pick([128, 133, 134, 135, 136, 137, 1, 2, 3, 4, 130, 131, 143, self.chance.randrange(256)])
        options = b"".join(bytes([self.chance.randrange(1, 6), pick([0, 1, 1, 1, 4, 255])]) + self.some(pick([6, 6, 30]))
                           for _ in range(self.chance.randrange(4)))
        packet = struct.pack("!BBH", kind, pick([0, 0, 4]), 0) + self.some(4) + pick([NEAR6, FAR6, b""]) + options
        return self.ip6(ICMP6, self.summed(ICMP6, packet, 2, FAR6 + NEAR6), pick([NEAR6, *GROUPS6]))

    def fragment(self):
        offset = self.chance.choice([0x2000, 0x2000 | self.chance.randrange(8192), self.chance.randrange(8192)])
        return self.ip4(self.chance.choice([UDP, TCP, ICMP]), self.some(self.chance.choice([8, 64, 1000])),
                        fragment=offset, number=self.chance.choice([1, 2, 3]))

    def options(self):
        return self.ip4(self.chance.choice([IGMP, UDP, TCP]), self.some(30),
                        options=self.some(4 * self.chance.randrange(1, 10)))

    def headers6(self):
        kind, packet = self.chance.choice([TCP, UDP, ICMP6, 59]), self.some(self.chance.choice([8, 40, 900]))
        for _ in range(self.chance.randrange(1, 4)):
            packet = bytes([kind, self.chance.choice([0, 0, 1, 255])]) + self.some(6) + packet
            kind = self.chance.choice([0, 43, 44, 60])
        return self.ip6(kind, packet)

    def arp(self):
        return 0x0806, struct.pack("!HHBBH", 1, 0x800, 6, 4, self.chance.choice([1, 2, 9])) + OURS + self.chance.choice(
            [FAR4, NEAR4, self.some(4)]) + self.some(6) + NEAR4

    def odd_names(self):
        odd = [socket.inet_aton(text) for text in ("10.9.0.2", "127.0.0.1", "255.255.255.255", "224.0.0.1", "0.0.0.0")]
        return self.ip4(UDP, self.some(30), self.chance.choice(odd), self.chance.choice([NEAR4, *odd]))

    def noise(self):
        return self.chance.choice([0x0800, 0x86dd, 0x0806, 0x8100]), self.some(self.chance.randrange(200))

    def next(self, station):
        kind, packet = self.chance.choice(self.kinds)()
        if packet and self.chance.random() < 0.2:
            changed = bytearray(packet)
            for _ in range(self.chance.randrange(1, 4)):
                changed[self.chance.randrange(min(len(changed), 60))] = self.chance.randrange(256)
            packet = bytes(changed[:self.chance.choice([len(changed), self.chance.randrange(len(changed) + 1)])])
        to = self.chance.choice([station] * 8 + [b"\xff" * 6, b"\x33\x33\0\0\0\1"])
        return to + OURS + struct.pack("!H", kind) + packet


def main():
    device, station, seed, seconds = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", "")), int(sys.argv[3]), \
        float(sys.argv[4])
    frames, end = Frames(seed), time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((device, 0))
        while time.monotonic() < end:
            for _ in range(100):
                try:
                    wire.send(frames.next(station))
                except OSError:
                    pass  # too long for the device, or its queue is full


if __name__ == "__main__":
    main()
