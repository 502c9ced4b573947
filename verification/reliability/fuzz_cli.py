"""Edges that are programs: command lines made of the real commands and options, and wrong values.

The options are read from the programs, so that a new one is tried as soon as it is there. A program
is run in this process, as its ``main`` does it.
"""

from __future__ import annotations

import importlib
import io
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from verification.reliability.fuzz_edge import Edge, LoudRefusal, Target
from verification.reliability.fuzz_text import GRID, PLAN
from verification.reliability.mutations import mutated_text

PROGRAMS = {"quant": 120, "roofline": 100, "hwsim": 60}
"""Program to its inputs of ten thousand."""
Pool = tuple[tuple[str, ...], tuple[str, ...]]  # values that may be right, and wrong ones
NUMBERS: Pool = (
    ("1", "2", "16", "64", "512", "4096"),
    (
        "0",
        "-1",
        "1.5",
        "1e3",
        "nan",
        "inf",
        "9" * 30,
        "",
        "2147483648",
        "9223372036854775808",
        "0x10",
        "1_0",
        "true",
        "１",
        "1e400",
        "-0",
        "100000",
    ),
)
LISTS: Pool = (
    ("1", "1,2", "1:8", "1:8:2", "16,64", "512"),
    ("8:1", "1:8:0", "1:1:-1", "1,,2", ",", ":", "1:2:3:4", "1:9999999999999", *NUMBERS[1]),
)
FORMATS: Pool = (
    ("fp16", "int8", "bitmod4", "bitmod3:g128:int8", "int8:row", "4", "mxfp4", "grid.toml"),
    ("17", "int4:g0", "int4:x", "no.toml", "bitmod3,bitmod4", "fp3:e8m0", "", "int4-asym:g64"),
)
MODELS: Pool = (
    ("tiny", "smollm2-135m", "gpt2", "tiny"),
    ("mamba-2.8b", "resnet-50", "bert-base-uncased", "damaged", "no-model", "own/model", ""),
)
NO_MODELS: Pool = (
    ("no-model", "own/model", "damaged", "empty"),
    ("plan.toml", "no/such/folder", "", ".", "a//b"),
)
DEVICES: Pool = (
    ("h100-sxm", "tpu-v5e", "device.toml", "H100_SXM"),
    ("plan.toml", "no.toml", "h100-sxm,a100-80g", "h100"),
)
MACHINES: Pool = (
    ("bitmod", "fp16", "accelerator.toml", "bitmod-rtl"),
    ("plan.toml", "no.toml", "x"),
)
PLANS: Pool = (("plan.toml",), ("no.toml", "device.toml", "tiny", ""))
OUTS: Pool = (
    ("out.json", "out.csv", "out.md", "out.html", "out.svg", "out"),
    (
        "out.toml",
        "out.x",
        "plan.toml",
        "tiny",
        "no/such/out.csv",
        "",
        ".",
        "empty",
        "a\nb.csv",
        "é.md",
        "tiny/config.json/x",
        "-",
    ),
)
KNOWN: dict[str, Pool] = {
    "form": (("table", "json", "csv", "md", "html"), ("x", "")),
    "phase": (("prefill", "decode"), ("x",)),
    "compat": (("llm-viewer", "llm-viewer-pr27"), ("x",)),
    "dtype": (("float32", "bfloat16"), ("x",)),
    "search": (("h100", "llama"), ("x" * 300,)),
    "what": (("models", "hardware"), ("x",)),
    "model": MODELS,
    "hardware": DEVICES,
    "accelerator": MACHINES,
    **dict.fromkeys(("weights", "activations", "kv", "head", "name"), FORMATS),
    "plan": PLANS,
    "space": (("space.toml",), PLANS[0] + PLANS[1]),
    "method": (("rtn", "gptq", "hqq"), ("no-method", "no.py", "rtn,gptq", "")),
    "calibration": (("calibration.toml", "512"), (*PLANS[0], *PLANS[1], *NUMBERS[1])),
    "kernels": (("kernels.csv",), ("no.csv", "tiny")),
    **dict.fromkeys(("out", "folder"), OUTS),
    **dict.fromkeys(("batch", "context", "tp", "budget"), LISTS),
}
"""Values by the parameters' names; others are numbers."""
OTHERS = (
    "--help",
    "--version",
    "--",
    "-h",
    "-q",
    "--no-such",
    "-o",
    "--output=json",
    "--output",
    "@x",
)
LOADED = {("quant", "eval"), ("hwsim", "codesign"), ("hwsim", "margins")}
"""Commands that would run a model: here its name is always wrong."""
LONG = {("roofline", "validate"), ("roofline", "calibrate")}
"""Commands that fit laws for seconds: here their lines are always wrong."""


def program(name: str, folder: Path) -> Target:
    """A program in a folder with small inputs of every kind."""
    files = _inputs(folder)
    commands = _commands(name)
    valid = {
        "quant": (["list", "--output", "json"], ["show", "bitmod3"], ["show", "grid.toml"]),
        "roofline": (["report", "tiny", "device.toml", "--context", "16"], ["list", "models"]),
        "hwsim": (["simulate", "tiny", "bitmod"], ["sweep", "space.toml", "--model", "tiny"]),
    }[name]

    def made(rng: Random) -> bytes:
        return _coded(_line(rng, name, commands))

    def accepts(data: bytes) -> bool:
        for file, content in files.items():
            path = folder / file
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)
        return _ended(name, json.loads(data))

    return Target(tuple(map(_coded, valid)), made, accepts)


