"""What arguments may be: each function returns a value in its own type, or says what is allowed.

They stand where users call: public functions, constructors, commands. Inside, values are right.
Scalars of numpy and torch are the Python value that they hold. A bool is no number, and a float is
no integer even where it is whole: it comes from a division that happened to come out.
"""

from __future__ import annotations

import math
import numbers
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from quant.common.errors import ArgumentTypeError, RequestError, unknown_name
from quant.common.sizes import need_count

T = TypeVar("T")
LARGEST = 1 << 53
"""Integers above are refused: not every one of them is a float, and none is a count of anything."""
MOST_VALUES = 10_000_000
"""Entries of a list."""
SHOWN = 60
"""Characters of a value in a message."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = SHOWN


def wrong_type(name: str, value: object, allowed: str) -> ArgumentTypeError:
    """Return the error for an argument of a wrong type.

    Args:
        name: The argument.
        value: As given.
        allowed: What is, such as ``"an integer"``.
    """
    seen = shown(value)
    given = "" if value is None or seen.startswith("of type") else f" ({type(value).__name__})"
    return ArgumentTypeError(f"{name} {seen}{given} is not allowed: {allowed} is needed")


def shown(value: object) -> str:
    """Return a value as messages show it: on one line, short, without looking at large data."""
    value = plain(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * SHOWN:
        return f"of {value.bit_length()} bits"
    known = (str, bytes, numbers.Number, list, tuple, dict, set, Path, type(None))
    if not isinstance(value, known):
        return f"of type {type(value).__name__}"
    text = f"{value!r}" if isinstance(value, Path) else _SHORT.repr(value)
    return text if len(text) <= 2 * SHOWN else f"{text[: 2 * SHOWN]}..."


def plain(value: Any) -> Any:  # noqa: ANN401  anything
    """Return the Python value of a scalar of numpy's or torch's; anything else as it is."""
    if isinstance(value, type) or not hasattr(value, "item") or getattr(value, "ndim", None) != 0:
        return value
    try:
        return value.item()
    except (TypeError, ValueError, RuntimeError):  # such as a tensor on the meta device
        return value


def integer(name: str, value: object, least: int | None = None, most: int = LARGEST) -> int:
    """Return an argument that is a whole number as an int.

    Args:
        name: The argument.
        value: As given.
        least: The smallest that is allowed; None: any.
        most: The largest that is allowed.

    Raises:
        ArgumentTypeError: no integer (a bool, a float, a text).
        RequestError: below the least or above the most.
    """
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, numbers.Integral):
        raise wrong_type(name, value, "an integer")
    result = int(found)
    _check_limits(name, result, least, most)
    return result


def number(
    name: str,
    value: object,
    least: float | None = None,
    most: float = math.inf,
    *,
    above: float | None = None,
) -> float:
    """Return an argument that is a finite real number as a float.

    Args:
        name: The argument.
        value: As given.
        least: The smallest that is allowed; None: any.
        most: The largest that is allowed.
        above: What it must lie above; None: nothing.

    Raises:
        ArgumentTypeError: no real number (a bool, a text, a complex number).
        RequestError: NaN, Inf, or outside of the limits.
    """
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, numbers.Real):
        raise wrong_type(name, value, "a number")
    try:
        result = float(found)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise RequestError(f"{name} {shown(value)} is not allowed: a finite number is needed")
    if above is not None and not result > above:
        raise RequestError(f"{name} {shown(value)} is not allowed: above {above:g} is needed")
    _check_limits(name, result, least, most)
    return result


def flag(name: str, value: object) -> bool:
    """Return an argument that is True or False as a bool.

    Raises:
        ArgumentTypeError: anything else, 0 and 1 included.
    """
    found = plain(value)
    if not isinstance(found, bool):
        raise wrong_type(name, value, "True or False")
    return found


def text(name: str, value: object) -> str:
    """Return an argument that is a text as a str.

    Raises:
        ArgumentTypeError: no text (bytes are none).
        RequestError: half a character, which no file can hold.
    """
    found = plain(value)
    if not isinstance(found, str):
        raise wrong_type(name, value, "a text")
    try:
        found.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError(f"{name} {shown(value)} is not allowed: whole characters are") from None
    return str(found)


def path(name: str, value: object) -> Path:
    """Return an argument that names a file or folder as a Path.

    Raises:
        ArgumentTypeError: neither a text nor a path.
        RequestError: an empty text, or one that no file can have as its name.
    """
    found = plain(value)
    try:
        given = os.fspath(found)
        if not isinstance(given, str):
            raise TypeError
    except TypeError:
        raise wrong_type(name, value, "a path (a text or a pathlib.Path)") from None
    try:
        parts = os.fsencode(given).split(b"/")
    except UnicodeEncodeError:
        parts = [b"\0"]
    if not given or any(b"\0" in part or len(part) > 255 for part in parts):
        raise RequestError(f"{name} {shown(given)} is not allowed: the name of a file is needed")
    return Path(given)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return an argument that is one of some texts.

    Raises:
        ArgumentTypeError: no text.
        RequestError: another text; the message gives those that are allowed.
    """
    known = list(allowed)
    found = plain(value)
    if not isinstance(found, str):
        raise wrong_type(name, value, f"one of {', '.join(known)}")
    if found not in known:
        raise unknown_name(name, found, known)
    return str(found)


