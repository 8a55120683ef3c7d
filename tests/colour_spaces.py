"""Colour profiles that are made here, for tests."""

import struct
from itertools import product

#: Red, green and blue as XYZ at D50, and the exponent, of two wide colour spaces.
WIDE = {
    "Display P3": (((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)), 2.2),
    "Adobe RGB": (((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)), 2.2),
    "ProPhoto": (((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)), 1.8),
}


WHITE = (0.9642, 1.0, 0.8249)


def icc(primaries, exponent):
    """An ICC profile of a colour space of three primaries and one exponent."""
    curve = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(exponent * 256)) + b"\0\0"
    colours = zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    tags = {name: b"XYZ \0\0\0\0" + _fixed(*values) for name, values in colours}
    return _profile(b"mntrRGB XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def cmyk_icc(lab_of):
    """An ICC profile of four inks; `lab_of` gives the L, a and b in 8 bits of four inks of 0 or 1."""
    table = b"".join(bytes(lab_of(*inks)) for inks in product((0, 1), repeat=4))
    curves = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return _profile(b"prtrCMYKLab ", {b"A2B0": head + curves * 4 + table + curves * 3})


def _fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _profile(kind, tags):
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(79)
    tags = tags | {b"desc": text, b"wtpt": b"XYZ \0\0\0\0" + _fixed(*WHITE), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I", at + len(body)) + bytes(4) + b"\2\x10\0\0" + kind
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*WHITE)
    return head + bytes(128 - len(head)) + table + body
