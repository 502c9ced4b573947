"""What a call refuses, without pytest."""

from __future__ import annotations

from collections.abc import Callable

from quant.common.errors import RequestError


def refusal(call: Callable[[], object]) -> str:
    """Return the message of the RequestError that a call raises.

    Raises:
        AssertionError: it raises none.
    """
    try:
        answer = call()
    except RequestError as error:
        return str(error)
    raise AssertionError(f"not refused: {answer}")
