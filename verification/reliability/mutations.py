"""How inputs are damaged: bytes anywhere, and trees of JSON and TOML at their keys and values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeAlias

Tree: TypeAlias = Any  # what JSON can hold
Slot: TypeAlias = tuple[Any, Any]  # a container of a tree, and a key or an index of it

EDGES_OF_INTEGERS: tuple[int, ...] = (
    0,
    1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    65535,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
)
EDGES_OF_INTEGERS += ((1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
WRONG_TEXTS = (
    "", " ", "a", "None", "nan", "-1", "..", "../../x", "/", "\0", "a\0b", "\n", "\u202e", "é", "①",
    "\ud800", "𝔸" * 3, "x" * 5000, "{}", "[]", "%s%n", "*", "**", ":", "::", "'\"", "\x1b[31m",
)  # fmt: skip
WRONG_VALUES: tuple[Any, ...] = (
    *WRONG_TEXTS, True, False, -1, -(1 << 63), 10**30, 0.5, -0.5, 0.0, 1e-320, 1e308, -1e308,
    math.inf, -math.inf, math.nan, [], {}, [[]], [None], [0], ["a"], {"a": 1}, {"": {}},
    *EDGES_OF_INTEGERS,
)  # fmt: skip
RAW: tuple[str, ...] = (
    "1e999",
    "-1e999",
    "9" * 5000,
    "-",
    "0x10",
    "1_000",
    "NaN",
    "-Infinity",
    "nul",
    "{",
    "]",
    '"',
)
RAW += ('"\\ud800"', '"\\q"', "'''", "1979-05-27T07:32:00Z", "// x", "\x01")
"""Text in the place of a value; most of it is neither JSON nor TOML."""
PIECES = tuple(b'{ } [ ] " , : = # \\ \n \r\n \0 \xff \xc3( \xef\xbb\xbf .. - + e9 nan'.split(b" "))
_MARK = "qzraw"
_DEPTHS = (10, 100, 1000, 20_000)


def mutated_bytes(rng: Random, data: bytes) -> bytes:
    """Return bytes with one to three places damaged, or the end missing."""
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_BYTES)(rng, buffer)
    return bytes(buffer)


def mutated_json(rng: Random, tree: Tree) -> bytes:
    """Return the JSON of a tree that was changed somewhere; sometimes no JSON any more."""
    return _written(rng, tree, lambda new: json.dumps(new, ensure_ascii=rng.random() < 0.5))


def mutated_toml(rng: Random, tree: Tree) -> bytes:
    """Return the TOML of a tree that was changed somewhere; sometimes no TOML any more."""
    import tomli_w

    def write(new: Tree) -> str:
        return tomli_w.dumps(_without_none(new) if isinstance(new, dict) else {"x": str(new)})

    return _written(rng, tree, write)


def mutated_tree(rng: Random, tree: Tree) -> Tree:
    """Return a copy of a tree with one to three changes; nothing that no JSON could say."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        slots = list(_slots(tree))
        if slots:
            container, key = rng.choice(slots)
            rng.choice(_TREE)(rng, container, key, slots)
    return tree


def mutated_text(rng: Random, text: str, pieces: tuple[str, ...] = ()) -> str:
    """Return a text with a few signs changed, or with pieces of others in it."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        new = rng.choice((*pieces, *WRONG_TEXTS, chr(rng.randrange(1, 0x3000)), text[at:end]))
        text = rng.choice((text[:at] + new + text[at:], text[:at] + new + text[end:], text + new))
    return text


def _written(rng: Random, tree: Tree, write: Callable[[Tree], str]) -> bytes:
    """Write a changed tree, then put in what no tree can hold: raw values, keys twice, nesting."""
    if rng.random() < 0.1:
        return mutated_bytes(rng, write(tree).encode())
    new, raw = mutated_tree(rng, tree), ""
    slots = list(_slots(new))
    choice = rng.random()
    if slots and choice < 0.3:
        container, key = rng.choice(slots)
        raw = rng.choice(RAW)
        if rng.random() < 0.25:
            depth = rng.choice(_DEPTHS)
            raw = rng.choice(("[", "{'a':", '{"a":', "[{")) * depth + rng.choice(("", "]" * depth))
        container[key] = _MARK
    elif slots and choice < 0.4:
        container, key = rng.choice(slots)
        if isinstance(container, dict) and isinstance(key, str):
            container[_MARK] = rng.choice(WRONG_VALUES[:-1])
            raw = key
    text = write(new)
    text = text.replace(f'"{_MARK}"', raw or '""').replace(_MARK, raw)
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.05:
        data = rng.choice((text.encode("utf-16", "surrogatepass"), b"\xef\xbb\xbf" + data, b""))
    return mutated_bytes(rng, data) if rng.random() < 0.1 else data


def _slots(tree: Tree) -> Iterator[Slot]:
    """Every place of a tree."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree, key
            yield from _slots(value)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield tree, index
            yield from _slots(value)


