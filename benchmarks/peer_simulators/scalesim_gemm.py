"""SCALE-Sim on one product: ``python -m benchmarks.peer_simulators.scalesim_gemm M N K``.

A 32 x 32 output stationary array, CALC bandwidth, a byte a word; no trace files. Cycles
are the compute report's.
"""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from pathlib import Path

from benchmarks.peer_simulators.quiet import cpu_seconds, silence, sizes

# Sizes and offsets as the package has them by default; CALC mode does not stall on them.
CONFIG = """\
[general]
run_name = gemm

[architecture_presets]
ArrayHeight = 32
ArrayWidth = 32
IfmapSramSzkB = 256
FilterSramSzkB = 256
OfmapSramSzkB = 128
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = os
ReadRequestBuffer = 60
WriteRequestBuffer = 60

[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2

[sparsity]
SparsitySupport = False

[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def main() -> None:
    """Print what it found, as a line of JSON."""
    m, n, k = sizes(str(__doc__))
    start = cpu_seconds()
    with silence():
        from scalesim.scale_sim import scalesim
    imported = cpu_seconds() - start
    with tempfile.TemporaryDirectory(prefix="scalesim-") as name, silence():
        folder = Path(name)
        files = {"config": CONFIG, "topology": f"Layer, M, N, K,\ngemm, {m}, {n}, {k},\n"}
        files["layout"] = "Layer,\n"  # it must exist; no layout of one's own is in use
        for key, text in files.items():
            (folder / key).write_text(text, encoding="utf-8")
        paths = {key: str(folder / key) for key in files}
        start = cpu_seconds()
        run = scalesim(save_disk_space=True, verbose=False, input_type_gemm=True, **paths)
        run.run_scale(top_path=name)
        used = cpu_seconds() - start
        # Its get_total_cycles() raises; its report has the number.
        report = (folder / "gemm/COMPUTE_REPORT.csv").read_text(encoding="utf-8")
        names, values = ([c.strip() for c in line.split(",")] for line in report.splitlines()[:2])
        cycles = int(values[names.index("Total Cycles")])
    found = {"peer": "scalesim", "version": importlib.metadata.version("scalesim")}
    print(json.dumps({**found, "cycles": cycles, "cpu_s": used, "import_s": imported}))


if __name__ == "__main__":
    main()