EDGES = tuple(
    Edge(f"{name} command", share, partial(program, name), ".json")
    for name, share in PROGRAMS.items()
)


def _coded(line: list[str]) -> bytes:
    return json.dumps(line).encode()


def _commands(name: str) -> dict[str, list[Any]]:
    """Commands of a program and their parameters, as its parser has them."""
    import typer

    app = importlib.import_module(f"{name}.cli").app
    group: Any = typer.main.get_command(app)
    return {text: list(command.params) for text, command in group.commands.items()}


def _line(rng: Random, name: str, commands: dict[str, list[Any]]) -> list[str]:
    command = rng.choice(list(commands))
    line = [command]
    for parameter in commands[command]:
        is_argument = parameter.param_type_name == "argument"
        chance = 0.97 if is_argument else 0.9 if parameter.required else 0.2
        times = rng.choice((1, 1, 1, 2)) if parameter.multiple or parameter.nargs != 1 else 1
        for _ in range(times if rng.random() < chance else 0):
            flags = (*parameter.opts, *parameter.secondary_opts)
            value = _value(rng, (name, command), parameter)
            if is_argument:
                line.append(value)
            elif getattr(parameter, "is_flag", False):
                line.append(rng.choice(flags))
            else:
                flag = rng.choice(flags)
                joined = flag.startswith("--") and rng.random() < 0.2
                line += [f"{flag}={value}"] if joined else [flag, value]
    if rng.random() < 0.15:
        line.insert(rng.randrange(len(line) + 1), rng.choice(OTHERS))
    if rng.random() < 0.05:
        del line[rng.randrange(len(line))]
    if (name, command) in LONG and "--help" not in line:
        line += ["--output", "no-such-form"]
    return [text.replace("\0", "") for text in line]  # no program can be given one


def _value(rng: Random, command: tuple[str, str], parameter: Any) -> str:  # noqa: ANN401  click's
    pool = KNOWN.get(parameter.name, NUMBERS)
    if parameter.name == "model" and command in LOADED:
        pool = NO_MODELS
    value = rng.choice(pool[rng.random() < 0.15])
    safe = {"out", "folder", "model"}  # places that are written to, or that a network is asked for
    return mutated_text(rng, value) if parameter.name not in safe and rng.random() < 0.03 else value


def _ended(name: str, line: list[str]) -> bool:
    """Run a program; return whether it ended with 0.

    Raises:
        LoudRefusal: another code than 0, 1 or 2, a line too many, or a fault that it calls its own.
    """
    from quant.common.cli import run

    module = importlib.import_module(f"{name}.cli")
    said = f"{name} {shlex.join(line)}"
    code: object = 0
    with _captured([name, *line]) as (out, error):
        try:
            run(module.app, name)
        except SystemExit as end:
            code = end.code
    lines = error().splitlines()
    if code not in (0, 1, 2, None):
        raise LoudRefusal(f"{said}: code {code}: {lines[-1:]}")
    if len(lines) > 1 or any("fault of this program" in text for text in lines):
        raise LoudRefusal(f"{said}: {len(lines)} lines: {lines[-3:]}")
    if code and len(lines) != 1:
        raise LoudRefusal(f"{said}: code {code} without a word")
    if "Traceback" in out() or "Traceback" in error():
        raise LoudRefusal(f"{said}: a traceback")
    return not code


@contextmanager
def _captured(line: list[str]) -> Iterator[tuple[Callable[[], str], Callable[[], str]]]:
    """Give the process another command line and streams of its own."""
    before = sys.argv, sys.stdout, sys.stderr
    raw = io.BytesIO(), io.BytesIO()
    streams = [io.TextIOWrapper(stream, "utf-8", "replace") for stream in raw]

    def text(which: int) -> Callable[[], str]:
        def content() -> str:
            streams[which].flush()
            return raw[which].getvalue().decode("utf-8", "replace")

        return content

    sys.argv = line
    sys.stdout, sys.stderr = streams
    try:
        yield text(0), text(1)
    finally:
        sys.argv, sys.stdout, sys.stderr = before


def _inputs(folder: Path) -> dict[str, bytes]:
    """Write inputs of every kind; return those that a program could replace."""
    from importlib import resources

    import tomli_w

    from tests.own.tiny_llama import tiny_llama

    tiny_llama(folder / "tiny", hidden=16, layers=1, positions=32)
    (folder / "empty").mkdir()
    (folder / "damaged").mkdir()
    device = resources.files("roofline.devices") / "builtin" / "h100-sxm.toml"
    machine = resources.files("hwsim.machines") / "builtin" / "bitmod.toml"
    files = {
        "damaged/config.json": b'{"model_type": "llama", "hidden_size": ',
        "plan.toml": tomli_w.dumps({**PLAN, "model": ""}).encode(),
        "grid.toml": tomli_w.dumps({**GRID, "name": "fuzz-line"}).encode(),
        "space.toml": tomli_w.dumps({"base": "bitmod", "axes": {"tiles": [8]}}).encode(),
        "device.toml": device.read_bytes(),
        "accelerator.toml": machine.read_bytes(),
        "kernels.csv": b"device,kernel,seconds\nh100-sxm,gemm,1\n",
        "tiny/config.json": (folder / "tiny" / "config.json").read_bytes(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files