def _without_none(tree: Tree) -> Tree:
    """A tree as TOML can write it: without null, and with texts as keys."""
    if isinstance(tree, dict):
        return {str(key): _without_none(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [_without_none(value) for value in tree if value is not None]
    return tree


def _delete(_rng: Random, container: Any, key: Any, _slots: list[Slot]) -> None:  # noqa: ANN401
    if isinstance(container, dict):
        container.pop(key, None)
    elif key < len(container):
        container.pop(key)


def _replace(rng: Random, container: Any, key: Any, _slots: list[Slot]) -> None:  # noqa: ANN401
    _put(container, key, rng.choice(WRONG_VALUES))


def _null(_rng: Random, container: Any, key: Any, _slots: list[Slot]) -> None:  # noqa: ANN401
    _put(container, key, None)


def _elsewhere(rng: Random, container: Any, key: Any, slots: list[Slot]) -> None:  # noqa: ANN401
    other, name = rng.choice(slots)
    if value := _get(other, name):
        _put(container, key, json.loads(json.dumps(value)))


def _nudge(rng: Random, container: Any, key: Any, _slots: list[Slot]) -> None:  # noqa: ANN401
    value = _get(container, key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = rng.choice(EDGES_OF_INTEGERS)
    steps = (value + 1, value - 1, value * 2, -value, value / 2, float(value), str(value))
    _put(container, key, rng.choice((*steps, *EDGES_OF_INTEGERS)))


def _reword(rng: Random, container: Any, key: Any, _slots: list[Slot]) -> None:  # noqa: ANN401
    value = _get(container, key)
    _put(container, key, mutated_text(rng, value if isinstance(value, str) else str(value)))


def _rename(rng: Random, container: Any, key: Any, slots: list[Slot]) -> None:  # noqa: ANN401
    if isinstance(container, dict) and key in container:
        names = [name for _, name in slots if isinstance(name, str)]
        container[rng.choice((mutated_text(rng, key), rng.choice(names)))] = container.pop(key)


def _wrap(rng: Random, container: Any, key: Any, _slots: list[Slot]) -> None:  # noqa: ANN401
    value = _get(container, key)
    _put(container, key, rng.choice(([value], {"x": value}, [value] * 3, [[[value]]])))


def _several(rng: Random, container: Any, key: Any, _slots: list[Slot]) -> None:  # noqa: ANN401
    value = _get(container, key)
    if isinstance(value, list) and value:
        choices: tuple[list[Any], ...] = (
            value * 2,
            value[1:],
            value[::-1],
            [*value, value[0]],
            value * 50,
            [],
        )
        _put(container, key, rng.choice(choices))
    elif isinstance(value, dict):
        value[rng.choice(("x", "", "é", "a.b", " "))] = rng.choice(WRONG_VALUES)


def _get(container: Any, key: Any) -> Any:  # noqa: ANN401  an earlier change may have emptied it
    try:
        return container[key]
    except (KeyError, IndexError):
        return None


def _put(container: Any, key: Any, value: Any) -> None:  # noqa: ANN401  as above
    if isinstance(container, dict) or key < len(container):
        container[key] = value


_TREE: tuple[Callable[[Random, Any, Any, list[Slot]], None], ...]
_TREE = (_delete, _replace, _replace, _null, _elsewhere, _nudge, _nudge, _reword, _rename, _wrap)
_TREE += (_several,)


def _flip(rng: Random, buffer: bytearray) -> None:
    if buffer:
        buffer[rng.randrange(len(buffer))] ^= 1 << rng.randrange(8)


def _overwrite(rng: Random, buffer: bytearray) -> None:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(EDGES_OF_INTEGERS) & ((1 << 8 * size) - 1)
    at = rng.randrange(max(1, len(buffer) - size + 1))
    buffer[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _truncate(rng: Random, buffer: bytearray) -> None:
    del buffer[rng.randrange(len(buffer) + 1) :]


def _cut_out(rng: Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    del buffer[at : at + rng.choice((1, 2, 8, 64, 512))]


def _double(rng: Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    part = buffer[at : at + rng.choice((1, 8, 64, 512))]
    buffer[at:at] = part * rng.choice((1, 1, 2, 40))


def _insert(rng: Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    buffer[at:at] = rng.choice((rng.randbytes(rng.choice((1, 8, 100))), rng.choice(PIECES)))


def _zero(rng: Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    size = min(rng.choice((4, 64, 4096)), len(buffer) - at)
    buffer[at : at + size] = bytes(size)


_BYTES = (_flip, _flip, _overwrite, _truncate, _cut_out, _double, _insert, _zero)
