"""The jobs that faults are injected into: each writes into a folder of its own and its cache."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from verification.reliability.inputs import HIDDEN, tiny_folder, tiny_gguf

OUT = "out"
FORMAT, OTHER = "bitmod4:g32", "fp4:g32"
SPACE = 'base = "bitmod"\nrows = [16, 32]\nformats = ["bitmod3", "bitmod4"]\n'
SCENARIO = ("--prompt", "16", "--generate", "1")
CALIBRATION = 512
Work = Callable[[Path], object]


@dataclass(frozen=True)
class Trial:
    """A job.

    Attributes:
        run: Does it in a folder: writes ``out``, and keeps what it keeps in ``cache``.
        results: Patterns of what must be whole or absent at any moment, relative.
        earlier: Makes what is there before it, where something is.
    """

    run: Work
    results: tuple[str, ...] = (OUT,)
    earlier: Work | None = None


def save(_inputs: Path) -> dict[str, Trial]:
    """``save_quantized``: codes and the rest of a model at once."""
    import numpy as np
    import torch

    import quant
    from quant.checkpoints.folder import save_quantized

    weight = np.random.default_rng(0).standard_normal((8, HIDDEN)).astype(np.float32)
    rest = {"norm.weight": torch.ones(HIDDEN)}

    def work(spec: str, case: Path) -> None:
        save_quantized(case / OUT, tensors[spec], model="tiny", rest=rest, overwrite=True)

    tensors = {spec: {"layer": quant.quantize(weight, spec)} for spec in (FORMAT, OTHER)}
    return _both("save", partial(work, FORMAT), partial(work, OTHER))


def stream(inputs: Path) -> dict[str, Trial]:
    """``quantize_checkpoint``: shard by shard."""
    from quant.checkpoints.stream import quantize_checkpoint

    source = tiny_folder(inputs / "tiny")

    def work(spec: str, case: Path) -> None:
        quantize_checkpoint(source, case / OUT, spec, shard_bytes=6000, overwrite=True)

    _warm(inputs, partial(work, FORMAT), partial(work, OTHER))
    return _both("stream", partial(work, FORMAT), partial(work, OTHER))


def quantize(inputs: Path) -> dict[str, Trial]:
    """``quant quantize`` with GPTQ and calibration; every layer is kept as it is done."""
    from quant.methods import kept
    from quant.methods.registry import get_method
    from quant.models.calibration import CalibrationText
    from quant.models.checkpoint import quantize_to_folder
    from tests.own.tiny_llama import tiny_llama

    model = str(tiny_llama(inputs / "model", hidden=HIDDEN, layers=1))
    kept.KEPT_AFTER_S = 0.0
    method = get_method("gptq")

    def work(spec: str, case: Path) -> None:
        quantize_to_folder(
            model,
            case / OUT,
            spec,
            method,
            calibration=CalibrationText(CALIBRATION),
            overwrite=True,
        )

    _warm(inputs, partial(work, FORMAT), partial(work, OTHER))
    return _both("quantize gptq", partial(work, FORMAT), partial(work, OTHER))


def conversion(inputs: Path) -> dict[str, Trial]:
    """A GGUF file that becomes a folder of the cache."""
    from quant.models.converted import converted_file

    gguf = tiny_gguf(inputs / "tiny.gguf")

    def work(_case: Path) -> None:
        converted_file(gguf)

    _warm(inputs, work)

    def damaged(case: Path) -> None:
        work(case)
        _flip(next((case / "cache" / "models").glob("*/model.safetensors")))

    name = "cache conversion"
    return {
        name: Trial(work, ("cache/models/*",)),
        f"{name}, of a damaged one": Trial(work, ("cache/models/*",), damaged),
    }


def sensitivity(inputs: Path) -> dict[str, Trial]:
    """The sensitivities of a model's layers, kept in the cache."""
    import torch

    import quant
    from hwsim.study.sensitivity import sensitivities
    from quant.formats.spec import parse_spec
    from quant.layers.matrices import linear_layers
    from tests.own.tiny_llama import tiny_llama

    model, _ = quant.load_model(str(tiny_llama(inputs / "model", hidden=HIDDEN, layers=1)))
    layers = [path for path in linear_layers(model) if path != "lm_head"]
    tokens = torch.arange(CALIBRATION) % 250
    formats = [parse_spec(text) for text in (FORMAT, OTHER)]

    def work(_case: Path) -> None:
        sensitivities(model, tokens, layers, formats)

    # In a child: after a backward pass of its own, torch refuses those of children.
    _in_child(inputs, work)
    _warm(inputs, work)

    def damaged(case: Path) -> None:
        work(case)
        _flip(next((case / "cache" / "sensitivity").iterdir()))

    name, kept = "sensitivity cache", ("cache/sensitivity/*",)
    return {name: Trial(work, kept), f"{name}, of a damaged one": Trial(work, kept, damaged)}


