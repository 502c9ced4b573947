"""The floating-point types that models compute and are stored in, by full and by short name."""

from __future__ import annotations

from quant.common.errors import RequestError

FLOAT_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Short name -> torch's."""
DTYPES = tuple(FLOAT_TYPES.values())


def float_type(text: str, what: str) -> str:
    """Return torch's name of a floating-point type.

    Args:
        text: A full or a short name.
        what: The argument or option, for the message.

    Raises:
        RequestError: another one.
    """
    name = FLOAT_TYPES.get(text, text)
    if name not in DTYPES:
        allowed = ", ".join(f"{full} ({short})" for short, full in FLOAT_TYPES.items())
        raise RequestError(f"{what} {text!r}: {allowed} is allowed")
    return name
