"""Damage that a generator chooses: bytes, lengths, order, and what a file says of itself."""

from __future__ import annotations

import io
import random
import struct
import zipfile

NOTABLE = (0, 1, -1, 127, -128, 255, 1 << 15, 1 << 16, (1 << 31) - 1, -(1 << 31), 10**12, (1 << 63) - 1)


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One of the seeds, damaged in a few places; one of a hundred is left as it is."""
    content = rng.choice(seeds)
    if content.startswith(b"PK\3\4") and rng.random() < 0.5:
        content = _with_damaged_member(rng, content)
    for _ in range(min(int(rng.expovariate(0.5)), 16) + (rng.random() > 0.01)):
        content = rng.choice(DAMAGES)(rng, content)
    return content


def _flipped(rng: random.Random, content: bytes) -> bytes:
    place = _place(rng, content)
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :] if content else b""


def _overwritten(rng: random.Random, content: bytes) -> bytes:
    place, length = _place(rng, content), rng.choice((1, 2, 4, 8, 64))
    return content[:place] + rng.randbytes(length) + content[place + length :]


def _numbered(rng: random.Random, content: bytes) -> bytes:
    """A number in place of whatever stands there, such as a count of 10**12."""
    place, size = _place(rng, content), rng.choice("BHIQ")
    number = rng.choice(NOTABLE) % (1 << 8 * struct.calcsize(size))
    packed = struct.pack(rng.choice("<>") + size, number)
    return content[:place] + packed + content[place + len(packed) :]


def _renumbered(rng: random.Random, content: bytes) -> bytes:
    """Decimal digits, as in tar's and npy's headers, replaced by others."""
    digits = [i for i in range(min(len(content), 4096)) if chr(content[i]).isdigit()]
    if not digits:
        return content
    place = rng.choice(digits)
    return content[:place] + bytes([rng.choice(b"0123456789-")]) * rng.choice((1, 1, 12)) + content[place + 1 :]


def _truncated(rng: random.Random, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def _inserted(rng: random.Random, content: bytes) -> bytes:
    place = _place(rng, content)
    return content[:place] + rng.choice((rng.randbytes(8), b"\0" * 512, b"\n", b"(((")) + content[place:]


def _removed(rng: random.Random, content: bytes) -> bytes:
    place = _place(rng, content)
    return content[:place] + content[place + rng.choice((1, 4, 8, 512)) :]


def _repeated(rng: random.Random, content: bytes) -> bytes:
    first, length = _place(rng, content), rng.choice((1, 8, 64, 512))
    return content[:first] + content[first : first + length] * rng.choice((2, 3, 50)) + content[first + length :]


def _place(rng: random.Random, content: bytes) -> int:
    """Anywhere, but half of the time in the first or last bytes, where formats keep what they say of themselves."""
    size = max(len(content), 1)
    near = min(size, 400)
    return rng.choice((rng.randrange(size), rng.randrange(size), rng.randrange(near), size - 1 - rng.randrange(near)))


DAMAGES = (
    _flipped,
    _flipped,
    _overwritten,
    _numbered,
    _numbered,
    _renumbered,
    _truncated,
    _inserted,
    _removed,
    _repeated,
)


def _with_damaged_member(rng: random.Random, content: bytes) -> bytes:
    """A zip with right checksums, one of whose files is damaged: what is behind the checksums is reached too."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(result, "w") as damaged:
        names = archive.namelist()
        chosen = rng.choice(names)
        for name in names:
            data = archive.read(name)
            damaged.writestr(name, rng.choice(DAMAGES)(rng, data) if name == chosen else data)
    return result.getvalue()
