# python examples/explore_machines.py
"""Machines from Python: a space around a design, a supply, an element of your own, real codes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

import hwsim
import quant
import roofline
from hwsim.machines.elements import ProcessingElement, register
from hwsim.machines.solve import at_area
from hwsim.simulation.simulate import machine_formats
from quant.formats.spec import FormatSpec

MODEL = "smollm2-135m"
base = hwsim.load_accelerator("bitmod")
works = {
    "prompt": roofline.workload(MODEL, "prefill", context=256, **machine_formats(base)),
    "token": roofline.workload(MODEL, "decode", context=256, **machine_formats(base)),
}

# Every key of a machine's file may be an axis; what no other design beats is the front.
space = hwsim.DesignSpace(
    base,
    axes={
        "tiles": [4, 8, 16],
        "weight_buffer.bytes": hwsim.pow2(1 << 17, 1 << 19),
        "dram": ["lpddr5*4", "hbm3*8"],
        "process.volts": [0.7, 0.9],
    },
    # A lower supply allows a slower clock: 0.7 V about 0.73 of the clock at 0.9 V.
    derive={"clock_hz": lambda at: np.where(at["process.volts"] < 0.8, 7e8, 1e9)},
)
found = hwsim.sweep(space, works, limits=[hwsim.limit("area_um2", max=6e6)])
print(f"{found.designs} designs, on the front:")
print(found.front()[["tiles", "dram", "process.volts", "time_s", "energy_j", "area_um2"]].head())


# An element of your own: a frozen dataclass that says how many clocks a block of weights takes.
@register
@dataclass(frozen=True)
class TwoBits(ProcessingElement):
    """Multiplies two bits of each weight a clock."""

    kind: ClassVar[str] = "two-bits"
    scales: ClassVar[None] = None  # weights are scaled after it

    def steps(self, spec: FormatSpec) -> int:
        """Return a clock for each two bits."""
        return -(-spec.element_bits // 2)


rival = hwsim.load_accelerator("int8")
pe = TwoBits(4, rival.pe.area_um2, rival.pe.step_j, rival.pe.idle_share, rival.pe.leakage_w)
mine = replace(rival, name="mine", pe=pe, weights=("int4", "int8"))
mine = at_area(mine, hwsim.simulate(works["token"], base).area_um2, within=0.05)
for weights in mine.weights:
    work = roofline.workload(MODEL, "prefill", context=256, **machine_formats(mine, weights))
    time = hwsim.simulate(work, mine).time_s
    print(f"mine, {mine.tiles.count} tiles, {weights}: {time * 1e3:.2f} ms")

# BitWave passes over columns of bits that are zero in its codes: count them from real ones.
bitwave = hwsim.load_accelerator("bitwave")
work = roofline.workload(MODEL, "prefill", context=256, **machine_formats(bitwave))
path = "model.layers.0.mlp.up_proj"
weight = np.random.default_rng(0).laplace(size=work.inventory[path].shape).astype(np.float32)
result = hwsim.simulate(work, bitwave, codes={path: quant.quantize(weight, "int8:row:fp16")})
steps = {op.steps_from: round(op.steps, 2) for op in result.ops if op.steps_from}
print(f"clocks of a block: {steps}")
