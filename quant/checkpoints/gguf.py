"""GGUF files: what they hold, read with every length checked, and their tensors, decoded lazily.

Container: the GGUF specification of ggml (docs/gguf.md, versions 2 and 3, little endian). Metadata
are walked over, not interpreted; a count or a length that the file cannot hold is refused before
anything is allocated for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from quant.checkpoints.gguf_blocks import BLOCKS, BlockType
from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.spec import parse_spec
from quant.rounding.packing import U8, pack
from quant.tensors.tensor import QuantizedTensor

MAGIC, VERSIONS, ALIGNMENT = b"GGUF", (2, 3), 32
MOST_DIMENSIONS = 4
_STRING, _ARRAY, _UINT32 = 8, 9, 4
# Bytes of the other types of a metadata value, by their numbers.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


@dataclass(frozen=True)
class GgufTensor:
    """A tensor of a GGUF file.

    Attributes:
        name: As the file has it.
        shape: ``(..., out, in)``: ggml's dimensions in reverse.
        kind: How its blocks are laid out.
        blocks: ``[blocks, bytes]`` uint8, mapped from the file.
    """

    name: str
    shape: tuple[int, ...]
    kind: BlockType
    blocks: U8

    def dequantize(self) -> F32:
        """Return the values, of its shape, float32; ggml's arithmetic in its order.

        Raises:
            RequestError: NaN or Inf in a block, which is named.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            values = self.kind.decode(np.asarray(self.blocks))
        if not np.isfinite(values).all():
            block, place = np.argwhere(~np.isfinite(values))[0]
            value = values[block, place]
            raise RequestError(
                f"tensor {self.name}: block {block} ({self.kind.name}) holds {value} at {place}: "
                "only finite weights"
            )
        return values.reshape(self.shape)

    def to_quantized(self) -> QuantizedTensor:
        """Return the same codes and scales as a QuantizedTensor, where a format has them.

        Q4_0 is ``int4:g32``, Q8_0 ``int8:g32`` (full range, fp16 scales), MXFP4 ``mxfp4``.

        Raises:
            RequestError: another block type, not a matrix, or NaN or Inf in a block.
        """
        if self.kind.format is None or len(self.shape) != 2:
            known = ", ".join(kind.name for kind in BLOCKS.values() if kind.format)
            raise RequestError(f"tensor {self.name}: {self.kind.name} is no format here ({known})")
        spec = parse_spec(self.kind.format)
        self.dequantize()  # refuses NaN and Inf by their place
        scales, codes = self.kind.split(np.asarray(self.blocks))
        rows, columns = self.shape
        packed = pack(codes.reshape(rows, columns), spec.format.element_bits)
        return QuantizedTensor(spec, (rows, columns), packed, scales.reshape(rows, -1))


def load_gguf(path: str | Path) -> dict[str, GgufTensor]:
    """Return the tensors of a GGUF file by name, mapped, not read.

    Raises:
        RequestError: no GGUF file, a version or a block type that is not known, or one that is cut
            or whose lengths go beyond its end.
    """
    path = arguments.path("path", path)
    try:
        if path.stat().st_size == 0:
            raise RequestError(f"{path}: empty, not a GGUF file")
        data: U8 = np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error}") from None
    try:
        return _Reader(data).tensors()
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


Entry = tuple[str, tuple[int, ...], int, int]  # name, shape, block type, offset


class _Reader:
    """Walks over a file from its beginning."""

    def __init__(self, data: U8) -> None:
        self.data, self.at, self.alignment = data, 0, ALIGNMENT

    def tensors(self) -> dict[str, GgufTensor]:
        if bytes(self.data[:4]) != MAGIC:
            raise RequestError(f"begins with {bytes(self.data[:4])!r}: not a GGUF file")
        self.at = 4
        version = self.number("<I")
        if version not in VERSIONS:
            raise RequestError(f"version {version} (allowed: {', '.join(map(str, VERSIONS))})")
        count, values = self.number("<Q"), self.number("<Q")
        # An entry takes 12 bytes and more.
        if (count + values) * 12 > self.data.size:
            raise RequestError(f"{count} tensors and {values} values are more than the file holds")
        for _ in range(values):
            self.metadata()
        entries = [self.entry() for _ in range(count)]
        start = -(-self.at // self.alignment) * self.alignment
        found = {entry[0]: self.tensor(entry, start) for entry in entries}
        if len(found) != count:
            raise RequestError("two tensors have the same name")
        return found

    def metadata(self) -> None:
        key, kind = self.string(), self.number("<I")
        before = self.at
        self.skip(kind, key)
        if key == "general.alignment" and kind == _UINT32:
            self.alignment = int.from_bytes(self.data[before : self.at].tobytes(), "little")
            if not 8 <= self.alignment <= 1 << 20 or self.alignment % 8:
                raise RequestError(f"alignment {self.alignment} (allowed: multiples of 8)")

    def skip(self, kind: int, key: str) -> None:
        if kind in _SIZES:
            self.take(_SIZES[kind])
        elif kind == _STRING:
            self.string()
        elif kind == _ARRAY:
            of, count = self.number("<I"), self.number("<Q")
            if of in _SIZES:
                self.take(_SIZES[of] * count)
            elif of == _STRING and count * 8 <= self.data.size:
                for _ in range(count):
                    self.take(self.number("<Q"))
            else:
                raise RequestError(f"value {key!r}: an array of {count} of type {of}")
        else:
            raise RequestError(f"value {key!r} has the unknown type {kind}")

    def entry(self) -> Entry:
        name, dimensions = self.string(), self.number("<I")
        if dimensions > MOST_DIMENSIONS:
            raise RequestError(f"tensor {name!r} has {dimensions} dimensions (at most 4)")
        shape = tuple(self.number("<Q") for _ in range(dimensions))
        return name, shape[::-1], self.number("<I"), self.number("<Q")

    def tensor(self, entry: Entry, start: int) -> GgufTensor:
        name, shape, kind, offset = entry
        if kind not in BLOCKS:
            known = ", ".join(block.name for block in BLOCKS.values())
            raise RequestError(f"tensor {name!r} has the block type {kind} (known: {known})")
        block = BLOCKS[kind]
        if not shape or min(shape) < 1 or shape[-1] % block.weights:
            raise RequestError(
                f"tensor {name!r}: shape {shape} is not whole blocks of {block.name}"
            )
        count = prod(shape) // block.weights
        first = start + offset
        if first + count * block.size > self.data.size:
            raise RequestError(f"tensor {name!r} lies beyond the end: the file is cut")
        raw = self.data[first : first + count * block.size]
        return GgufTensor(name, shape, block, raw.reshape(count, block.size))

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def string(self) -> str:
        try:
            return self.take(self.number("<Q")).decode("utf-8")
        except UnicodeDecodeError:
            raise RequestError(f"a name at byte {self.at} is not UTF-8") from None

    def take(self, size: int) -> bytes:
        if self.at + size > self.data.size:
            raise RequestError(f"cut at byte {self.data.size}: {size} more are needed at {self.at}")
        self.at += size
        return self.data[self.at - size : self.at].tobytes()