def one_of(name: str, value: object, kind: type[T] | tuple[type[T], ...], allowed: str) -> T:
    """Return an argument that is an instance of a class.

    Args:
        name: The argument.
        value: As given.
        kind: A class, or several.
        allowed: What is, in words.

    Raises:
        ArgumentTypeError: an instance of anything else.
    """
    if not isinstance(value, kind):
        raise wrong_type(name, value, allowed)
    return value


def several(
    name: str, value: object, item: Callable[[str, object], T], least: int = 0
) -> tuple[T, ...]:
    """Return an argument that is a list of things, each checked, as a tuple.

    Args:
        name: The argument.
        value: A list, a tuple, a one-dimensional array, or another sequence that is no text.
        item: Checks one of them; it is told its name, such as ``batch[0]``.
        least: How many there must be.

    Raises:
        ArgumentTypeError: no sequence; a text is none.
        RequestError: too few.
    """
    array = isinstance(getattr(value, "ndim", None), int)
    sized = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    if isinstance(value, str | bytes | bytearray | Mapping | type) or not sized:
        raise wrong_type(name, value, "a list")
    if array and getattr(value, "ndim", 1) != 1:
        raise wrong_type(name, value, "a list, or an array of one dimension,")
    need_count(_length(value), MOST_VALUES, f"values of {name}", "give fewer")
    entries = list(value)  # type: ignore[call-overload]  # sized, and has entries
    if len(entries) < least:
        few = "value is" if least == 1 else "values are"
        raise RequestError(f"{name}: at least {'one' if least == 1 else least} {few} needed")
    return tuple(item(f"{name}[{i}]", entry) for i, entry in enumerate(entries))


def table(name: str, value: object, item: Callable[[str, object], T]) -> dict[str, T]:
    """Return an argument that maps texts to things, each checked, as a dict.

    Args:
        name: The argument.
        value: A mapping.
        item: Checks one value; it is told its name, such as ``formats['lm_head']``.

    Raises:
        ArgumentTypeError: no mapping, or a key that is no text.
    """
    if not isinstance(value, Mapping):
        raise wrong_type(name, value, "a mapping")
    keys = [text(f"{name}: key", key) for key in value]
    return {key: item(f"{name}[{key!r}]", value[key]) for key in keys}


def _length(value: Any) -> float:  # noqa: ANN401  anything with a length
    try:
        return len(value)
    except OverflowError:  # a range may be longer than any list
        return math.inf


def check_fields(instance: object, checks: Mapping[str, Callable[[str, object], object]]) -> None:
    """Check fields of a frozen dataclass and put the checked values in their places.

    Raises:
        RequestError: naming all faults; an ArgumentTypeError where a type is wrong.
    """
    faults: list[RequestError] = []
    for name, check in checks.items():
        try:
            object.__setattr__(instance, name, check(name, getattr(instance, name)))
        except RequestError as error:
            faults.append(error)
    if faults:
        wrong = any(isinstance(fault, ArgumentTypeError) for fault in faults)
        kind = ArgumentTypeError if wrong else RequestError
        raise kind("; ".join(map(str, faults)))


def optional(check: Callable[[str, object], T]) -> Callable[[str, object], T | None]:
    """Return a check that lets None pass."""
    return lambda name, value: None if value is None else check(name, value)


def _check_limits(name: str, value: float, least: float | None, most: float) -> None:
    if least is not None and value < least:
        raise RequestError(f"{name} {shown(value)} is not allowed: at least {least}")
    if value > most:
        raise RequestError(f"{name} {shown(value)} is not allowed: at most {most}")
