"""Machine files: what each key means, and that every fault is named with file and key."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hwsim
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import FOLDER, accelerator_names, load_accelerator
from hwsim.machines.template import write_machine
from hwsim.report.machine import machine_report, numbers
from hwsim.simulation.simulate import machine_formats
from hwsim.testing.machines import sourced
from quant.common.errors import RequestError


def changed(folder: Path, base: str, *changes: tuple[str, str]) -> Path:
    """A built-in machine's file with some text replaced."""
    text = (FOLDER / f"{base}.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "changed.toml"
    path.write_text(text, encoding="utf-8")
    return path


ROW8 = "int8:row:fp16"
DEFAULTS = {
    "anda": ("int4-asym:g128:fp16", "mxint8:g64:e8m0", "int8:g128:fp16", "int8:g128:fp16"),
    **dict.fromkeys(("bitvert", "bitwave", "pragmatic", "stripes", "int8"), (ROW8,) * 4),
    "ant": ("ant4:row:fp16", "fp16", "int8:row:fp16", "int8:row:fp16"),
    "bitmod-hpca25": ("bitmod4:g128:int8", "fp16", "int8:g128:int8", "int8:g128:int8"),
    "figna": ("int4-asym:g128:fp16", "fp16", "int8:g128:fp16", "int8:g128:fp16"),
    "mxfp4": ("mxfp4:g32:e8m0", "mxfp4:g32:e8m0", "mxfp4:g32:e8m0", "mxfp4:g32:e8m0"),
    "olive": ("olive-int4:row:fp16", "fp16", "int8:row:fp16", "int8:row:fp16"),
    "bitmod": ("bitmod4:g128:int8", "fp16", "int8:g128:int8", "int8:g128:int8"),
    "bitmod-rtl": ("bitmod4:g128:int8", "fp16", "int8:g128:int8", "int8:g128:int8"),
    "fp16": ("fp16", "fp16", "fp16", "fp16"),
}


@pytest.mark.parametrize("name", accelerator_names())
def test_defaults_come_from_the_file(name: str) -> None:
    keys = ("weights", "activations", "kv", "head", "flash")
    formats = machine_formats(load_accelerator(name))
    assert formats == dict(zip(keys, (*DEFAULTS[name], True), strict=True))


def test_the_default_weights_are_the_first_where_none_is_given(tmp_path: Path) -> None:
    path = changed(tmp_path, "bitmod", ('default_weights = "bitmod4"', ""))
    assert str(load_accelerator(path).default_weights) == "int2:g128:int8"
    path = changed(tmp_path, "bitmod", ('"bitmod4"\na', '"int5:g64"\na'))
    assert machine_formats(load_accelerator(path))["weights"] == "int5:g64:int8"


def test_formats_of_a_file_take_its_group_and_scale(tmp_path: Path) -> None:
    short = ('head = "int8:g128:int8"', 'head = "int8"'), ('kv = "int8:g128:int8"', 'kv = "int4"')
    path = changed(tmp_path, "bitmod", *short, ("group_size = 128", "group_size = 64"))
    formats = machine_formats(load_accelerator(path))
    assert (formats["head"], formats["kv"]) == ("int8:g64:int8", "int4:g64:int8")


@pytest.mark.parametrize("name", accelerator_names())
def test_what_a_machine_runs(name: str) -> None:
    machine = load_accelerator(name)
    peaks = machine.hardware_spec().peak_weights
    assert peaks is not None
    assert {*peaks} == {*machine.weights}
    pes = machine.tiles.pes
    for format_ in machine.weights:
        spec = machine.spec(format_)
        skipping = machine.pe.skipping(spec)
        steps = machine.steps(spec) if skipping is None else skipping.least_steps
        assert 1 <= steps <= machine.timing(spec).steps <= machine.steps(spec)
        assert peaks[format_].value == 2 * pes * machine.pe.lanes / steps * machine.clock_hz.value
    assert machine.spec(machine.head) is machine.head
    with pytest.raises(RequestError, match=f"{name} cannot run 'nf4'; it runs: "):
        machine.spec("nf4")


FAULTS: list[tuple[str, str, str, str]] = [
    ("bitmod", "lanes = 4", "lanes = 0", r"pe\.lanes = 0: above 0 and at most 1024"),
    ("bitmod", "lanes = 4", "lanes = 17", r"pe\.lanes 17 is not allowed: at most 16"),
    (
        "bitmod",
        "lanes = 4",
        "lanes = 4\nexponent_bits = 1",
        r"pe\.exponent_bits 1 .*: at least 2",
    ),
    ("bitmod", "lanes = 4", "lanes = 4\nwidth = 1", r"pe\.width: no such key"),
    ("fp16", "value = 0.626e-12", "value = -1", r"pe\.step_j = -1\.0: above 0"),
    ("fp16", "idle_share = { value = 1.0", "idle_share = { value = 2", r"pe\.idle_share = 2\.0: 0"),
    ("fp16", "value = 1.5,", "value = 0,", r"layout\.power = 0\.0: above 0"),
    ("fp16", "value = 0.144e-3", "value = -1", r"pe\.leakage_w = -1\.0: 0 or more"),
    ("fp16", "value = 1968.7", "value = inf", r"pe\.area_um2 = inf: above 0"),
    ("fp16", "value = 1e9", "value = nan", r"clock_hz = nan: above 0"),
    ("fp16", "rows = 8", "rows = 0", r"tiles\.rows = 0: above 0"),
    ("fp16", "columns = 8", "columns = -2", r"tiles\.columns = -2: above 0"),
    (
        "fp16",
        "count = 12",
        "count = 1000000000000",
        r"tiles\.count = 1000000000000: above 0 and at",
    ),
    ("fp16", "count = 12", "count = 1.5", r"tiles\.count: Input should be a valid integer"),
    ("bitmod", "rows = 8", "rows = 65", r"tiles\.rows = 65: at most 64 of a bit-serial element"),
    (
        "fp16",
        "port_bits = 1024\n\n[v",
        "port_bits = 0\n\n[v",
        r"activation_buffer\.port_bits = 0: above 0",
    ),
    (
        "fp16",
        "port_bits = 1024\n\n[v",
        "port_bits = 1\n\n[v",
        r"activation_buffer: 8 banks of 65536 bytes and 0",
    ),
    ("fp16", "bytes = 524288", "bytes = 1", r"weight_buffer: 8 banks of 0\.125 bytes"),
    ("fp16", "value = 32e9", "value = 0", r"dram\.bytes_per_s = 0\.0: above 0"),
    ("fp16", "[layout]", 'type = "lpddr6"\n[layout]', r"dram\.type: unknown dram type 'lpddr6'"),
    ("fp16", "[layout]", 'type = "lpddr5"\n[layout]', r"dram\.bytes_per_s: not beside dram\.type"),
    ("fp16", "latency_s = {", "latency = {", r"dram\.latency: no such key"),
    (
        "fp16",
        "columns = 8",
        'columns = 8\nsharing = "all"',
        r"tiles\.sharing: Input should be 'any'",
    ),
    ("bitmod", "lanes = 4", "lanes = 4\ndigit_bits = 3", r"pe\.digit_bits = 3: 1, 2, 4 or 8"),
    ("fp16", 'weights = ["fp16"]', "weights = []", r"weights: at least one format"),
    ("fp16", 'weights = ["fp16"]', 'weights = ["fp17"]', r"weights: unknown format 'fp17'"),
    ("fp16", 'kv = "fp16"', 'kv = "int8"', r"kv: fp16 cannot run 'int8'"),
    ("fp16", 'head = "fp16"', 'head = "int8:g0"', r"head: "),
    ("fp16", 'scale = "fp16"', 'scale = "fp18"', r"scale: unknown scale 'fp18'"),
    ("fp16", "group_size = 128", "group_size = 0", r"group_size = 0: above 0"),
    ("fp16", 'activations = "fp16"', 'activations = "fp17"', r"activations: unknown format"),
    ("bitmod", 'activations = "fp16"', 'activations = "fp4"', r"activations: unknown activation"),
    ("bitmod", '"bitmod3"', '"nf4"', r"weights: format 'nf4' cannot run on a bit-serial PE"),
    ("bitmod", '"bitmod3"', '"fp8-e5m2"', r"weights: format 'fp8-e5m2' needs terms"),
    (
        "bitmod",
        "group_size = 128",
        "group_size = 65537",
        "group_size 65537 .*: at most 65536",
    ),
    ("bitmod", 'scale = "int8"', 'scale = "fp16"', r"scale: unknown scale 'fp16'"),
    ("bitmod-rtl", '"e4m3"]', '"fp32"]', r"scales: unknown scale 'fp32'"),
    ("bitmod", '= "bitmod4"\n', '= "fp16"\n', r"default_weights: bitmod cannot run 'fp16'"),
    ("bitmod", '= "bitmod4"\n', '= "bitmod5"\n', r"default_weights: unknown format 'bitmod5'"),
    ("bitmod", 'kv = "int8:g128:int8"', 'kv = "int8:fp16"', r"kv: bitmod takes scales int8, not"),
    ("bitmod", 'kind = "bit-serial"', 'kind = "bit-cereal"', r"kind: .*nearest: bit-serial"),
    ("bitmod", 'kind = "bit-serial"', "", r"kind: unknown element kind ''"),
    ("bitmod", 'name = "bitmod"', "name = 1", r"name: Input should be a valid string"),
    ("bitmod", "[dram]", "[drum]", r"drum: no such key .*; dram: Field required"),
]


@pytest.mark.parametrize(("base", "old", "new", "message"), FAULTS, ids=lambda text: str(text)[:30])
def test_a_fault_names_file_and_key(
    tmp_path: Path, base: str, old: str, new: str, message: str
) -> None:
    path = changed(tmp_path, base, (old, new))
    with pytest.raises(RequestError) as error:
        load_accelerator(path)
    assert re.search(f"^{re.escape(str(path))}: {message}", str(error.value))
    assert "\n" not in str(error.value)


TOGETHER: list[tuple[list[tuple[str, str]], str]] = [
    (
        [("rows = 8", "rows = -1"), ("lanes = 4", "lanes = 0")],
        r"pe\.lanes = 0: above 0 .*; tiles\.rows = -1: above 0",
    ),
    (
        [('"bitmod3"', '"nf4"'), ('"int2"', '"int99"'), ('kv = "int8', 'kv = "intt')],
        r"weights: unknown format 'int99'.*; weights: format 'nf4'.*; kv: unknown format",
    ),
    (
        [
            ("lanes = 4", "lanes = 99\nexponent_bits = 6"),
            ("group_size = 128", "group_size = 99999"),
        ],
        r"pe\.lanes 99 .*; pe\.exponent_bits 6 .*; group_size 99999 ",
    ),
    (
        [('kv = "int8', 'kv = "nf4'), ('head = "int8', 'head = "int1')],
        r"kv: bitmod cannot run .*; head: bitmod cannot run",
    ),
]


@pytest.mark.parametrize(("changes", "message"), TOGETHER)
def test_faults_are_listed_together(
    tmp_path: Path, changes: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        load_accelerator(changed(tmp_path, "bitmod", *changes))


def test_unknown_machines_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nearest: bitmod"):
        load_accelerator("bitmood")
    with pytest.raises(RequestError, match=r"gone\.toml: no such file"):
        load_accelerator(tmp_path / "gone.toml")


def test_a_file_of_ones_own_begins_as_a_built_in_one(tmp_path: Path) -> None:
    for name in accelerator_names():
        path = tmp_path / f"my-{name}.toml"
        write_machine(name, path)
        assert replace(load_accelerator(path), name=name) == load_accelerator(name)
        assert "# [tiles]: " in path.read_text()
        with pytest.raises(RequestError, match="is there already"):
            write_machine(name, path)
    with pytest.raises(RequestError, match=r"a name that ends in \.toml"):
        write_machine("bitmod", tmp_path / "x.txt")
    with pytest.raises(RequestError, match="nearest: bitmod"):
        write_machine("bitmood", tmp_path / "x.toml")


def test_every_number_of_a_machine_is_shown_with_its_source() -> None:
    machine = load_accelerator("bitmod")
    rows = {str(row["key"]): row for row in numbers(machine, "")}
    for key in ("pe.lanes", "tiles.count", "weight_buffer.port_bits", "group_size"):
        assert isinstance(rows[key]["value"], int)
    sources = list(sourced(machine))
    lists = ("weights", "scales")  # whose texts stand there
    assert sum(bool(row["source"]) for key, row in rows.items() if key not in lists) == len(sources)
    drawn = machine_report(machine).figure
    assert drawn is not None
    texts = " ".join(text.get_text() for text in drawn().axes[0].texts)
    for fact in ("13 tiles of 8 x 8", "4 lanes", "512 KiB, 8 banks", "1024 b", "32 GB/s"):
        assert fact in texts


HEAVY = ("torch", "numba", "pandas", "scipy", "matplotlib")


def run(code: str) -> str:
    """The last line that a fresh interpreter prints."""
    line = [sys.executable, "-c", code]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def test_import_is_light() -> None:
    loaded = f"print([name for name in {HEAVY} if name in sys.modules])"
    assert run(f"import hwsim, sys; {loaded}") == "[]"
    assert run(f"import hwsim, sys; hwsim.load_accelerator('bitmod'); {loaded}") == "[]"


def test_every_public_name_is_there() -> None:
    names = {"Accelerator", "DesignSpace", "SimulationResult", "accelerator_names", "codesign"}
    names |= {"Sweep", "iso_area", "limit", "load_accelerator", "log", "pe", "pow2", "simulate"}
    names |= {"sweep"}
    assert names <= {*hwsim.__all__} <= {*dir(hwsim)}
    assert all(callable(getattr(hwsim, name)) for name in names - {"pe"})
    assert hwsim.Accelerator is Accelerator
    assert run("import hwsim; print(hwsim.pe.matmul.__name__)") == "matmul"
    with pytest.raises(AttributeError, match="'hwsim' has no attribute 'simulat'"):
        _ = hwsim.simulat
