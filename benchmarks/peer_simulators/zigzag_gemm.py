"""ZigZag on one product: ``python -m benchmarks.peer_simulators.zigzag_gemm M N K``.

Its shipped tpu_like accelerator and mapping (weight stationary, 32 x 32), its default search of
temporal mappings; the stages that draw and write files are left out. Operands of 8 bits.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peer_simulators.quiet import cpu_seconds, silence, sizes

STAGES = (
    "WorkloadParserStage", "AcceleratorParserStage", "SumStage", "WorkloadStage",
    "MinimalLatencyStage", "SpatialMappingGeneratorStage", "MinimalLatencyStage",
    "TemporalMappingGeneratorStage", "CostModelStage",
)  # fmt: skip
"""Those of its own call, in its order."""


def layer(m: int, n: int, k: int) -> dict[str, Any]:
    """Return the product as a layer of its workloads."""
    return {
        "id": 0,
        "name": "gemm",
        "operator_type": "Gemm",
        "equation": "O[d][k]+=I[d][c]*W[c][k]",
        "dimension_relations": [],
        "loop_dims": ["D", "K", "C"],
        "loop_sizes": [m, n, k],
        "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
        "operand_source": {"I": 0, "W": 0},
    }


def main() -> None:
    """Print what it found, as a line of JSON."""
    m, n, k = sizes(str(__doc__))
    os.environ.setdefault("MPLBACKEND", "Agg")
    logging.disable(logging.CRITICAL)
    start = cpu_seconds()
    with silence():
        import zigzag
        from zigzag import api
    imported = cpu_seconds() - start
    inputs = Path(zigzag.__file__).parent / "inputs"
    with tempfile.TemporaryDirectory(prefix="zigzag-"), silence():
        start = cpu_seconds()
        results = api.MainStage(
            [getattr(api, name) for name in STAGES],
            workload=[layer(m, n, k)],
            accelerator=str(inputs / "hardware/tpu_like.yaml"),
            mapping=str(inputs / "mapping/tpu_like.yaml"),
            loma_lpf_limit=6,
            loma_show_progress_bar=False,
            nb_mappings_generated=3,
            enable_mix_spatial_mapping_generation=False,
            access_same_data_considered_as_no_access=True,
            temporal_mapping_type=api.TemporalMappingType("uneven"),
        ).run()
        used = cpu_seconds() - start
    cycles = float(results[0][0].latency_total2)
    found = {"peer": "zigzag-dse", "version": zigzag.__version__, "cycles": cycles}
    print(json.dumps({**found, "cpu_s": used, "import_s": imported}))


if __name__ == "__main__":
    main()
