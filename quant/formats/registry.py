"""THE registry of number formats: one literal entry a format, each with its source.

To add a format, add one entry to ``_ENTRIES``; tables, tests, storage accounting, the machine's
terms, the RTL tables and the listings derive from it. ``quant.formats.spec`` reads format strings.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.formats import rules
from quant.formats.elements import Codebook, FloatType, IntType, PlainType
from quant.formats.flint import flint_levels
from quant.formats.format import Format, Ties
from quant.formats.layout import ROW, CodebookLayout, Hif4Layout, PairLayout
from quant.formats.scales import E4M3, E6M2, E8M0, FP32

_BITMOD = "BitMoD (HPCA 2025, arXiv 2411.11745), released quantizer: order ER+, ER-, EA+, EA-"
_INT = "BitMoD, AWQ: absmax/(2^(b-1)-1), half to even; full-range: GPTQ; no-clip: torchao"
_INT_ASYM = "GPTQ, torchao: (max-min)/(2^b-1), the range holds 0; minmax: BitMoD, AWQ, it need not"
_MX = (
    "OCP Microscaling Formats v1.0; scale rules floor (OCP), rceil (cuBLAS), even (Quark), ceil, "
    "even-e2m1 (compressed-tensors' MXFP8)"
)
_NVFP4 = "NVIDIA NVFP4: E2M1, E4M3 scale for 16 weights under one fp32 scale a tensor"
_RAZER = "RaZeR (arXiv 2501.04052): the code of -0 is one of four values"
_ANT = "ANT (MICRO 2022, arXiv 2208.14286), released grids"
_OLIVE = "OliVe (ISCA 2023, arXiv 2304.07493): outlier-victim pairs, abfloat outliers"
_SQUEEZE = "SqueezeLLM (arXiv 2306.07629): k-means of each row, fp16 centroids"
_SPECIAL3, _SPECIAL4 = (3.0, -3.0, 6.0, -6.0), (5.0, -5.0, 8.0, -8.0)
# QLoRA (arXiv 2305.14314), the quantiles as bitsandbytes has them; AF4 for blocks of 64:
# Yoshida (arXiv 2306.06965), table of abnormal-floats.
# fmt: off
_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)
_AF4 = (
    -1.0, -0.69441009, -0.51243740, -0.37369511, -0.25607553, -0.14982478, -0.04934812, 0.0,
    0.04273164, 0.12934484, 0.21961275, 0.31675667, 0.42563882, 0.55496234, 0.72424865, 1.0,
)
# fmt: on
_FP4_BNB = (0.0, 1 / 192, 2 / 3, 1.0, 1 / 3, 1 / 2, 1 / 6, 1 / 4)
_MANT = (0, 5, 10, 17, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120)


def _signed(magnitudes: tuple[float, ...]) -> tuple[float, ...]:
    """Sign-magnitude codes of these magnitudes."""
    return (*magnitudes, *(-value for value in magnitudes))


def _pot(bits: int) -> tuple[float, ...]:
    """0 and the powers of two from 1, by sign-magnitude code."""
    return _signed((0.0, *(2.0**k for k in range(2 ** (bits - 1) - 1))))


def _flint(bits: int) -> Codebook:
    return Codebook(bits, _signed(flint_levels(bits - 1)))


def _int(bits: int) -> Codebook:
    return Codebook(bits, tuple(IntType(bits).levels.tolist()))


def _plain(name: str, element: FloatType | Codebook, source: str, ties: Ties = "lower") -> Format:
    return Format(name, element, source, ties=ties, signed_zero=ties == "even")


def _mx(name: str, element: FloatType | Codebook) -> Format:
    return Format(
        name,
        element,
        _MX,
        group_size=32,
        scale=E8M0,
        rules=rules.MX,
        ties="even",
        signed_zero=isinstance(element, FloatType),
        unused=() if isinstance(element, FloatType) else (128,),  # -2, for symmetry
    )


def _normalized(name: str, values: tuple[float, ...], source: str) -> Format:
    element = Codebook(4, values)
    return Format(name, element, source, group_size=64, scale=FP32)


_E2M1, _E2M3, _E3M2 = FloatType(2, 1), FloatType(2, 3), FloatType(3, 2, 3)
_E4M3, _E5M2 = FloatType(4, 3, 7, "nan"), FloatType(5, 2, 15, "ieee")
_INT8_64THS = Codebook(8, tuple(((np.arange(256) + 128) % 256 - 128) / 64), unit=1 / 64)
_ENTRIES = (
    Format("int1", IntType(1), _INT, rules=(rules.FULL_RANGE,), ties="even"),
    *(
        Format(f"int{bits}", IntType(bits), _INT, rules=rules.SYMMETRIC, ties="even")
        for bits in range(2, 9)
    ),
    *(
        Format(
            f"int{bits}-asym", IntType(bits, False), _INT_ASYM, rules=rules.ASYMMETRIC, ties="even"
        )
        for bits in range(1, 9)
    ),
    Format(
        "ternary",
        IntType(2),
        "BitNet b1.58 (arXiv 2402.17764): absmean, here a row",
        group_size=ROW,
        rules=(rules.ABSMEAN,),
        ties="even",
    ),
    Format(
        "binary",
        Codebook(1, (-1.0, 1.0)),
        "XNOR-Net (arXiv 1603.05279): sign, absmean; sign(0) = +1",
        group_size=ROW,
        rules=(rules.ABSMEAN,),
        ties="upper",
    ),
    _plain("fp3", FloatType(2, 0), "BitMoD basic FP3: 0, 1, 2, 4"),
    _plain("fp4", _E2M1, "OCP Microscaling Formats v1.0, table 5: FP4 E2M1; ties as BitMoD"),
    _plain("fp5-e2m2", FloatType(2, 2), "BitMoD released quantizer: FP5 E2M2"),
    _plain("fp5-e3m1", FloatType(3, 1, 3), "BitMoD released quantizer: FP5 E3M1"),
    _plain("fp6-e2m3", _E2M3, "OCP Microscaling Formats v1.0, table 4; ties as BitMoD"),
    _plain("fp6-e3m2", _E3M2, "OCP Microscaling Formats v1.0, table 3; ties as BitMoD"),
    _plain("fp8-e4m3", _E4M3, "OCP OFP8 rev 1.0: E4M3", "even"),
    _plain("fp8-e5m2", _E5M2, "OCP OFP8 rev 1.0: E5M2", "even"),
    Format("bitmod3", FloatType(2, 0), _BITMOD, _SPECIAL3),
    Format("bitmod3-er", FloatType(2, 0), _BITMOD, _SPECIAL3[:2]),
    Format("bitmod3-ea", FloatType(2, 0), _BITMOD, _SPECIAL3[2:]),
    Format("bitmod4", _E2M1, _BITMOD, _SPECIAL4),
    Format("bitmod4-er", _E2M1, _BITMOD, _SPECIAL4[:2]),
    Format("bitmod4-ea", _E2M1, _BITMOD, _SPECIAL4[2:]),
    *(_plain(f"flint{bits}", _flint(bits), _ANT) for bits in range(3, 7)),
    *(_plain(f"pot{bits}", Codebook(bits, _pot(bits)), _ANT) for bits in range(3, 7)),
    *(
        Format(
            f"ant{bits}",
            _int(bits),
            f"{_ANT}: int, flint or power of two for a tensor, the scale searched for a row",
            alternatives=(_flint(bits), Codebook(bits, _pot(bits))),
            selection="tensor",
            group_size=ROW,
            rules=(rules.SEARCH,),
            ties="upper",
        )
        for bits in (3, 4)
    ),
    *(
        Format(
            f"olive-{name}",
            element,
            _OLIVE,
            group_size=ROW,
            rules=(rules.SEARCH,),
            layout=PairLayout(base=name),
        )
        for name, element in (("int4", _int(4)), ("flint4", _flint(4)), ("int8", _int(8)))
    ),
    _mx("mxfp8-e4m3", _E4M3),
    _mx("mxfp8-e5m2", _E5M2),
    _mx("mxfp6-e2m3", _E2M3),
    _mx("mxfp6-e3m2", _E3M2),
    _mx("mxfp4", _E2M1),
    _mx("mxint8", _INT8_64THS),
    Format(
        "nvfp4",
        _E2M1,
        _NVFP4,
        group_size=16,
        scale=E4M3,
        rules=(rules.TWO_LEVEL, rules.ONE_LEVEL, rules.GLOBAL),
        ties="even",
        signed_zero=True,
    ),
    Format(
        "mxfp4-razer",
        _E2M1,
        _RAZER,
        _SPECIAL4,
        group_size=32,
        scale=E8M0,
        rules=rules.MX,
        ties="even",
        scale_top=6.0,
    ),
    Format(
        "nvfp4-razer",
        _E2M1,
        _RAZER,
        _SPECIAL4,
        group_size=16,
        scale=E4M3,
        rules=(rules.TWO_LEVEL, rules.ONE_LEVEL),
        ties="even",
        scale_top=6.0,
    ),
    _normalized("nf4", _NF4, "QLoRA (arXiv 2305.14314), bitsandbytes: 4-bit NormalFloat"),
    _normalized("af4", _AF4, "AbnormalFloat (arXiv 2306.06965): absmax code for blocks of 64"),
    _normalized("fp4-bnb", _signed(_FP4_BNB), "bitsandbytes FP4: not OCP E2M1"),
    Format(
        "m-ant4",
        Codebook(4, _signed(tuple(2.0**i for i in range(8)))),
        "M-ANT (HPCA 2025, arXiv 2502.18755): ±(a*i + 2^i), or int4; the list of a from memory",
        alternatives=(
            *(
                Codebook(4, _signed(tuple(float(a * i + 2**i) for i in range(8))))
                for a in _MANT[1:]
            ),
            _int(4),
        ),
        group_size=64,
    ),
    Format(
        "hif4",
        FloatType(1, 2),
        "HiFloat4 (arXiv 2602.11287): E6M2 scale for 64, one-bit exponents for 8 and for 4",
        group_size=64,
        scale=E6M2,
        layout=Hif4Layout(),
    ),
    *(
        Format(
            f"codebook{bits}",
            Codebook(bits, tuple(np.linspace(-1, 1, 2**bits).tolist())),
            _SQUEEZE,
            group_size=ROW,
            rules=(rules.K_MEANS,),
            layout=CodebookLayout(),
        )
        for bits in (2, 3, 4)
    ),
    Format("fp32", PlainType(32), "IEEE 754-2019 binary32"),
    Format("fp16", PlainType(16), "IEEE 754-2019 binary16"),
    Format("bf16", PlainType(16), "bfloat16: the upper half of binary32"),
)
# The number of a format in the packets of the Verilog. A number stays with its format: a
# new format that the Verilog is to have takes the next one, wherever its entry stands.
# fmt: off
_IDS = {
    "int1": 0, "int2": 1, "int3": 2, "int4": 3, "int5": 4, "int6": 5, "int7": 6, "int8": 7,
    "int1-asym": 8, "int2-asym": 9, "int3-asym": 10, "int4-asym": 11, "int5-asym": 12,
    "int6-asym": 13, "int7-asym": 14, "int8-asym": 15, "ternary": 16, "binary": 17, "fp3": 18,
    "fp4": 19, "fp5-e2m2": 20, "fp5-e3m1": 21, "fp6-e2m3": 22, "fp6-e3m2": 23, "fp8-e4m3": 24,
    "fp8-e5m2": 25, "bitmod3": 26, "bitmod3-er": 27, "bitmod3-ea": 28, "bitmod4": 29,
    "bitmod4-er": 30, "bitmod4-ea": 31, "flint3": 32, "flint4": 33, "flint5": 34, "flint6": 35,
    "pot3": 36, "pot4": 37, "pot5": 38, "pot6": 39, "ant3": 40, "ant4": 41, "mxfp8-e4m3": 42,
    "mxfp8-e5m2": 43, "mxfp6-e2m3": 44, "mxfp6-e3m2": 45, "mxfp4": 46, "mxint8": 47,
    "nvfp4": 48, "mxfp4-razer": 49, "nvfp4-razer": 50,
}
# fmt: on
FORMATS: dict[str, Format] = {
    entry.name: replace(entry, id=_IDS.get(entry.name)) for entry in _ENTRIES
}
BUILT_IN = tuple(FORMATS)
"""The registry's own names; ``register`` adds others for the process."""


def get_format(name: str) -> Format:
    """Return the format of that name.

    Raises:
        RequestError: no such format; the message gives the nearest names.

    Example:
        >>> get_format("bitmod3").special_values
        (3.0, -3.0, 6.0, -6.0)
    """
    if arguments.text("format", name) not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    return FORMATS[name]


def register(format_: Format) -> Format:
    """Add a format of the user's to the registry for this process, and return it.

    Raises:
        RequestError: the name belongs to another format, or its ``id`` does.
    """
    arguments.one_of("format", format_, Format, "a Format")
    if FORMATS.get(format_.name, format_) != format_:
        raise RequestError(f"format {format_.name!r} is taken: choose another name")
    for other in FORMATS.values():
        if format_.id is not None and other.id == format_.id and other != format_:
            raise RequestError(f"format {format_.name!r}: {other.name!r} has id {other.id}")
    return FORMATS.setdefault(format_.name, format_)
