"""A slice of a real layer through the tile in compiled Verilator, equal in every bit and clock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import quant
from hwsim.pe import matmul
from hwsim.pe.operands import weights
from hwsim.tile.clocks import clocks
from hwsim.tile.packets import Job, jobs
from hwsim.tile.tile import Tile
from hwsim.verilog import compiled
from tests.verification.finding import Finding

MODEL, LAYER = "smollm2-135m", "model.layers.10.mlp.down_proj"
OUTPUTS, TOKENS = 64, 16
FORMATS = ("bitmod4", "bitmod3", "int4-asym", "int8", "mxfp4", "nvfp4")
TEXT = "The processing element adds the products of a group and keeps their sum exactly. " * 3


class Slice(NamedTuple):
    """Weights of some outputs of a layer, and what really enters it, FP16."""

    weight: NDArray[np.float32]
    inputs: NDArray[np.float16]


def real_slice() -> Slice:
    """The first outputs of a layer of the real model, and the inputs that a text gives it."""
    import torch

    model, tokenizer = quant.load_model(MODEL)
    layer: Any = model.get_submodule(LAYER)
    found: list[Any] = []
    hook = layer.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    tokens = torch.tensor([tokenizer(TEXT)["input_ids"][:TOKENS]])
    with torch.no_grad():
        model(tokens)
    hook.remove()
    inputs = found[0].reshape(-1, layer.in_features).float().numpy().astype(np.float16)
    return Slice(layer.weight.detach().float().numpy()[:OUTPUTS], inputs)


def compare(part: Slice, name: str, tile: Tile, program: Path, folder: Path) -> tuple[int, int]:
    """Return the results that differ, and the clocks by which the counts differ."""
    scale = quant.parse_spec(name, default_scale="int8").scale.name
    qt = quant.quantize(part.weight, name, scale=scale)
    operand, rule = weights(qt, tile.arithmetic)
    words = rule.activations.words(part.inputs)
    found = list(jobs(operand, words, tile))
    packets = [packet for job in found for packet in job.packets]
    run = compiled.simulate(program, packets, tile, folder)
    y, _ = matmul(qt, part.inputs, arithmetic=rule)
    differ = int((run.words != expected(found, y, tile)).sum())
    return differ, abs(run.clocks - clocks(packets, tile))


def expected(found: list[Job], y: NDArray[np.float32], tile: Tile) -> NDArray[np.uint32]:
    """Results as they leave the tile, ``[beats, columns]``."""
    beats = []
    for job in found:
        whole = np.zeros((tile.columns, tile.rows), np.float32)
        part = y[job.columns, job.rows]
        whole[: part.shape[0], : part.shape[1]] = part
        beats.append(whole.view(np.uint32).T)
    return np.concatenate(beats)


def run(scale: str = "full") -> list[Finding]:
    """Every format (``quick``: two) on the default tile."""
    part, tile = real_slice(), Tile()
    findings = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled.program(tile, FORMATS)
        for format_ in FORMATS if scale == "full" else FORMATS[:2]:
            differ, late = compare(part, format_, tile, program, folder)
            findings.append(
                Finding(
                    "A real layer in compiled Verilator",
                    f"{MODEL} {LAYER}, {format_}: {len(part.weight)} outputs x "
                    f"{part.weight.shape[1]} inputs x {len(part.inputs)} tokens",
                    OUTPUTS * len(part.inputs),
                    "results",
                    differ + (late != 0),
                    f"clocks differ by {late}",
                )
            )
    return findings
