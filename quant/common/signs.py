"""Text for output that lacks some of its signs: written with those that it has, never an error."""

from __future__ import annotations

import codecs
import io
import sys

HANDLER = "quant.signs"
"""Name of the error handler for ``str.encode`` and streams."""
_INSTEAD = {
    "·": ".", "•": "*", "…": "...", "–": "-", "—": "-", "−": "-", "×": "x", "±": "+-", "µ": "u",
    "μ": "u", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "²": "2", "³": "3", "‘": "'", "’": "'",
    "“": '"', "”": '"', "\u00a0": " ", "█": "#", "▌": "#",
}  # fmt: skip
_BOX = range(0x2500, 0x2580)
_UPRIGHT = "│┃║╎╏┆┇┊┋"
_FLAT = "─━═╌╍┄┅┈┉╴╶╸╺╼╾"


def encodable(text: str, encoding: str) -> str:
    """Return the text with signs that an encoding lacks written with those that it has.

    >>> encodable("1 µs ± 2", "ascii")
    '1 us +- 2'
    """
    return text.encode(encoding, HANDLER).decode(encoding, "surrogateescape")


def degrade_stdout() -> None:
    """Let standard output write what its encoding lacks with what it has, instead of failing."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
        stream.reconfigure(errors=HANDLER)


def _instead(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":  # a byte of a file name that was no text: as it came
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    if sign in _INSTEAD:
        return _INSTEAD[sign], error.start + 1
    if ord(sign) in _BOX:
        return "-" if sign in _FLAT else "|" if sign in _UPRIGHT else "+", error.start + 1
    return "?", error.start + 1


codecs.register_error(HANDLER, _instead)
