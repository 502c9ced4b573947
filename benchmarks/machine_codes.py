"""Clocks that depend on the data: a model's codes beside normally distributed weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import quant
import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.bit_serial import BitSerial
from hwsim.simulation.simulate import machine_formats, simulate


def by_codes(
    machines: Mapping[str, Accelerator], model: str, prompt: int
) -> list[dict[str, object]]:
    """Return the clocks of a block from a model's codes beside those of normal weights.

    ``skipping`` is bitmod-rtl with the parameter that passes over zero steps.
    """
    weights = quant.load_model(model)[0].state_dict()
    serial = machines["bitmod-rtl"]
    assert isinstance(serial.pe, BitSerial)
    skipping = replace(serial, name="skipping", pe=replace(serial.pe, skip_zero_steps=True))
    ones = replace(skipping, name="skipping, 1 row", tiles=replace(serial.tiles, rows=1))
    rows: list[dict[str, object]] = []
    for machine, texts in (
        (machines["stripes"], ("int8:row:fp16", "int6:row:fp16")),
        (machines["pragmatic"], ("int8:row:fp16", "int6:row:fp16")),
        (machines["bitwave"], ("int8:row:fp16", "int6:row:fp16")),
        (machines["bitvert"], ("int8:row:fp16", "int6:row:fp16")),
        (skipping, ("bitmod4:g128:int8", "int8:g128:int8")),
        (ones, ("bitmod4:g128:int8", "int8:g128:int8")),
    ):
        for text in texts:
            formats = machine_formats(machine, text)
            work = roofline.workload(model, "prefill", 1, prompt, **formats)
            codes = {
                path: quant.quantize(weights[f"{path}.weight"].float(), text)
                for path, matrix in work.inventory.items()
                if not matrix.apart
            }
            result = simulate(work, machine, codes)
            steps = [op.steps for op in result.ops if op.name in codes]
            normal = machine.timing(machine.spec(text)).steps
            rows.append(
                {
                    "machine": machine.name,
                    "weights": text,
                    "all steps": machine.steps(machine.spec(text)),
                    "normal weights": f"{normal:.3f}",
                    "codes": f"{sum(steps) / len(steps):.3f}",
                    "layers": f"{min(steps):.3f} to {max(steps):.3f}",
                    "prefill over normal": f"{result.cycles / simulate(work, machine).cycles:.3f}",
                }
            )
    return rows
