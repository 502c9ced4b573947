"""A small model through quantize, calibrated analyze, simulate and codesign with own parts alone.

Run by ``tests/test_own_parts.py`` in a process of its own, since registries are a process's:
``python -m tests.own.everything FOLDER`` prints what it saw as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import hwsim
import quant
import roofline
from hwsim.loop import run
from hwsim.machines.load import load_accelerator
from hwsim.report.codesign import save_report
from hwsim.study.request import Request
from quant.formats.spec import parse_spec
from roofline.devices.device import load_hardware
from roofline.workloads.workload import Workload
from tests.own import own_element, own_format, own_layout, own_method, own_scale
from tests.own.own_op import Adapter
from tests.own.tiny_llama import tiny_llama

HERE = Path(__file__).parent
MIXED = {
    "*": "ladder4:g32:e5m3", "*.mlp.*": "centred4:g32:e5m3", "*.down_proj": "int4:g32:e5m3",
}  # fmt: skip


def quantized(folder: Path, model: Any) -> dict[str, Any]:  # noqa: ANN401  a torch module
    """Quantize with the own method, format, layout and scale; keep it in a checkpoint."""
    with quant.quantized(model, MIXED, method=own_method.TIGHT.name) as report:
        tensors = report.tensors
    quant.save_quantized(folder / "checkpoint", tensors)
    loaded = quant.load_quantized(folder / "checkpoint")
    same = all((loaded[p].dequantize() == t.dequantize()).all() for p, t in tensors.items())
    return {"formats": sorted({str(t.spec) for t in tensors.values()}), "reloaded": same}


def with_adapter(work: Workload) -> Workload:
    """A workload with the own op after every query projection."""
    ops = []
    for op in work.template.ops:
        ops.append(op)
        if op.name.endswith("q_proj"):
            spec = parse_spec("ladder4:g32:e5m3")
            path = op.name.replace("q_proj", "q_adapter")
            ops.append(Adapter(path, op.activations, 64, 4, spec))
    template = dataclasses.replace(work.template, ops=tuple(ops))
    return dataclasses.replace(work, template=template)


def analyzed(config: dict[str, Any]) -> tuple[Workload, dict[str, Any]]:
    """Analyze on the own device, least and expected times."""
    device = load_hardware(HERE / "own_device.toml")
    plain = roofline.workload(
        config, "decode", 1, 64, weights="ladder4:g32:e5m3", kv="int8:g32:e5m3",
        head="int8:g32:e5m3", plan=MIXED,
    )  # fmt: skip
    work = with_adapter(plain)
    law = roofline.load_calibration(device)
    least, expected = roofline.analyze(work, device), roofline.analyze(work, device, law)
    seen = {"least_s": least.time_s, "expected_s": expected.time_s}
    seen |= {"without_op_s": roofline.analyze(plain, device).time_s}
    return work, seen | {"kinds": sorted({bound.op.op for bound in expected.ops})}


def simulated(work: Workload) -> dict[str, Any]:
    """Simulate on the own machine of own elements."""
    machine = load_accelerator(HERE / "own_accelerator.toml")
    result = hwsim.simulate(work, machine)
    own = [op for op in result.ops if op.name.endswith("q_adapter")]
    return {
        "cycles": result.cycles,
        "energy_j": result.energy_j,
        "own_op_cycles": sum(op.compute_cycles for op in own),
        "element": type(machine.pe).__name__,
    }


def designed(folder: Path, model: Path) -> dict[str, Any]:
    """Let the loop choose among own formats on the own machine."""
    request = Request(
        str(model), str(HERE / "own_accelerator.toml"), max_effective_bits=5.0,
        prompt=16, generate=2, tokens=256, context=64, exact_tokens=8,
    )  # fmt: skip
    result = run(request)
    save_report(result, folder / "report")
    text = (folder / "report" / "codesign.md").read_text(encoding="utf-8")
    return {"plan": sorted(set(result.plan.layers.values())), "report": text}


def main(folder: Path) -> None:
    """Do all of it."""
    path = tiny_llama(folder / "model")
    model, _ = quant.load_model(str(path))
    config: dict[str, Any] = json.loads((path / "config.json").read_text(encoding="utf-8"))
    seen: dict[str, Any] = {"quantized": quantized(folder, model)}
    work, seen["analyzed"] = analyzed(config)
    seen["simulated"] = simulated(work)
    seen["designed"] = designed(folder, path)
    parts = (own_format.LADDER, own_layout.CENTRED, own_scale.E5M3, own_element.LookupTable.kind)
    seen["parts"] = [getattr(part, "name", part) for part in parts]
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
