"""What the Verilog is told of each format, as facts to compare between two registries.

``python -m tests.rtl.ids FOLDER`` writes ``facts.json``. With ``joined``, formats and kinds of
scales and of activations join the registries first, in front of all; the folder gets the Verilog
for them, and the decoder is proved against their levels.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from quant.formats import registry, scales
from quant.formats.elements import Codebook, FloatType
from quant.formats.format import Format
from quant.formats.scales import E8M0Scale

NEW = (
    Format("new-four", FloatType(2, 1), "test", special_values=(12.0, -12.0, 24.0, -24.0), id=53),
    Format("new-one", Codebook(3, (0.0, 1.0, 2.0, 5.0, -1.0, -2.0, -5.0)), "test", id=56),
    Format("new-none", Codebook(3, (0.0, 1.0, 3.0, -1.0)), "test"),
)
"""A format of four tables, one of one table, one without a number; 51, 52, 54 and 55 are gaps."""
CONSTANT = re.compile(r"(?:parameter int unsigned )?(\w+) = (?:\d+'d)?(\d+)[;,]?$")
LITERAL = re.compile(r"\d+'([doh])([0-9a-f]+)")
BASES = {"d": 10, "o": 8, "h": 16}


def join() -> None:
    """Put new entries in front of all registries, as an edit of the sources would."""
    _in_front(registry.FORMATS, {entry.name: entry for entry in NEW})
    registry.BUILT_IN = tuple(registry.FORMATS)
    _in_front(scales.SCALES, {"new": E8M0Scale("new", 8, multiplied_bits=1, id=3)})
    from hwsim.pe.activations import ACTIVATIONS, ActivationFormat  # takes the names that are there

    new = ActivationFormat("new", FloatType(3, 4, 3), "test", 5)
    _in_front(ACTIVATIONS, {"new": new})


def _in_front(entries: dict[str, Any], new: dict[str, Any]) -> None:
    old = dict(entries)
    entries.clear()
    entries.update(new | old)


def facts(texts: dict[str, str]) -> dict[str, Any]:
    """Return constants, what each function says of each format, rows, terms and packets."""
    from hwsim.pe.activations import ACTIVATIONS

    return {
        "constants": constants(texts["terms_pkg.sv"]),
        "functions": functions(texts["terms_pkg.sv"]),
        "rows": rows(texts["term_table.sv"]),
        "terms": {name: terms(name) for name in formats()},
        "packets": {name: packets(name) for name in formats()},
        "activations": {name: form.id for name, form in ACTIVATIONS.items()},
    }


def formats() -> list[str]:
    """The names of all formats that have terms and a number."""
    from hwsim.tile.side_band import rtl_formats

    return list(rtl_formats())


def constants(text: str) -> dict[str, int]:
    """Parameters and enumeration constants."""
    found = (CONSTANT.match(line.strip()) for line in text.splitlines())
    return {each[1]: int(each[2]) for each in found if each}


def functions(text: str) -> dict[str, list[str]]:
    """The lines of each function's case of a format, numbers without their widths."""
    found: dict[str, list[str]] = {}
    for function, body in re.findall(
        r"automatic \S+ .*?(\w+)\(format_e (.*?)endfunction", text, re.S
    ):
        for name, lines in re.findall(r"(Fmt\w+): begin\n(.*?)      end\n", body, re.S):
            plain = LITERAL.sub(lambda n: str(int(n[2], BASES[n[1]])), lines)
            found[f"{function} {name}"] = [line.strip() for line in plain.splitlines()]
    return found


def rows(text: str) -> dict[str, str]:
    """The cases of each row of the table."""
    found = re.findall(r"gen_row_(\d+)\n(.*?)  end else", text, re.S)
    return {number: re.sub(r"\s+", " ", body) for number, body in found}


def terms(name: str) -> int:
    """Checksum of a format's table."""
    from hwsim.pe import term_table

    table = term_table(name)
    arrays = (table.sign, table.man, table.exp, np.array(table.significance))
    return zlib.crc32(b"".join(array.tobytes() for array in arrays))


def packets(name: str) -> list[int]:
    """Side bands and a checksum of the words of small layers, for each kind of scale it takes."""
    import quant
    from hwsim.pe.operands import pe_scales, weights
    from hwsim.tile.packets import jobs
    from hwsim.tile.tile import Tile

    weight = np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32)
    own = quant.parse_spec(name, default_scale="int8").scale.name
    kinds = [kind for kind in pe_scales() if kind != "new"] if own == "int8" else [own]
    found: list[int] = []
    for kind in kinds:
        operand, rule = weights(quant.quantize(weight, name, scale=kind), None)
        words = rule.activations.words(np.ones((1, 32)))
        tile = Tile(rows=2, columns=1, arithmetic=rule)
        every = [packet for job in jobs(operand, words, tile, "fp16") for packet in job.packets]
        found += [packet.user.word for packet in every]
        found.append(zlib.crc32(b"".join(packet.weights.tobytes() for packet in every)))
    return found


def prove(folder: Path, texts: dict[str, str]) -> None:
    """Put the Verilog with other generated files into a folder, and prove its decoder."""
    from hwsim.verilog.sources import RTL
    from tests.verification import formal

    shutil.copytree(RTL, folder / "rtl")
    for name, text in texts.items():
        (folder / "rtl/generated" / name).write_text(text, encoding="utf-8")
    for proof in formal.PROOFS:
        if proof.name == "weight_decoder":
            done = formal.prove(proof, folder, folder / "rtl")
            assert done.holds, done.text[-2000:]
            print("proved", proof.parameters[0])


def main(folder: Path, joined: bool) -> None:
    """Write the facts; with new entries, the Verilog too."""
    if joined:
        join()
    from hwsim.verilog.export import files

    texts = files()
    (folder / "facts.json").write_text(json.dumps(facts(texts)), encoding="utf-8")
    if joined:
        prove(folder, texts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "joined" in sys.argv[2:])
