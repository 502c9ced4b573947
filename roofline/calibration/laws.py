"""Calibration: what share of a device's peaks real kernels reach, and how long the shortest take.

Fitted to measured kernels only (``roofline.calibration.measured``); nothing here reads a serving
measurement. A device, or a class of kernels, without measurements borrows from its nearest
relative and says so.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError
from quant.common.files import write_text
from roofline.calibration.classes import launches
from roofline.calibration.measured import Kernel, combine, fit_device
from roofline.calibration.summaries import fit_summaries, read_summaries
from roofline.calibration.table import read_kernels
from roofline.devices.device import HardwareSpec, load_hardware
from roofline.workloads.ops import Op
from roofline.workloads.ops.kernels import CLASSES, HALF, PRODUCTS, unknown_class
from roofline.workloads.quantities import Quantity, moved_bytes
from roofline.workloads.template import Template

Array = npt.NDArray[np.float64]
FITTED = resources.files("roofline.calibration") / "calibrations.toml"
SCHEMA = "calibration/1"


@dataclass(frozen=True)
class Calibration:
    """The fitted laws that apply to one device.

    Attributes:
        device: Device.
        kernels: Class of kernels to its law; ``Kernel.device`` says where it was measured.
    """

    device: str
    kernels: Mapping[str, Kernel]

    @property
    def borrowed(self) -> dict[str, str]:
        """Classes that come from another device, and which."""
        return {n: k.device for n, k in self.kernels.items() if k.device != self.device}

    @property
    def error(self) -> float:
        """Median relative error of products that the fit did not see."""
        return self.kernels[HALF].error

    def kernel(self, op: Op, queries: float) -> Kernel:
        """Return the law of an op's class; that of 16-bit products where nobody measured it.

        Raises:
            RequestError: the op's class is not known.
        """
        name = op.kernel_class(queries)
        if name in self.kernels:
            return self.kernels[name]
        if name not in CLASSES:
            raise unknown_class(op.name, op.kind)
        return self.kernels[HALF]

    def launch(self, op: Op, queries: float) -> float:
        """Return the seconds of one launch of an op's kernel.

        A launch costs what the device takes, whatever the data type: where a table of
        low-precision products has a longer floor, it timed the activations' quantization too,
        which servers fuse into the norm before.
        """
        law = self.kernel(op, queries)
        floor = law.floor_s
        if op.kernel_class(queries) in PRODUCTS:
            floor = min(floor, self.kernels[HALF].floor_s)
        return floor + law.per_rank_s * (op.ranks - 1)

    def times(self, template: Template, table: Array, parts: Array, queries: float) -> Array:
        """Return the expected seconds of every op, ``[ops]``.

        Args:
            template: The ops.
            table: Numbers of the kinds, ``[kinds, quantities]``.
            parts: Least seconds of computing, moving and exchanging, ``[3, kinds]``.
            queries: New tokens of a sequence: prefill and decode run other attention kernels.
        """
        laws = self.laws(template, queries > 1)
        moved = np.maximum(parts[1], parts[2])
        body = combine(parts[0] * laws.per_compute, moved * laws.per_memory, laws.sharpness)
        body = np.maximum(body, parts.max(axis=0) * laws.bounded)
        idle = (moved_bytes(table) + table[:, Quantity.LINK_BYTES]) == 0
        body[idle] = parts.max(axis=0)[idle]  # inside another kernel: its least time, no launch
        times: Array = body[template.index] + laws.floors * ~idle[template.index]
        return times

    def errors(self, template: Template, queries: float) -> Array:
        """Return the median relative error of every op's law, ``[ops]``."""
        kinds = np.array([self.kernel(op, queries).error for op in template.kinds])
        return kinds[template.index]

    def laws(self, template: Template, prefill: bool) -> Laws:
        """Return the laws of a template's kinds; the last ``LAWS_KEPT`` are remembered."""
        key = (id(self), id(template), prefill)
        entry = _LAWS.get(key)
        if entry is None:
            entry = (self, template, _laws(self, template, 2 if prefill else 1))
            _LAWS[key] = entry
            if len(_LAWS) > LAWS_KEPT:
                _LAWS.popitem(last=False)
        return entry[2]


LAWS_KEPT = 512
_LAWS: OrderedDict[tuple[int, int, bool], tuple[Calibration, Template, Laws]] = OrderedDict()


@dataclass(frozen=True)
class Laws:
    """The laws of a template's kinds as arrays.

    Attributes:
        per_compute: 1 / share of the peak.
        per_memory: 1 / share of the bandwidth.
        sharpness: See ``Kernel``.
        bounded: 1, or 0 for fused kinds: they move less than as ops of their own.
        floors: Seconds of a launch, of every op, ``[ops]``.
    """

    per_compute: Array
    per_memory: Array
    sharpness: Array
    bounded: Array
    floors: Array


