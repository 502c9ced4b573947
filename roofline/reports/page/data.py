"""What the page needs: expressions, coefficients, devices and laws, each stored once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from quant.common.errors import RequestError
from quant.common.progress import track
from quant.formats.spec import FormatSpec, parse_spec
from roofline.bounds.rates import onchip_bytes, operand_of, peak_of
from roofline.calibration.classes import launches, law_key
from roofline.calibration.laws import Calibration, load_calibration
from roofline.devices.device import HardwareSpec, load_hardware
from roofline.reports.roles import role_of
from roofline.workloads.amounts import Amount, Expr
from roofline.workloads.models import Model
from roofline.workloads.ops import Op
from roofline.workloads.quantities import QUANTITIES, Quantity
from roofline.workloads.workload import Phase, Workload, workload

WEIGHTS: tuple[str, ...] = ("fp16", "fp8-e4m3", "int8:g128:int8", "int4:g128:fp16")
WEIGHTS += ("bitmod4:g128:int8", "bitmod3:g128:int8", "mxfp4", "nvfp4")
CACHES = ("fp16", "fp8-e4m3", "int8:g64:fp16", "int4:g64:fp16")
DEVICES = ("a100-80g", "b200-sxm", "h100-sxm", "h200-sxm", "l40s", "mi300x", "rtx-4090", "tpu-v5e")
SHARES = (1, 2, 4, 8)
PHASES: tuple[Phase, ...] = ("prefill", "decode")


@dataclass(frozen=True)
class PageRequest:
    """What the page shows first, and what its controls offer beside that.

    Attributes:
        model: As for ``workload``.
        hardware: Device.
        phase: ``prefill`` or ``decode``.
        batch: Sequences.
        context: Tokens.
        weights: Format of the weights.
        activations: Format of activations; it cannot be changed in the page.
        kv: Format of the KV cache.
        head: Format of the head; it cannot be changed in the page.
        tp: Devices that share every layer.
        calibrated: Expected times instead of the least.
        command: What made the page.
        all_weights: Formats to choose from.
        all_kv: Formats of the cache to choose from.
        all_devices: Devices to choose from.
        all_tp: Numbers of devices to choose from; those that do not divide the model are left out.
    """

    model: Model
    hardware: HardwareSpec
    phase: Phase = "decode"
    batch: int = 1
    context: int = 2048
    weights: str = "fp16"
    activations: str = "fp16"
    kv: str = "fp16"
    head: str = "fp16"
    tp: int = 1
    calibrated: bool = False
    command: str = ""
    all_weights: tuple[str, ...] = WEIGHTS
    all_kv: tuple[str, ...] = CACHES
    all_devices: tuple[str, ...] = DEVICES
    all_tp: tuple[int, ...] = SHARES


@dataclass
class _Table:
    """Values that are stored once and named by their index."""

    values: list[Any] = field(default_factory=list)
    index: dict[Any, int] = field(default_factory=dict)

    def add(self, key: Any, value: Any = None) -> int:  # noqa: ANN401  whatever is hashable
        if key not in self.index:
            self.index[key] = len(self.values)
            self.values.append(key if value is None else value)
        return self.index[key]


@dataclass
class _Store:
    """The tables of a page."""

    exprs: _Table = field(default_factory=_Table)
    rows: _Table = field(default_factory=_Table)
    kinds: _Table = field(default_factory=_Table)
    roles: _Table = field(default_factory=_Table)
    peaks: dict[str, Op] = field(default_factory=dict)
    laws: dict[str, tuple[Op, float]] = field(default_factory=dict)

    def row(self, value: Amount) -> int:
        """Store an amount as pairs of expression and coefficient."""
        pairs = tuple((self.exprs.add(expr), _number(c)) for expr, c in value.terms)
        return self.rows.add(pairs, [list(pair) for pair in pairs])

    def kind(self, op: Op, queries: float) -> int:
        """Store what a kind of op is: its rows, the peak and the law that apply."""
        peak, law = operand_of(op), law_key(op, queries)
        self.peaks.setdefault(peak, op)
        self.laws.setdefault(law, (op, queries))
        rows = [self.row(quantity.of(op)) for quantity in Quantity]
        rows.append(self.row(op.cached_bytes))
        key = (op.kind, peak, law, *rows)
        return self.kinds.add(key, {"op": op.kind, "peak": peak, "law": law, "rows": rows})


def page_data(request: PageRequest) -> dict[str, Any]:
    """Return everything the page's program works with, as JSON values.

    Raises:
        RequestError: as ``workload``; also where the requested number of devices does not divide.
    """
    store = _Store()
    weights = _formats(request.weights, *request.all_weights)
    caches, shares = _formats(request.kv, *request.all_kv), _shares(request)
    settings = list(itertools.product(PHASES, weights, caches, shares))
    templates = {}
    for phase, weight, kv, tp in track(settings, "preparing the page", len(settings)):
        work = _work(request, phase, weights[weight], caches[kv], tp)
        if work is not None:
            templates["|".join((phase, weight, kv, str(tp)))] = _template(store, work)
    specs = {request.hardware.name: request.hardware}
    specs = {name: load_hardware(name) for name in request.all_devices} | specs
    devices = {name: _device(spec, store) for name, spec in sorted(specs.items())}
    first = _work(request, request.phase, weights[request.weights], caches[request.kv], request.tp)
    if first is None:
        raise RequestError(f"phase {request.phase!r}: the model has none")
    return {
        "model": first.model,
        "start": _start(request),
        "choices": {
            "weights": list(weights),
            "kv": list(caches),
            "tp": shares,
            "device": list(devices),
        },
        "phases": sorted({key.split("|")[0] for key in templates}, reverse=True),
        "quantities": [*QUANTITIES, "cached_bytes"],
        "exprs": [expression(expr) for expr in store.exprs.values],
        "rows": store.rows.values,
        "kinds": store.kinds.values,
        "roles": store.roles.values,
        "templates": templates,
        "devices": devices,
        "command": request.command,
    }


def _start(request: PageRequest) -> dict[str, Any]:
    names = ("phase", "batch", "context", "weights", "kv", "tp", "calibrated")
    return {name: getattr(request, name) for name in names} | {"device": request.hardware.name}


def _formats(*texts: str) -> dict[str, FormatSpec]:
    """The choices as the page shows them, the requested one first, and what they mean."""
    return {text: parse_spec(text) for text in texts}


def _shares(request: PageRequest) -> list[int]:
    """The numbers of devices that divide the model; the requested one must."""
    shares = []
    for tp in sorted({*request.all_tp, request.tp}):
        try:
            workload(request.model, "prefill", 1, 1, tp=tp)
        except RequestError:
            if tp == request.tp:
                raise
            continue
        shares.append(tp)
    return shares


def _work(
    request: PageRequest, phase: Phase, weights: FormatSpec, kv: FormatSpec, tp: int
) -> Workload | None:
    """Return a workload; None for a phase that the model does not have."""
    try:
        return workload(
            request.model,
            phase,
            request.batch,
            request.context,
            weights=weights,
            activations=request.activations,
            kv=kv,
            head=request.head,
            tp=tp,
        )
    except RequestError:
        if phase == request.phase:
            raise
        return None


def _template(store: _Store, work: Workload) -> dict[str, Any]:
    """Return rows of role, kind, ops and launches; and the bytes of the weights."""
    template = work.template
    kinds = [store.kind(op, work.step.queries) for op in template.kinds]
    counts: dict[tuple[int, int], list[int]] = {}
    entries = zip(template.ops, template.index.tolist(), launches(template.ops), strict=True)
    for op, kind, start in entries:
        entry = counts.setdefault((store.roles.add(role_of(op.name)), kinds[kind]), [0, 0])
        entry[0] += 1
        entry[1] += int(start)
    rows = [[*key, *entry] for key, entry in counts.items()]
    return {"ops": rows, "stored": _number(template.stored_bytes)}


def _device(spec: HardwareSpec, store: _Store) -> dict[str, Any]:
    """Return a device's peaks by operand, its rates and its laws."""
    law = load_calibration(spec)
    return {
        "peaks": {key: peak_of(op, spec) for key, op in store.peaks.items()},
        "special": spec.special_ops.value if spec.special_ops else None,
        "bandwidth": spec.memory_bandwidth.value,
        "link": spec.link.bandwidth.value if spec.link else None,
        "onchip": onchip_bytes(spec),
        "capacity": min(spec.memory_capacity.value, 1e30),
        "levels": [[level.name, level.bandwidth.value] for level in spec.levels if level.bandwidth],
        "laws": {key: _law(law, *entry) for key, entry in store.laws.items()},
        "borrowed": sorted(set(law.borrowed.values())),
    }


def _law(calibration: Calibration, op: Op, queries: float) -> list[float]:
    """Return shares of compute and memory, sharpness, seconds of a launch, error, bounded."""
    kernel = calibration.kernel(op, queries)
    floor = calibration.launch(op, queries)
    bounded = float(not op.is_fused)
    return [kernel.compute, kernel.memory, kernel.sharpness, floor, kernel.error, bounded]


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(f"{value:.15g}")


def expression(expr: Expr) -> object:
    """Return an expression as JSON has it."""
    return [expression(part) for part in expr] if isinstance(expr, tuple) else expr
