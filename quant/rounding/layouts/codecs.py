"""Which codec belongs to which layout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from quant.common.errors import RequestError
from quant.formats.layout import CodebookLayout, GridLayout, Hif4Layout, Layout, PairLayout
from quant.rounding.layouts.codec import Codec

_OWN: dict[type[Layout], Codec] = {}


def register_codec(layout: type[Layout], codec: Codec) -> None:
    """Add the codec of a layout of the user's for this process.

    Raises:
        RequestError: the layout has another codec.
    """
    if layout in _built_in() or _OWN.setdefault(layout, codec) is not codec:
        raise RequestError(f"layout {layout.__name__} has a codec: make a layout of your own")


def codec_of(layout: Layout) -> Codec:
    """Return the codec of a layout.

    Raises:
        RequestError: a layout without one.
    """
    codecs = {**_built_in(), **_OWN}
    if type(layout) not in codecs:
        raise RequestError(
            f"layout {layout.name!r} has no codec: quant.rounding.layouts.codecs.register_codec"
        )
    return codecs[type(layout)]


@cache
def _built_in() -> Mapping[type[Layout], Codec]:
    # Late: their kernels need numba.
    from quant.rounding.layouts import codebooks, grid, hif4, pairs

    return {
        GridLayout: grid.GridCodec(),
        PairLayout: pairs.PairCodec(),
        Hif4Layout: hif4.Hif4Codec(),
        CodebookLayout: codebooks.CodebookCodec(),
    }