def _laws(calibration: Calibration, template: Template, queries: float) -> Laws:
    kernels = [calibration.kernel(op, queries) for op in template.kinds]
    floors = np.array([calibration.launch(op, queries) for op in template.kinds])
    return Laws(
        1 / np.array([kernel.compute for kernel in kernels]),
        1 / np.array([kernel.memory for kernel in kernels]),
        np.array([kernel.sharpness for kernel in kernels]),
        np.array([float(not op.is_fused) for op in template.kinds]),
        floors[template.index] * launches(template.ops),
    )


def calibrate(spec: HardwareSpec, kernels: Path | None = None) -> Calibration:
    """Fit a device's calibration to measured kernels.

    Args:
        spec: Device.
        kernels: A table of the same columns as the built-in one; None: that one, and published
            percentiles. Low-precision tables may hold the quantization of the activations, which
            servers fuse: the library that computes fastest stands for the class.

    Raises:
        RequestError: the table has too few measurements of the device's products.
    """
    frame = read_kernels(kernels)
    laws = fit_device(spec, frame)
    if kernels is None:
        for name, law in fit_summaries(spec, read_summaries()).items():
            if name not in laws or (name != HALF and law.compute > laws[name].compute):
                laws[name] = law
    if HALF not in laws:
        have = ", ".join(sorted(set(frame["device"].astype(str)))) or "none"
        raise RequestError(f"no 16-bit products of {spec.name} are measured (devices: {have})")
    return Calibration(spec.name, laws)


@cache
def fitted() -> dict[str, dict[str, Kernel]]:
    """Return the committed fits, device to class to law."""
    data = load_toml(Path(str(FITTED)))
    return {
        device: {name: parse(law, Kernel, str(FITTED)) for name, law in laws.items()}
        for device, laws in data["devices"].items()
    }


def save(calibrations: list[Calibration], path: Path, command: str) -> None:
    """Write calibrations to a TOML file."""
    import tomli_w

    devices = {
        c.device: {name: asdict(kernel) for name, kernel in c.kernels.items()} for c in calibrations
    }
    head = f"# Fitted to measured kernels by `{command}`; do not edit.\n"
    write_text(path, head + tomli_w.dumps({"schema": SCHEMA, "devices": devices}))


def load_calibration(
    spec: HardwareSpec | str | Path, path: str | Path | None = None
) -> Calibration:
    """Return a device's calibration, with what it lacks from its nearest relatives.

    Args:
        spec: Device: a specification, a built-in name, or a TOML file.
        path: A file that ``roofline calibrate`` wrote; None: the built-in one.

    Raises:
        RequestError: the file is none of a calibration.
    """
    spec = load_hardware(spec)
    path = None if path is None else arguments.path("path", path)
    if path is None:
        return _builtin(spec.name, _point(spec))
    data = load_toml(path)
    if data.get("schema") != SCHEMA or not isinstance(data.get("devices"), dict):
        raise RequestError(f"{path}: schema is {data.get('schema')!r}: {SCHEMA!r} is needed")
    laws = data["devices"].get(spec.name, {})
    if not isinstance(laws, dict):
        raise RequestError(
            f"{path}: devices.{spec.name}: a table of laws is needed, not {laws!r:.40}"
        )
    own = {name: parse(law, Kernel, f"{path}: {name}") for name, law in laws.items()}
    return _complete(spec.name, _point(spec), {**fitted(), spec.name: own})


Point = tuple[str, float, float, float]


def _point(spec: HardwareSpec) -> Point:
    """Where a device stands: maker, 16-bit peak and bandwidth (in logarithms), own launch floor."""
    peaks = [spec.peak_ops[kind].value for kind in ("fp16", "bf16") if kind in spec.peak_ops]
    peak = peaks[0] if peaks else max(entry.value for entry in spec.peak_ops.values())
    floor = spec.launch_floor.value if spec.launch_floor else 0.0
    return spec.vendor, math.log(peak), math.log(spec.memory_bandwidth.value), floor


@cache
def _builtin(name: str, point: Point) -> Calibration:
    return _complete(name, point, fitted())


def _complete(name: str, point: Point, known: dict[str, dict[str, Kernel]]) -> Calibration:
    """Gather every class from the device itself or from the nearest that has it.

    A device's file may state its launch floor (``launch_floor``), which then holds for all.
    """

    def distance(other: str) -> float:
        if other == name:
            return -1.0
        vendor, peak, bandwidth, _ = _point(load_hardware(other))
        far = math.hypot(peak - point[1], bandwidth - point[2])
        return far + (0.0 if vendor == point[0] else 100.0)

    kernels: dict[str, Kernel] = {}
    for other in sorted(known, key=distance):
        kernels = {**known[other], **kernels}
    if point[3]:
        kernels = {key: replace(law, floor_s=point[3]) for key, law in kernels.items()}
    return Calibration(name, kernels)
