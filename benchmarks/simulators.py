"""Speed of the simulator and of sweeps, beside other simulators where their packages install.

Run alone: ``python -m benchmarks.simulators -o reports/simulator_speed.md``. With ``--peers``
(an interpreter of an environment with ``zigzag-dse`` and ``scalesim``) the drivers of
``benchmarks/peer_simulators`` evaluate the same products there. CPU seconds; medians.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hwsim
import roofline
from benchmarks.timing import measure
from hwsim.compat.systolic import scale_sim
from hwsim.machines.elements.timing import Law
from hwsim.simulation.machine_row import machine_row
from hwsim.simulation.records import OP, rows
from hwsim.simulation.run import run
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common.files import write_text
from quant.common.tables import table_of, to_markdown
from roofline.workloads.workload import Workload

MODEL, PROMPT = "llama-2-7b", 256
PRODUCTS = ((1, 1024, 1024), (16, 1024, 1024), (256, 1024, 1024), (1, 4096, 4096))
ROOT = Path(__file__).parents[1]
PEERS = ("zigzag_gemm", "scalesim_gemm")
TIMEOUT_S = 300


def works() -> dict[str, Workload]:
    """Return a prompt and a decode step in the formats of ``bitmod``."""
    formats = machine_formats(hwsim.load_accelerator("bitmod"))
    return {
        "prefill": roofline.workload(MODEL, "prefill", 1, PROMPT, **formats),
        "decode": roofline.workload(MODEL, "decode", 1, PROMPT, **formats),
    }


def phases() -> list[dict[str, object]]:
    """Return the time of one phase, warm."""
    machine = hwsim.load_accelerator("bitmod")
    found: list[dict[str, object]] = []
    for name, work in works().items():
        timing = measure(lambda work=work: simulate(work, machine).cycles, 50)  # type: ignore[misc]
        cycles = simulate(work, machine).cycles
        found.append(
            {
                "phase": f"{MODEL} {name}",
                "CPU ms": f"{timing.cpu_s * 1e3:.3f}",
                "simulated cycles a CPU s": f"{cycles / timing.cpu_s:.3g}",
            }
        )
    return found


SPACES: Mapping[str, tuple[dict[str, Sequence[Any]], str]] = {
    "plain rule, memory and clock": (
        {"clock": hwsim.log(2.5e8, 1e9, 100), "dram.bytes_per_s": hwsim.log(1e10, 1e12, 100),
         "dram.joule_per_bit": hwsim.log(1e-12, 2e-11, 50)}, "rule",
    ),
    "searched, memory and clock": (
        {"clock": hwsim.log(2.5e8, 1e9, 100), "dram.bytes_per_s": hwsim.log(1e10, 1e12, 100),
         "dram.joule_per_bit": hwsim.log(1e-12, 2e-11, 50)}, "best",
    ),
    "searched, tiles x buffers x clock": (
        {"tiles": range(4, 36, 2), "weight_buffer.bytes": hwsim.pow2(1 << 17, 1 << 21),
         "activation_buffer.bytes": hwsim.pow2(1 << 17, 1 << 21), "clock": hwsim.log(2e8, 1e9, 40)},
        "best",
    ),
    "searched, tiles x buffers alone": (
        {"tiles": range(4, 36), "weight_buffer.bytes": hwsim.pow2(1 << 17, 1 << 21),
         "activation_buffer.bytes": hwsim.pow2(1 << 17, 1 << 21)}, "best",
    ),
}  # fmt: skip
"""Design spaces: axes and how mappings are found."""


def sweeps() -> list[dict[str, object]]:
    """Return designs a second, both phases of the model, the front included."""
    named = works()
    found: list[dict[str, object]] = []
    for name, (axes, mapping) in SPACES.items():
        space = hwsim.DesignSpace("bitmod", axes)
        hwsim.sweep(hwsim.DesignSpace("bitmod"), named, mapping=mapping)  # type: ignore[arg-type]
        begin, cpu = time.perf_counter(), time.process_time()
        hwsim.sweep(space, named, mapping=mapping)  # type: ignore[arg-type]
        wall, used = time.perf_counter() - begin, time.process_time() - cpu
        found.append(
            {
                "space": name,
                "designs": f"{len(space):,}",
                "wall s": f"{wall:.2f}",
                "CPU s": f"{used:.2f}",
                "designs/s": f"{len(space) / wall:,.0f}",
            }
        )
    return found


def own_product(m: int, n: int, k: int) -> dict[str, Any]:
    """Return one product of 8-bit operands on one 32 x 32 output stationary array, ours."""
    op, machine = rows(OP, 1), machine_row(hwsim.load_accelerator("int8")).copy()
    values = {"product": 1, "batch": 1, "m": m, "n": n, "k": k, "shared": 1, "law": Law.SYSTOLIC}
    values |= {"steps": 1, "size": 128, "held_bits": 8, "input_bits": 8, "output_bits": 8}
    values |= {"weight_bytes": n * k, "input_bytes": m * k, "output_bytes": m * n, "repeats": 1}
    for key, value in values.items():
        op[key] = value
    machine["rows"], machine["columns"], machine["count"] = 32, 32, 1
    timing = measure(lambda: run(op, machine), 200)
    cycles = float(run(op, machine).ways["compute"][0])
    return {"peer": "hwsim", "cycles": cycles, "cpu_s": timing.cpu_s}


def peers(python: Path) -> list[dict[str, object]]:
    """Return the products beside the peers; a peer that fails or takes too long is said."""
    found: list[dict[str, object]] = []
    for m, n, k in PRODUCTS:
        own = own_product(m, n, k)
        closed = scale_sim("os", m, n, k, 32, 32)
        ours = {"simulator": "hwsim", "cycles": f"{own['cycles']:,.0f}"}
        ours |= {"CPU s": f"{own['cpu_s']:.2e}", "times": "1"}
        found.append({"m": m, "n": n, "k": k, **ours})
        assert own["cycles"] == closed + 1  # its reports count one less
        for driver in PEERS:
            row = {"m": m, "n": n, "k": k, "simulator": driver.partition("_")[0]}
            module = f"benchmarks.peer_simulators.{driver}"
            line = [str(python), "-m", module, str(m), str(n), str(k)]
            try:
                done = subprocess.run(
                    line, cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
                )
                said = json.loads(done.stdout.strip().splitlines()[-1])
                cycles, used = f"{said['cycles']:,.0f}", f"{said['cpu_s']:.2f}"
                times = f"{said['cpu_s'] / own['cpu_s']:,.0f}"
                row["simulator"] = f"{said['peer']} {said['version']}"
            except subprocess.TimeoutExpired:
                cycles, used, times = "-", f"over {TIMEOUT_S}", "-"
            except (subprocess.CalledProcessError, ValueError) as error:
                cycles, used, times = "-", f"failed: {type(error).__name__}", "-"
            found.append(row | {"cycles": cycles, "CPU s": used, "times": times})
    return found


def report(python: Path | None) -> str:
    """Return the report."""
    tables = [
        table_of(phases(), "One phase"),
        table_of(sweeps(), f"Sweeps: {MODEL}, a prompt of {PROMPT} and a decode step, two threads"),
    ]
    if python is not None:
        note = (
            "hwsim and SCALE-Sim: a 32 x 32 output stationary array, equal cycles (its reports "
            "count one less); ZigZag: its tpu_like with a mapping search. CPU s, imports apart.",
        )
        tables.append(table_of(peers(python), "One product beside other simulators", note))
    return HEADER + "\n".join(to_markdown(table, 2) for table in tables)


HEADER = """# Speed of the simulator

`python -m benchmarks.simulators --peers PYTHON -o reports/simulator_speed.md`, on two cores; PYTHON
has `zigzag-dse` and `scalesim`. AccelForge does not install beside Python 3.11 (conflicting pins),
and is not here.

"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report."""
    parser = argparse.ArgumentParser("benchmarks.simulators", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="such as reports/x.md")
    parser.add_argument("--peers", type=Path, help="a Python with the other simulators")
    given = parser.parse_args(arguments)
    write_text(given.out, report(given.peers))


if __name__ == "__main__":
    main()
