"""Sizes are compared with what there is before anything is allocated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hwsim
import quant
import roofline
from quant.common import sizes
from quant.common.errors import RequestError
from quant.common.options import numbers
from quant.common.sizes import VARIABLE, available_memory, need_count, need_memory, stated_limit
from roofline.workloads.scenarios import chunked_prefill

ROOT = Path(__file__).parents[2]
HUGE = 10**12
WIDE = np.broadcast_to(np.float32(1), (1 << 20, 1 << 20))


def codes() -> quant.QuantizedTensor:
    return quant.quantize(np.ones((4, 128), np.float32), "int4", scale="int8")


def tensor() -> object:
    return pytest.importorskip("torch", reason="needs the extra models").ones(1).expand(HUGE, 64)


REQUESTS: dict[str, Callable[[], object]] = {
    "expanded weight": lambda: quant.quantize(WIDE, "int4"),
    "expanded tensor": lambda: quant.quantize(tensor(), "int4"),
    "expanded activations": lambda: hwsim.pe.matmul(
        codes(), np.broadcast_to(np.float16(1), (HUGE, 128))
    ),
    "sweep": lambda: roofline.sweep(
        "smollm2-135m", batch=range(1, 10**6), context=range(1, 10**6)
    ),
    "endless sweep": lambda: roofline.sweep("smollm2-135m", batch=range(1, 10**30)),
    "axis": lambda: hwsim.DesignSpace("bitmod", {"clock": range(1, 10**6)}),
    "endless axis": lambda: hwsim.DesignSpace("bitmod", {"tiles": range(1, 10**30)}),
    "grid": lambda: hwsim.sweep(
        hwsim.DesignSpace(
            "bitmod",
            {key: hwsim.log(1, 9, 400) for key in ("layout.area", "layout.power", "clock")},
        ),
        "smollm2-135m",
    ),
    "levels": lambda: quant.user_format("many", range(HUGE)),
    "endless levels": lambda: quant.user_format("many", range(10**30)),
    "generate": lambda: roofline.scenario("smollm2-135m", generate=HUGE),
    "chunks": lambda: chunked_prefill("smollm2-135m", HUGE, 1),
    "batch": lambda: roofline.workload("smollm2-135m", batch=10**30),
    "context": lambda: roofline.workload("smollm2-135m", "decode", context=10**30),
    "layers": lambda: roofline.workload(
        {
            "model_type": "llama", "num_hidden_layers": 10**9, "hidden_size": 64,
            "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 64,
        }
    ),
    "range": lambda: numbers(["1:1000000000000"], [], "batch"),
    "endless range": lambda: numbers([f"1:{10**40}"], [], "batch"),
}  # fmt: skip
LINES = (
    "roofline report llama-2-7b h100-sxm --batch 1000000000000000000000",
    "roofline sweep llama-2-7b h100-sxm --context 1:1000000000000",
    "hwsim simulate llama-2-7b bitmod --generate 1000000000000",
    "roofline report llama-2-7b h100-sxm --batch " + "9" * 5000,
)


@pytest.mark.parametrize("what", REQUESTS)
def test_what_no_machine_holds_is_refused_on_one_line(what: str) -> None:
    with pytest.raises(RequestError) as error:
        REQUESTS[what]()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_with_a_number_too_large_is_one_line(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *line.split()],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_the_stated_limit_comes_before_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1.5MiB")
    need_memory(1.5 * (1 << 20), "this")
    with pytest.raises(RequestError, match=r"^this needs about 0\.0 GiB .*HWSIM_MEMORY_LIMIT"):
        need_memory(2 << 20, "this")
    monkeypatch.setenv(VARIABLE, "none")
    need_memory(10**40, "this")


@pytest.mark.parametrize(
    ("text", "size"), [("24GiB", 24 << 30), ("3 gb", 3e9), ("512", 512), ("2K", 2048)]
)
def test_a_limit_is_a_size(text: str, size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert stated_limit() == size


@pytest.mark.parametrize("text", ["-1", "much", "5 furlongs", "1e3"])
def test_a_limit_that_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(RequestError, match=r"a size such as 24GiB is needed, or none"):
        need_memory(1, "this")


def test_what_there_is_is_the_least_of_machine_groups_and_own_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  1000 kB\n")
    own, group = tmp_path / "self", tmp_path / "cgroup/box/inner"
    own.mkdir()
    group.mkdir(parents=True)
    (own / "cgroup").write_text("0::/box/inner\n")
    (own / "status").write_text("VmSize: 1 kB\nVmData: 1 kB\n")
    for name, value in (
        ("MEMINFO", tmp_path / "meminfo"), ("PROCESS", own), ("GROUPS", tmp_path / "cgroup"),
    ):  # fmt: skip
        monkeypatch.setattr(sizes, name, value)
    assert available_memory() == 1000 * 1024
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("500\n")
    assert available_memory() == 1000 * 1024
    (group.parent / "memory.max").write_text("900000\n")
    (group.parent / "memory.current").write_text("700000\n")
    (group.parent / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    assert available_memory() == 300000


def test_the_address_space_of_a_process_counts() -> None:
    resource = pytest.importorskip("resource", reason="limits of processes need it")
    assert resource.getrlimit(resource.RLIMIT_AS)
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "from quant.common.sizes import available_memory; print(available_memory() < 1 << 30)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout == "True\n", done.stderr


def test_counts_are_said_in_figures_that_can_be_read() -> None:
    with pytest.raises(RequestError, match=r"^2,000 chunks: at most 1,000 are allowed; "):
        need_count(2000, 1000, "chunks")
    with pytest.raises(RequestError, match=r"^1e\+30 chunks: "):
        need_count(10**30, 1000, "chunks")
