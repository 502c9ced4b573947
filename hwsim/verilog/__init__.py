"""What the Verilog takes from Python, and runs of it from there: tables, compiled tiles, synthesis.

``hwsim.verilog.run(tile, weight, activations)`` runs a layer.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, whose import takes longer than all that is done here
if TYPE_CHECKING:
    from typing import Any

    from hwsim.verilog.layer import LayerRun as LayerRun
    from hwsim.verilog.layer import run as run

__all__ = ["LayerRun", "run"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute may be anything
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'hwsim.verilog' has no attribute {name!r}")
    return getattr(import_module("hwsim.verilog.layer"), name)
