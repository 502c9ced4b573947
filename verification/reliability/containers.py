"""Files of tensors, taken apart and put together again by hand, so that they can be damaged inside.

No reader of ours is used: what a file says must not be known from the reader that is tried.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from verification.reliability.mutations import (
    mutated_bytes,
    mutated_json,
    mutated_text,
)

if TYPE_CHECKING:
    import torch


def split_safetensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and data.

    Raises:
        ValueError: no such file.
    """
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    return header, data[8 + size :]


def join_safetensors(header: dict[str, Any] | bytes, body: bytes) -> bytes:
    """Return the file of a header, or of the text of one, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def safetensors_values(data: bytes) -> dict[str, torch.Tensor]:
    """Return what a file says, tensor by tensor.

    Raises:
        ValueError, KeyError, TypeError, RuntimeError, struct.error: it says nothing.
    """
    import torch

    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}
    kinds |= {"BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}
    header, body = split_safetensors(data)
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            raw = torch.frombuffer(bytearray(body[first:last]), dtype=torch.uint8)
            found[name] = raw.view(kinds[entry["dtype"]]).reshape(entry["shape"])
    return found


def mutated_safetensors(rng: Random, data: bytes) -> bytes:
    """Return a file that was damaged anywhere, in its header, or changed into another whole one."""
    header, body = split_safetensors(data)
    choice = rng.random()
    if choice < 0.2:
        return mutated_bytes(rng, data)
    if choice < 0.3:
        start = len(data) - len(body)
        return mutated_bytes(rng, data[:start]) + body
    if choice < 0.5:
        return join_safetensors(mutated_json(rng, header), body)
    return rng.choice(_WHOLE)(rng, header, body)


def _drop(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    name = rng.choice(_names(header))
    kept = [(n, e, _part(e, body)) for n, e in header.items() if n not in {name, "__metadata__"}]
    return _rebuilt(kept)


def _rename(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    name = rng.choice(_names(header))
    new = rng.choice((mutated_text(rng, name), name.replace(".0.", ".1."), f"model.{name}"))
    entries = [(new if n == name else n, header[n]) for n in _names(header)]
    return _rebuilt([(n, e, _part(e, body)) for n, e in entries])


def _reshape(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    entry = header[rng.choice(_names(header))]
    shape = entry["shape"]
    flat = [part for part in shape for _ in range(1)]
    size = 1
    for part in flat:
        size *= part
    entry["shape"] = rng.choice((shape[::-1], [size], [1, *shape], [size // 2, 2], [*shape, 1]))
    return join_safetensors(header, body)


def _convert(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    """Say another type of the same size, or store the values in another one."""
    import torch

    name = rng.choice(_names(header))
    entry = header[name]
    if rng.random() < 0.3:
        entry["dtype"] = rng.choice(("I32", "U32", "F16", "BF16", "F64", "F8_E4M3", "BOOL", "X"))
        return join_safetensors(header, body)
    new, kind = rng.choice(
        (("F16", torch.float16), ("BF16", torch.bfloat16), ("F64", torch.float64))
    )
    parts = []
    for n in _names(header):
        part = _part(header[n], body)
        if n == name and header[n]["dtype"] == "F32" and part:
            value = torch.frombuffer(bytearray(part), dtype=torch.float32).to(kind)
            part = bytes(value.view(torch.uint8).numpy())
            header[n]["dtype"] = new
        parts.append((n, header[n], part))
    return _rebuilt(parts)


def _add(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    name = rng.choice(_names(header))
    new = rng.choice(
        (name.replace(".0.", ".7."), f"{name}_scale", "x", name.replace("weight", "bias"))
    )
    parts = [(n, header[n], _part(header[n], body)) for n in _names(header)]
    return _rebuilt([*parts, (new, dict(header[name]), _part(header[name], body))])


def _exchange(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    one, other = rng.choice(_names(header)), rng.choice(_names(header))
    header[one], header[other] = header[other], header[one]
    return join_safetensors(header, body)


def _overlap(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    one, other = rng.choice(_names(header)), rng.choice(_names(header))
    header[one]["data_offsets"] = header[other]["data_offsets"]
    return join_safetensors(header, body)


def _not_finite(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    at = 4 * rng.randrange(max(1, len(body) // 4))
    value = rng.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff"))
    return join_safetensors(header, body[:at] + value + body[at + 4 :])


_WHOLE: tuple[Callable[[Random, dict[str, Any], bytes], bytes], ...]
_WHOLE = (_drop, _rename, _reshape, _convert, _add, _exchange, _overlap, _not_finite)


def _names(header: dict[str, Any]) -> list[str]:
    return [name for name in header if name != "__metadata__"]


def _part(entry: dict[str, Any], body: bytes) -> bytes:
    first, last = entry["data_offsets"]
    return body[first:last]


def _rebuilt(parts: list[tuple[str, dict[str, Any], bytes]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, entry, part in parts:
        header[name] = {**entry, "data_offsets": [len(body), len(body) + len(part)]}
        body += part
    return join_safetensors(header, body)
