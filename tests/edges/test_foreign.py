"""Other people's exceptions: what each means, on one line; nothing of theirs gets through."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant.common.boundary import defect, one_line, outcome
from quant.common.errors import HwsimError, RequestError
from quant.common.foreign import CLASSES, explained, foreign
from quant.common.stops import Stopped
from quant.common.tables import to_text

OTHERS = {"pyo3_runtime", "safetensors_rust", "httpx", "tomllib._parser"}
"""Modules of other versions than those that are installed, or of no file."""
Panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})


def panic() -> None:
    raise Panic("range end index 9 out of range")


def nested() -> None:
    json.loads("[" * 200_000)


def strict() -> None:
    hub = pytest.importorskip("huggingface_hub.errors", reason="needs the extra models")
    raise hub.StrictDataclassFieldValidationError("layers", TypeError("int is expected"))


def tensors() -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="needs the extra models")
    safetensors.load(b"\xff" * 64)


def tokenizer() -> None:
    pytest.importorskip("tokenizers", reason="needs the extra models").Tokenizer.from_str("{}")


def torch_memory() -> None:
    pytest.importorskip("torch", reason="needs the extra models").zeros(1 << 50)


REQUESTS: list[Callable[[], object]] = [
    lambda: zlib.decompress(b"not at all"),
    lambda: lzma.decompress(b"not at all"),
    lambda: gzip.decompress(b"not at all"),
    lambda: gzip.decompress(gzip.compress(b"cut")[:-4]),  # EOFError
    lambda: zipfile.ZipFile(io.BytesIO(b"no")),
    lambda: tarfile.open(fileobj=io.BytesIO(b"no")),  # noqa: SIM115  nothing is opened
    lambda: struct.unpack("<Q", b"abc"),
    lambda: pickle.loads(b"garbage"),
    b"\xff\xfe".decode,
    "\ud800".encode,
    lambda: json.loads("{"),
    lambda: tomllib.loads("a ="),
    lambda: json.loads("9" * 5000),
    lambda: int("9" * 5000),
    lambda: open("no/such/file"),  # noqa: PTH123, SIM115  the built-in's own exception
    lambda: Path("n" * 5000).read_text(encoding="utf-8"),
    lambda: Path("null\0").read_text(encoding="utf-8"),
    lambda: Path("/").read_text(encoding="utf-8"),
    lambda: np.int64(1 << 70),
    nested, strict, tensors, tokenizer, panic,
]  # fmt: skip
FAILURES: list[Callable[[], object]] = [
    lambda: np.zeros(1 << 50),
    lambda: np.zeros((1 << 62, 1 << 62)),
    lambda: np.linalg.cholesky(np.zeros((2, 2))),
    lambda: Path("/dev/full").write_text("x", encoding="utf-8"),
    torch_memory,
]


def raised(action: Callable[[], object]) -> BaseException:
    try:
        action()
    except BaseException as error:  # whatever it is
        if isinstance(error, pytest.skip.Exception):
            raise
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("action", REQUESTS)
def test_what_is_wrong_with_an_input_is_a_request_error(action: Callable[[], object]) -> None:
    error = raised(action)
    ours = explained(error)
    assert isinstance(ours, RequestError), error
    code, said = outcome(error)
    assert code == 2
    assert said == str(ours)
    assert "\n" not in said
    assert len(said) < 500
    assert "; " in said, "what is wrong, and what to do"


@pytest.mark.parametrize("action", FAILURES)
def test_what_the_machine_lacks_is_a_failure(action: Callable[[], object]) -> None:
    error = raised(action)
    ours = explained(error)
    assert isinstance(ours, HwsimError), error
    assert not isinstance(ours, RequestError)
    assert outcome(error) == (1, str(ours))


@pytest.mark.parametrize("name", CLASSES)
def test_the_table_names_classes_that_exist(name: str) -> None:
    module, _, kind = name.rpartition(".")
    if module in OTHERS:
        return
    found: Any = getattr(pytest.importorskip(module, reason=f"needs {module}"), kind)
    assert f"{found.__module__}.{found.__qualname__}" == name


@pytest.mark.parametrize("action", [a for a in REQUESTS if a is not strict])
def test_a_parser_names_the_file_that_it_reads(action: Callable[[], object]) -> None:
    with pytest.raises(RequestError, match=r"^weights\.bin: "), foreign("weights.bin"):
        action()


def test_a_parser_that_lacks_memory_is_no_wrong_request() -> None:
    expected = pytest.raises(HwsimError, match=r"^weights\.bin: not enough memory")
    with expected as error, foreign("weights.bin"):
        np.zeros(1 << 50)
    assert not isinstance(error.value, RequestError)


def test_a_parser_with_a_fault_of_its_own_is_a_wrong_request() -> None:
    expected = pytest.raises(RequestError, match=r"^a\.json: .*AttributeError: 'NoneType'.*; ")
    with expected, foreign("a.json"):
        json.loads("null").keys()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stopped(15), SystemExit(3)])
def test_a_parser_lets_through_what_is_no_fault(error: BaseException) -> None:
    with pytest.raises(type(error)), foreign("a.json"):
        raise error


def test_our_own_exceptions_stay_as_they_are() -> None:
    error = RequestError("the request is wrong")
    with pytest.raises(RequestError, match=r"^the request is wrong$"), foreign("a.json"):
        raise error
    assert outcome(error) == (2, "the request is wrong")


def test_a_package_that_is_missing_is_named() -> None:
    code, said = outcome(raised(lambda: importlib.import_module("no_such_package.part")))
    assert code == 2
    assert "no_such_package" in said
    assert "pip install" in said


def test_a_module_of_ours_that_is_missing_is_a_fault_of_ours() -> None:
    code, said = outcome(raised(lambda: importlib.import_module("quant.no_such_module")))
    assert code == 1
    assert "please report" in said


def test_a_fault_of_ours_says_what_where_and_asks_for_a_report() -> None:
    error = raised(lambda: to_text(None))  # type: ignore[arg-type]  # the fault
    code, said = outcome(error)
    assert code == 1
    assert said == defect(error)
    assert "AttributeError: " in said
    assert " at quant/common/tables.py:" in said
    assert "please report" in said
    assert "HWSIM_TRACEBACK=1" in said


def test_a_line_moves_no_cursor() -> None:
    assert one_line("a\nb\x1b[2J\u202ec") == "a b\\x1b[2J\\u202ec"


@pytest.mark.parametrize("number", [28, 5])
def test_errors_of_the_system_that_rust_tells_are_failures(number: int) -> None:
    """Its library raises the bare class; a full disk is no fault of what was given."""
    said = f"{os.strerror(number)} (os error {number})"
    assert outcome(Exception(said)) == outcome(OSError(number, said))
    assert outcome(Exception(said))[0] == 1
