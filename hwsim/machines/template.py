"""A machine's file of one's own, to begin with: a built-in one, with what each key means."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hwsim.machines.load import FOLDER, accelerator_names
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.common.files import write_text
from quant.common.output import check_writable

KEYS = {
    "name": "the design's name",
    "kind": "kind of element: bit-serial, multiply-accumulate, or one of your own",
    "weights": "formats that it runs (quant list)",
    "default_weights": "what it takes where none is asked for",
    "scales": "kinds of group scales that it multiplies by",
    "activations": "format of activations",
    "kv": "of keys and values, which play the weights in attention",
    "head": "of lm_head",
    "group_size": "default group of weights",
    "scale": "default scale of groups",
    "[clock_hz]": "of everything but the memory",
    "[pe]": "one element: lanes, area and energy before layout",
    "[tiles]": "arrays: rows are output channels, columns tokens; sharing: any, outputs, tokens",
    "[weight_buffer]": "bytes, bits a port moves a clock, banks (8), memory (cacti-28nm, sg13g2)",
    "[activation_buffer]": "inputs, partial sums and outputs",
    "[vector]": "softmax, norms, rotary embeddings, quantization",
    "[dram]": "numbers of its own, or: type (hwsim list) and channels",
    "[process]": "node and supply of the chip, and those that its numbers are stated for",
    "[layout]": "what placement and routing multiply synthesis by",
}
"""What each key or table of a machine's file is."""


def write_machine(name: str, path: Path, *, overwrite: bool = False) -> None:
    """Write a built-in machine's file under a name of one's own, each key with what it means.

    Args:
        name: The built-in machine.
        path: The file, ending in ``.toml``.
        overwrite: Whether a file there may go.

    Raises:
        RequestError: an unknown machine, another ending, or a file that is there already.
    """
    path = arguments.path("out", path)
    known = accelerator_names()
    if name.lower() not in known:
        raise unknown_name("accelerator", name, known)
    if path.suffix != ".toml":
        raise RequestError(f"{path}: a name that ends in .toml is needed")
    if path.exists() and not overwrite:
        raise RequestError(f"{path} is there already: --overwrite takes its place")
    check_writable(path)
    text = (FOLDER / f"{name.lower()}.toml").read_text(encoding="utf-8")
    body = "\n".join(map(_commented, text.splitlines()))
    own = f"name = {json.dumps(path.stem)}"  # a text of TOML, too
    body = re.sub(r'^name = ".*?"', lambda _: own, body, count=1, flags=re.MULTILINE)
    head = f"# hwsim simulate smollm2-135m {path.name}\n# Begins as {name.lower()}:\n"
    write_text(path, f"{head}{body}\n")


def _commented(line: str) -> str:
    """A line with a comment on what it is, above it: a table's, or a key's of the top."""
    key = line.partition(" = ")[0].strip()
    return f"# {key}: {KEYS[key]}\n{line}" if key in KEYS else line
