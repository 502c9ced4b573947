"""Edges that read text: configs of models, TOML of each kind, tables of measurements, formats.

What was taken is also used once, in the smallest way: a file that only fails later was not checked.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

from verification.reliability.fuzz_edge import Edge, Target, WrongAcceptance
from verification.reliability.mutations import (
    mutated_bytes,
    mutated_json,
    mutated_text,
    mutated_toml,
)
from verification.reliability.mutations_table import mutated_table

FAMILIES: tuple[str, ...] = (
    "smollm2-135m",
    "deepseek-v2-lite",
    "gpt2",
    "mamba-2.8b",
    "nemotron-h-56b-base-8k",
)
FAMILIES += ("bert-base-uncased", "vit-base-patch16-224", "resnet-50", "efficientnet-lite0")
FAMILIES += (
    "gpt-oss-20b",
    "gemma-3-1b-it",
    "llama-4-scout-17b-16e-instruct",
    "qwen3-vl-8b-instruct",
)
GRID = {
    "name": "fuzz",
    "levels": [-1.0, -0.25, 0.0, 0.5, 1.0, 1.5, 2.0, 4.0],
    "ties": "even",
    "group_size": 32,
    "source": "made up",
    "schema": "grid/1",
}
SPACE = {
    "base": "bitmod",
    "axes": {
        "tiles": [4, 8],
        "tile.columns": {"pow2": [4, 16]},
        "weights": ["bitmod3", "int8"],
        "dram.bytes_per_s": {"log": [1e10, 1e12, 3]},
        "dataflow": ["best", "output"],
    },
}
PLAN = {
    "schema": "plan/1",
    "model": "smollm2-135m",
    "method": "gptq",
    "layers": {
        "*": "bitmod4:g128:int8",
        "model.layers.0.mlp.up_proj": "mxfp4",
        "*.down_proj": "int3-asym:row",
        "lm_head": "int8:g64",
    },
}
PATHS = ("model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj", "lm_head")
CASES = (("fp16", 64), ("bf16", 4096), ("fp8", 16))
PARTS_OF_FORMATS = (
    "g32",
    "g0",
    "g-1",
    "g9" * 9,
    "row",
    "fp16",
    "int8",
    "e8m0",
    "bf16",
    "g128",
    "mse",
)


def config(folder: Path) -> Target:
    """config.json of a model's folder, as ``roofline.workload`` reads it."""
    configs = resources.files("roofline.workloads.models") / "configs"
    seeds = [json.loads((configs / f"{name}.json").read_text("utf-8")) for name in FAMILIES]
    path = folder / "config.json"

    def use() -> None:
        import roofline

        roofline.analyze(roofline.workload(folder, "prefill", 1, 128), "h100-sxm")

    valid = tuple(json.dumps(seed).encode() for seed in seeds)
    return Target(valid, lambda rng: mutated_json(rng, rng.choice(seeds)), _through(path, use))


def device(folder: Path) -> Target:
    """TOML of a device."""
    own = resources.files("roofline.devices") / "builtin"
    seeds = [_toml(own / f"{name}.toml") for name in ("h100-sxm", "a100-80g", "tpu-v5e")]
    path = folder / "device.toml"

    def use() -> None:
        import roofline

        work = roofline.workload("smollm2-135m", "decode", 1, 128)
        roofline.analyze(work, roofline.load_hardware(path))

    return _of_toml(seeds, path, use)


def accelerator(folder: Path) -> Target:
    """TOML of an accelerator."""
    own = resources.files("hwsim.machines") / "builtin"
    seeds = [_toml(own / f"{name}.toml") for name in ("bitmod", "bitmod-rtl", "fp16")]
    path = folder / "accelerator.toml"

    def use() -> None:
        import hwsim
        import roofline
        from hwsim.simulation.simulate import machine_formats

        machine = hwsim.load_accelerator(path)
        formats = machine_formats(machine, None)
        hwsim.simulate(roofline.workload("smollm2-135m", "decode", 1, 16, **formats), machine)

    return _of_toml(seeds, path, use)


def plan(folder: Path) -> Target:
    """TOML of a plan."""
    path = folder / "plan.toml"

    def use() -> None:
        from quant.plan import Plan, assign, check_formats, method_of

        loaded = Plan.load(path)
        assign(loaded, PATHS)
        check_formats(loaded, method_of(loaded))
        loaded.to_toml()

    return _of_toml([PLAN], path, use)


def grid(folder: Path) -> Target:
    """TOML of a grid of the user's."""
    path = folder / "grid.toml"

    def use() -> None:
        import numpy as np

        import quant
        from quant.formats.custom import load_grid

        with _formats_forgotten():
            tensor = quant.quantize(np.linspace(-1, 1, 64, dtype=np.float32)[None], load_grid(path))
            tensor.dequantize()

    return _of_toml([GRID], path, use)


