"""Serving: time to first token and time per output token of a server at a fixed concurrency.

TTFT is without queueing: one prompt alone. TPOT counts that each generated token also waits for
its share of the new prompts: while a sequence generates ``osl`` tokens, each of the other
``concurrency`` sequences is replaced once, so ``concurrency`` prompts are processed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from quant.common import arguments
from roofline.bounds.analysis import analyze
from roofline.calibration.laws import Calibration
from roofline.devices.device import HardwareSpec, load_hardware
from roofline.workloads.models import Model
from roofline.workloads.setting import WorkloadOptions
from roofline.workloads.workload import workload


@dataclass(frozen=True)
class Serving:
    """What a server takes.

    Attributes:
        ttft_s: Seconds to the first token, without queueing: a prompt's prefill.
        tpot_s: Seconds per output token, with the share of new prompts.
        decode_s: Seconds of one decode step of all sequences.
        tokens_per_s: Output tokens per second of all sequences.
        expected_error: Median errors of the kernels' laws, weighted by time; 0 for least times.
        fits: Whether a device holds its part of the model and the cache.
    """

    ttft_s: float
    tpot_s: float
    decode_s: float
    tokens_per_s: float
    expected_error: float
    fits: bool


def serve(
    model: Model,
    hardware: HardwareSpec | str | Path,
    isl: int,
    osl: int,
    concurrency: int,
    calibration: Calibration | None = None,
    **options: Unpack[WorkloadOptions],
) -> Serving:
    """Return the expected (with a calibration) or least times of a server.

    Args:
        model: As for ``workload``.
        hardware: Each device: a specification, a built-in name, or a TOML file.
        isl: Tokens of a prompt.
        osl: Tokens generated for it.
        concurrency: Sequences at a time.
        calibration: Measured efficiencies; None: least times.
        **options: Passed to ``workload``: formats, tp, ep.

    Raises:
        RequestError: as ``workload``, or sizes below 1.
    """
    isl, osl = arguments.integer("isl", isl, 1), arguments.integer("osl", osl, 1)
    concurrency = arguments.integer("concurrency", concurrency, 1)
    hardware = load_hardware(hardware)
    middle = isl + osl // 2
    decode = analyze(
        workload(model, "decode", concurrency, middle, **options), hardware, calibration
    )
    prompt = analyze(workload(model, "prefill", 1, isl, **options), hardware, calibration)
    share = prompt.time_s * concurrency / osl
    tpot = decode.time_s + share
    error = (decode.time_s * decode.expected_error + share * prompt.expected_error) / tpot
    rate, fits = concurrency / tpot, decode.fits and prompt.fits
    return Serving(prompt.time_s, tpot, decode.time_s, rate, error, fits)