def codesign(inputs: Path) -> dict[str, Trial]:
    """``hwsim codesign``: formats chosen, measured, reported, with figures and a checkpoint."""
    from hwsim.loop import run_into
    from hwsim.study.request import Request
    from tests.own.tiny_llama import tiny_llama

    model = str(tiny_llama(inputs / "model", hidden=HIDDEN, layers=1))
    fixed: dict[str, Any] = {"prompt": 16, "generate": 2, "tokens": 128, "context": 64}

    def work(bits: float, case: Path) -> None:
        request = Request(model, "bitmod", max_effective_bits=bits, exact_tokens=4, **fixed)
        run_into(request, case / OUT, overwrite=True)

    _in_child(inputs, partial(work, 4.3))  # as above
    _warm(inputs, partial(work, 5.0), partial(work, 4.3))
    kept = (OUT, "cache/sensitivity/*")
    return _both("codesign", partial(work, 4.3), partial(work, 5.0), kept)


def reports(inputs: Path) -> dict[str, Trial]:
    """Commands with ``-o``: tables, figures, pages."""
    space = inputs / "space.toml"
    space.write_text(SPACE)
    explore = ("hwsim", "sweep", str(space), *SCENARIO)
    sweep = ("roofline", "sweep", "smollm2-135m", "h100-sxm", "--batch", "1,2")
    report = ("roofline", "report", "smollm2-135m", "h100-sxm", "--phase", "decode")
    lines: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    lines = {"explore": (explore, ("csv",)), "sweep": (sweep, ("json",))}
    lines["report"] = (report, ("svg", "png", "pdf", "html", "parquet"))
    found: dict[str, Trial] = {}
    for name, (line, forms) in lines.items():
        for form in forms:
            file = f"{OUT}.{form}"
            work = partial(_command, line, file)
            _warm(inputs, work)
            found |= _both(f"{name} -o {file}", work, partial(_older, file), (file,))
    return found


ALL: dict[str, Callable[[Path], dict[str, Trial]]] = {
    "save": save,
    "stream": stream,
    "quantize": quantize,
    "codesign": codesign,
    "reports": reports,
    "conversion": conversion,
    "sensitivity": sensitivity,
}
"""What makes the jobs, its inputs in a folder."""


def _both(
    name: str, work: Work, other: Work, results: tuple[str, ...] = (OUT,)
) -> dict[str, Trial]:
    """A job where nothing is, and where an earlier result and a file of the user's are."""

    def earlier(case: Path) -> None:
        other(case)
        if (case / OUT).is_dir():
            (case / OUT / "notes").mkdir()
            (case / OUT / "notes" / "mine.txt").write_text("years of work")

    return {name: Trial(work, results), f"{name}, overwriting": Trial(work, results, earlier)}


def _warm(inputs: Path, *works: Work) -> None:
    """Do the work once in this process: what it imports and compiles, its children then have."""
    from quant.common.cache import VARIABLE, cache_dir

    case, before = inputs / "warm", os.environ.get(VARIABLE)
    cache = case / "cache"
    if not cache.exists():
        cache.mkdir(parents=True)
        (cache / "packages").symlink_to(cache_dir().absolute() / "packages")
    os.environ[VARIABLE] = str(cache)
    try:
        for work in works:
            work(case)
    finally:
        os.environ.pop(VARIABLE)
        os.environ |= {VARIABLE: before} if before is not None else {}


def _in_child(inputs: Path, work: Work) -> None:
    """Do the work in a child, so that what it keeps in the cache is there."""
    child = os.fork()
    if not child:
        try:
            _warm(inputs, work)
            os._exit(0)
        finally:
            os._exit(70)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the work failed in a child")
    shutil.rmtree(inputs / "warm" / OUT, ignore_errors=True)


def _command(line: tuple[str, ...], file: str, case: Path) -> object:
    """Run a command in this process."""
    sys.argv = [*line, "-o", file]
    with chdir(case):  # pages name the command that made them
        return importlib.import_module(f"{line[0]}.cli").main()


def _older(file: str, case: Path) -> None:
    (case / file).write_text("an older result")


def _flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
