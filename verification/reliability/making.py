"""All results of the programs, made once: what ``determinism`` compares between processes.

``python -m verification.reliability.making GROUP INPUTS FOLDER`` makes one group of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import chdir, suppress
from pathlib import Path

from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from quant.methods.base import Method

FORMS = ("txt", "json", "csv", "md", "html", "parquet")
FIGURES = (*FORMS, "svg", "png", "pdf")
MODEL, DEVICE, MACHINE = "smollm2-135m", "h100-sxm", "bitmod"
SHORT = ("--prompt", "16", "--generate", "1")
WEIGHTS = "bitmod4:g64"
POSITIONS = 1024
"""Of the tiny model: as many as the windows of ``hwsim margins`` have."""
SPACE = 'base = "bitmod"\n[axes]\ntiles = [4, 8]\nweights = ["bitmod3", "bitmod4"]\n'
"""Designs for ``hwsim sweep``."""
TINY = "tiny"
"""Stands for the folder of a tiny model in a command."""
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("quant", "list"): FORMS,
    ("quant", "show", "bitmod3"): FORMS,
    ("quant", "eval", TINY, "--weights", WEIGHTS, "--tokens", "512", "--context", "256"): FORMS,
    ("roofline", "report", MODEL, DEVICE, "--phase", "decode"): FIGURES,
    ("roofline", "compare", MODEL, DEVICE, "a100-80g", "--weights", "fp16,bitmod4"): FIGURES,
    ("roofline", "list", "hardware"): FORMS,
    ("roofline", "sweep", MODEL, DEVICE, "--batch", "1,2"): FIGURES,
    ("roofline", "serve", MODEL, DEVICE): FORMS,
    ("roofline", "calibrate", DEVICE): ("toml",),
    ("roofline", "validate"): FORMS,
    ("hwsim", "list"): FORMS,
    ("hwsim", "simulate", MODEL, MACHINE, *SHORT): FIGURES,
    ("hwsim", "show", MACHINE): FIGURES,
    ("hwsim", "timeline", MACHINE): FIGURES,
    ("hwsim", "new", MACHINE): ("toml",),
    ("hwsim", "sweep", "space.toml", *SHORT): FIGURES,
    ("hwsim", "explore", "space.toml", *SHORT): FIGURES,
    ("hwsim", "compare", "fp16", MACHINE, *SHORT): FIGURES,
    ("hwsim", "reproduce", "bitmod-hpca25"): FIGURES,
    ("hwsim", "margins", TINY, MACHINE, "--budget", "4.3", "--random", "2", "--tokens", "2048"): (
        "md",
    ),
}
"""Commands that write files -> suffixes of the files."""
EXPORTS = {
    "compressed-tensors": "int4:g64",
    "gguf": "int8:g32",
    "gptq": "int4-asym:g64",
    "awq": "int4-asym:g64",
}
"""Layouts of exports -> a format that they hold."""
BUDGET = ("--max-effective-bits", "4.3", *SHORT, "--tokens", "512", "--context", "256")


def formats(_inputs: Path, out: Path) -> None:
    """A checkpoint in every format, of a layer large enough for two threads."""
    import numpy as np

    import quant
    from quant.checkpoints.folder import save_quantized
    from quant.formats.registry import FORMATS

    weight = np.random.default_rng(0).standard_normal((96, 512)).astype(np.float32)
    for name, entry in FORMATS.items():
        if not entry.is_plain:
            save_quantized(out / name, {"layer": quant.quantize(weight, name)}, model="layer")


def methods(inputs: Path, out: Path) -> None:
    """A checkpoint of a model by every method, calibrated where the method looks at inputs."""
    from quant.methods.registry import METHODS
    from quant.models.calibration import CalibrationText
    from quant.models.checkpoint import quantize_to_folder

    for name, method in METHODS.items():
        spec = _taken(method)
        quantize_to_folder(
            str(inputs / TINY), out / name, spec, method, calibration=CalibrationText(1024)
        )


def streams(inputs: Path, out: Path) -> None:
    """The same model, streamed; and a GGUF file, converted into the cache."""
    from quant.checkpoints.stream import quantize_checkpoint
    from quant.models.converted import converted_file

    for spec in (WEIGHTS, "int3-asym:g64", "mxfp4"):
        quantize_checkpoint(inputs / TINY, out / spec, spec, shard_bytes=100_000)
    converted_file(inputs / "tiny.gguf")


def exports(inputs: Path, out: Path) -> None:
    """A checkpoint in the layout of every other runtime."""
    from quant.checkpoints.stream import quantize_checkpoint
    from quant.models.export import export

    for to, spec in EXPORTS.items():
        folder = out / f"{to} from"
        quantize_checkpoint(inputs / TINY, folder, spec)
        export(folder, out / to, to=to)


def codesign(inputs: Path, out: Path) -> None:
    """A co-design folder: plan, tables, figures, checkpoint; and the sensitivities it keeps."""
    words = ("codesign", str(inputs / TINY), MACHINE, *BUDGET, "--exact-tokens", "8")
    _command("hwsim", *words, "-o", str(out / "codesign"))


def reports(inputs: Path, out: Path) -> None:
    """Every command with ``-o`` that needs no weights, in every form."""
    _written([line for line in COMMANDS if TINY not in line], inputs, out)


def measurements(inputs: Path, out: Path) -> None:
    """Every command with ``-o`` that runs a model, in every form."""
    _written([line for line in COMMANDS if TINY in line], inputs, out)


def _written(lines: Iterable[tuple[str, ...]], inputs: Path, out: Path) -> None:
    for line in lines:
        words = [str(inputs / word) if word in (TINY, "space.toml") else word for word in line]
        for suffix in COMMANDS[line]:
            with chdir(out):  # pages name the command that made them
                _command(*words, "-o", f"{line[0]}-{line[1]}.{suffix}")


GROUPS: dict[str, Callable[[Path, Path], None]] = {
    "formats": formats,
    "methods": methods,
    "streams": streams,
    "exports": exports,
    "codesign": codesign,
    "reports": reports,
    "measurements": measurements,
}


def inputs_in(folder: Path) -> None:
    """Write what the groups read."""
    from tests.own.tiny_llama import tiny_llama
    from verification.reliability.inputs import tiny_gguf

    config = tiny_llama(folder / TINY, hidden=128, layers=2) / "config.json"
    longer = {**json.loads(config.read_text()), "max_position_embeddings": POSITIONS}
    config.write_text(json.dumps(longer))
    tiny_gguf(folder / "tiny.gguf")
    (folder / "space.toml").write_text(SPACE)


def _taken(method: Method) -> str:
    """The first format that a method takes."""
    for spec in (WEIGHTS, "int4-asym:g64"):
        with suppress(RequestError):
            method.check_format(parse_spec(spec))
            return spec
    raise RequestError(f"method {method.name} takes none of the formats")


def _command(program: str, *words: str) -> None:
    """Run a command in this process.

    Raises:
        SystemExit: it failed.
    """
    sys.argv = [program, *words]
    importlib.import_module(f"{program}.cli").main()


def _main() -> None:
    parser = argparse.ArgumentParser(description="Make one group of results.")
    parser.add_argument("group", choices=["inputs", *GROUPS])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    if asked.group == "inputs":
        inputs_in(asked.inputs)
        return
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    GROUPS[asked.group](asked.inputs.absolute(), asked.folder)


if __name__ == "__main__":
    _main()
