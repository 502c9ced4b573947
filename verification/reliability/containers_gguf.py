"""GGUF files, taken apart and put together again by hand, so that they can be damaged inside."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from random import Random

from verification.reliability.mutations import EDGES_OF_INTEGERS, mutated_bytes

GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
GGUF_STRING, GGUF_ARRAY, GGUF_ALIGNMENT = 8, 9, 32
GGUF_BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24)}
GGUF_BLOCKS |= {8: (32, 34), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176)}
GGUF_BLOCKS |= {14: (256, 210), 30: (1, 2)}
"""Block type of ggml to weights and bytes of a block."""


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file in parts.

    Attributes:
        values: Key, type and bytes of each value of the metadata.
        tensors: Name, dimensions, block type and bytes of each tensor.
        extra: Added to the numbers of tensors and of values that the file says it has.
    """

    values: tuple[tuple[bytes, int, bytes], ...]
    tensors: tuple[tuple[bytes, tuple[int, ...], int, bytes], ...]
    extra: tuple[int, int] = (0, 0)

    def data(self) -> bytes:
        """Return the file."""
        counts = (len(self.tensors) + self.extra[0], len(self.values) + self.extra[1])
        head = b"GGUF" + struct.pack("<IQQ", 3, *(count & ((1 << 64) - 1) for count in counts))
        head += b"".join(_text(k) + struct.pack("<I", kind) + raw for k, kind, raw in self.values)
        body = b""
        for name, dimensions, kind, raw in self.tensors:
            sizes = [size & ((1 << 64) - 1) for size in dimensions]
            head += _text(name) + struct.pack("<I", len(sizes))
            head += struct.pack(f"<{len(sizes)}QIQ", *sizes, kind, len(body))
            body += raw + bytes(-len(raw) % GGUF_ALIGNMENT)
        return head + bytes(-len(head) % GGUF_ALIGNMENT) + body


def split_gguf(data: bytes) -> GgufFile:
    """Return the parts of a whole GGUF file of version 3, aligned to 32 bytes."""
    at = 24
    (tensors, values) = struct.unpack("<QQ", data[8:24])
    found = []
    for _ in range(values):
        key, at = _take_text(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        end = _value_end(data, at + 4, kind)
        found.append((key, kind, data[at + 4 : end]))
        at = end
    entries = []
    for _ in range(tensors):
        name, at = _take_text(data, at)
        (count,) = struct.unpack_from("<I", data, at)
        *sizes, kind, offset = struct.unpack_from(f"<{count}QIQ", data, at + 4)
        entries.append((name, tuple(sizes), kind, offset))
        at += 16 + 8 * count
    start = -(-at // GGUF_ALIGNMENT) * GGUF_ALIGNMENT
    parts = []
    for name, dimensions, kind, offset in entries:
        weights, size = GGUF_BLOCKS[kind]
        for length in dimensions:
            size *= length
        parts.append(
            (name, dimensions, kind, data[start + offset : start + offset + size // weights])
        )
    return GgufFile(tuple(found), tuple(parts))


def mutated_gguf(rng: Random, data: bytes) -> bytes:
    """Return a GGUF file that was damaged anywhere, or whose parts do not fit each other."""
    choice = rng.random()
    if choice < 0.15:
        return mutated_bytes(rng, data)
    if choice < 0.35:
        head = min(len(data), rng.choice((32, 256, 2048)))
        return mutated_bytes(rng, data[:head]) + data[head:]
    file = split_gguf(data)
    for _ in range(rng.choice((1, 1, 2))):
        file = rng.choice(_GGUF)(rng, file)
    whole = file.data()
    return mutated_bytes(rng, whole) if rng.random() < 0.1 else whole


def _gguf_values(rng: Random, file: GgufFile) -> GgufFile:
    """Drop, rename, repeat or overwrite a value of the metadata."""
    values = list(file.values)
    at = rng.randrange(len(values))
    key, kind, raw = values[at]
    choice = rng.random()
    if choice < 0.2:
        del values[at]
    elif choice < 0.3:
        values.append(rng.choice(values))
    elif choice < 0.4:
        values[at] = (mutated_bytes(rng, key), kind, raw)
    elif choice < 0.5:
        values[at] = (key, rng.choice(EDGES_OF_INTEGERS) & 0xFFFFFFFF, raw)
    elif choice < 0.7 and kind in GGUF_SIZES:
        new = rng.choice(EDGES_OF_INTEGERS) & ((1 << 8 * len(raw)) - 1)
        values[at] = (key, kind, new.to_bytes(len(raw), "little"))
    elif choice < 0.85 and kind in GGUF_SIZES:
        new = (int.from_bytes(raw, "little") + rng.choice((1, -1))) & ((1 << 8 * len(raw)) - 1)
        values[at] = (key, kind, new.to_bytes(len(raw), "little"))
    else:
        values[at] = (key, kind, mutated_bytes(rng, raw))
    return replace(file, values=tuple(values))


def _gguf_tensors(rng: Random, file: GgufFile) -> GgufFile:
    """Drop, rename, repeat, reshape, cut or retype a tensor."""
    tensors = list(file.tensors)
    if not tensors:
        return file
    at = rng.randrange(len(tensors))
    name, sizes, kind, raw = tensors[at]
    choices = [
        None,
        (mutated_bytes(rng, name), sizes, kind, raw),
        (name.replace(b".0.", b".1."), sizes, kind, raw),
        (name, sizes[::-1], kind, raw),
        (name, (*sizes, 1), kind, raw),
        (name, tuple(rng.choice((size, *EDGES_OF_INTEGERS)) for size in sizes), kind, raw),
        (name, sizes, rng.choice((*GGUF_BLOCKS, 4, 5, 15, 39, 255, 1 << 31)), raw),
        (name, sizes, kind, mutated_bytes(rng, raw)),
        (rng.choice(tensors)[0], sizes, kind, raw),
    ]
    new = rng.choice(choices)
    if new is None:
        del tensors[at]
    elif rng.random() < 0.2:
        tensors.append(new)
    else:
        tensors[at] = new
    return replace(file, tensors=tuple(tensors))


def _gguf_counts(rng: Random, file: GgufFile) -> GgufFile:
    steps = (1, -1, 1000, 1 << 32, (1 << 62), -(1 << 63))
    return replace(file, extra=rng.choice(((rng.choice(steps), 0), (0, rng.choice(steps)))))


_GGUF = (_gguf_values, _gguf_values, _gguf_tensors, _gguf_tensors, _gguf_counts)


def _text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _take_text(data: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + size], at + 8 + size


def _value_end(data: bytes, at: int, kind: int) -> int:
    if kind in GGUF_SIZES:
        return at + GGUF_SIZES[kind]
    if kind == GGUF_STRING:
        return _take_text(data, at)[1]
    of, count = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(count):
        at = _value_end(data, at, of)
    return at