def space(folder: Path) -> Target:
    """TOML of a design space."""
    path = folder / "space.toml"

    def use() -> None:
        from hwsim.exploration.space import DesignSpace

        len(DesignSpace.load(path))

    return _of_toml([SPACE], path, use)


def calibration(folder: Path) -> Target:
    """TOML that ``roofline calibrate`` writes."""
    whole = _toml(resources.files("roofline.calibration") / "calibrations.toml")
    name = "h100-sxm"
    seed = {**whole, "devices": {name: whole["devices"][name]}}
    path = folder / "calibration.toml"

    def use() -> None:
        import roofline

        law = roofline.load_calibration(name, path)
        roofline.analyze(roofline.workload("smollm2-135m", "decode", 1, 128), name, law)

    return _of_toml([seed], path, use)


def measurements(folder: Path) -> Target:
    """CSV of measured kernels."""
    text = (resources.files("roofline.calibration") / "kernels.csv").read_text("utf-8")
    head, *lines = text.splitlines()
    own = [line for line in lines if line.startswith("h100-sxm")]
    kernels = list(dict.fromkeys(line.split(",")[2] for line in own))
    kept = [line for name in kernels for line in own if line.split(",")[2] == name][:4]
    kept += [line for name in kernels[1:] for line in own if line.split(",")[2] == name][:4]
    seed = "\n".join((head, *kept)) + "\n"
    path = folder / "kernels.csv"

    def use() -> None:
        import roofline
        from roofline.calibration.measured import fit_device
        from roofline.calibration.table import read_kernels

        fit_device(roofline.load_hardware("h100-sxm"), read_kernels(path))

    def made(rng: Random) -> bytes:
        return mutated_table(rng, seed) if rng.random() < 0.7 else mutated_bytes(rng, seed.encode())

    return Target((seed.encode(),), made, _through(path, use))


def formats(_folder: Path) -> Target:
    """Texts of formats, ``NAME[:gGROUP|row][:SCALE][:RULE]``."""
    from quant.formats.registry import FORMATS

    names = tuple(FORMATS)
    pieces = (*(f":{part}" for part in PARTS_OF_FORMATS), *names)

    def made(rng: Random) -> bytes:
        parts = rng.sample(PARTS_OF_FORMATS, rng.randrange(4))
        text = ":".join((rng.choice(names), *parts))
        text = mutated_text(rng, text, pieces) if rng.random() < 0.6 else text
        return text.encode("utf-8", "surrogatepass")

    def accepts(data: bytes) -> bool:
        from quant.formats.spec import parse_spec

        spec = parse_spec(data.decode("utf-8", "surrogatepass"))
        spec.effective_bits(64, 256)
        if str(parse_spec(str(spec))) != str(spec):
            raise WrongAcceptance(f"{spec} is not what it says")
        return True

    return Target((b"bitmod3:g128:int8", b"mxfp4", b"int4-asym:row"), made, accepts)


EDGES = (
    Edge("config", 500, config, ".json"),
    Edge("device", 600, device, ".toml"),
    Edge("accelerator", 450, accelerator, ".toml"),
    Edge("plan", 800, plan, ".toml"),
    Edge("grid", 700, grid, ".toml"),
    Edge("space", 500, space, ".toml"),
    Edge("calibration", 250, calibration, ".toml"),
    Edge("measurements", 120, measurements, ".csv"),
    Edge("formats", 2800, formats, ".txt"),
)


def _of_toml(seeds: Sequence[dict[str, Any]], path: Path, use: Callable[[], None]) -> Target:
    import tomli_w

    valid = tuple(tomli_w.dumps(seed).encode() for seed in seeds)
    return Target(valid, lambda rng: mutated_toml(rng, rng.choice(seeds)), _through(path, use))


def _through(path: Path, use: Callable[[], None]) -> Callable[[bytes], bool]:
    """Write an input to a file, and use that."""
    return partial(_used, path, use)


def _used(path: Path, use: Callable[[], None], data: bytes) -> bool:
    path.write_bytes(data)
    use()
    return True


def _toml(path: Any) -> dict[str, Any]:  # noqa: ANN401  a Traversable, whose place differs by version
    return tomllib.loads(path.read_text(encoding="utf-8"))


@contextmanager
def _formats_forgotten() -> Iterator[None]:
    """Take out of the registry again what is added to it."""
    from quant.formats.registry import FORMATS

    before = set(FORMATS)
    try:
        yield
    finally:
        for name in set(FORMATS) - before:
            del FORMATS[name]
