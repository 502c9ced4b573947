"""Validation: predictions beside measurements, class by class; nothing here is fitted.

Kernels are the ones the calibration was fitted to: their errors come from fits that did not see
them. Serving measurements are read here only; ``roofline.calibration.laws`` cannot reach them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.common.progress import track
from roofline.bounds.serving import serve
from roofline.calibration.laws import load_calibration
from roofline.calibration.measured import cases_of, held_out, measured_devices
from roofline.calibration.table import read_kernels
from roofline.devices.device import HardwareSpec, load_hardware
from roofline.workloads.setting import WorkloadOptions

if TYPE_CHECKING:
    import pandas as pd

SERVING = resources.files("roofline.validation") / "serving.csv"
MODELS: dict[str, WorkloadOptions] = {"openai/gpt-oss-120b": {"plan": {"*.experts.*": "mxfp4"}}}
"""Models whose checkpoint is quantized in part: its formats, whatever a row's precision is."""
FORMATS: dict[str, WorkloadOptions] = {"fp8": {"weights": "fp8-e4m3", "activations": "fp8-e4m3"}}
"""Precision of a row to its formats; 16 bits where it is not here."""
ALIASES = {"meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b"}
ALIASES |= {"meta-llama/Llama-3.1-70B": "llama-3.1-70b"}
ALIASES |= {"Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b"}
GROUPS = ["device", "model", "backend", "precision", "tp"]


@dataclass(frozen=True)
class Validation:
    """Errors of prediction classes.

    Attributes:
        kernels: One row a device and class: cases, median error of the ideal roof and of the
            calibrated law on cases that the fit did not see.
        serving: One row a device, model, backend, precision and tp: rows, mean absolute error and
            bias of TPOT, ideal and calibrated.
        rows: Every serving measurement with its predictions.
    """

    kernels: pd.DataFrame
    serving: pd.DataFrame
    rows: pd.DataFrame


def validate() -> Validation:
    """Return the errors of every prediction class against the measurements at hand."""
    rows = serving_rows()
    return Validation(kernel_errors(), summarize(rows), rows)


def kernel_errors() -> pd.DataFrame:
    """Return the errors on measured kernels."""
    import pandas as pd

    frame, rows = read_kernels(), []
    for spec in measured_devices(frame):
        for name, cases in cases_of(frame, spec).items():
            least = np.maximum(cases.compute, cases.memory)
            errors = held_out(cases)
            rows.append(
                {
                    "device": spec.name,
                    "class": name,
                    "cases": len(cases.seconds),
                    "ideal_median": float(np.median(np.abs(least / cases.seconds - 1))),
                    "median": float(np.median(errors)),
                    "p90": float(np.quantile(errors, 0.9)),
                }
            )
    return pd.DataFrame(rows)


def read_serving() -> pd.DataFrame:
    """Return the measured servers: fixed concurrency, TTFT with queueing, TPOT."""
    import pandas as pd

    frame = pd.read_csv(str(SERVING), keep_default_na=False)
    frame["precision"] = frame["precision"].replace("", "bf16")
    return frame


def serving_rows() -> pd.DataFrame:
    """Return every measured server with ideal and calibrated predictions of TPOT and TTFT."""
    frame = read_serving()
    specs = {name: load_hardware(name) for name in dict.fromkeys(frame["device"])}
    predictions = [
        _predict(row, specs[row["device"]])
        for row in track(frame.to_dict("records"), "predicting servers", len(frame))
    ]
    for name in ("tpot_ideal_s", "tpot_calibrated_s", "ttft_calibrated_s"):
        frame[name] = [prediction[name] for prediction in predictions]
    return frame


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean absolute errors and biases of TPOT by group."""
    import pandas as pd

    measured = rows["tpot_s"].astype(float)
    errors = rows[GROUPS].copy()
    errors["ideal"] = rows["tpot_ideal_s"] / measured - 1
    errors["calibrated"] = rows["tpot_calibrated_s"] / measured - 1
    out = errors.groupby(GROUPS, sort=True).agg(
        rows=("ideal", "size"),
        ideal_mape=("ideal", lambda e: float(e.abs().mean())),
        mape=("calibrated", lambda e: float(e.abs().mean())),
        bias=("calibrated", "mean"),
    )
    return pd.DataFrame(out.reset_index())


def _predict(row: dict[Any, Any], spec: HardwareSpec) -> dict[str, float]:
    model = str(row["model"])
    formats = MODELS.get(model) or FORMATS.get(str(row["precision"]), {})
    shared = int(row["attention_dp"] or 1) == 1
    options: WorkloadOptions = {
        **formats,
        "tp": int(row["tp"]) if shared else 1,
        "ep": int(row["moe_ep"] or 1),
    }
    sizes = (int(row["isl"]), int(row["osl"]), int(row["concurrency"]))
    name = ALIASES.get(model, model)
    ideal = serve(name, spec, *sizes, None, **options)
    expected = serve(name, spec, *sizes, load_calibration(spec), **options)
    return {
        "tpot_ideal_s": ideal.tpot_s,
        "tpot_calibrated_s": expected.tpot_s,
        "ttft_calibrated_s": expected.ttft_s,
    }
