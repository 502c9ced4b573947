"""Sensitivities: what they are, and that what they depend on is in the key they are kept under."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import quant
from hwsim.study import fingerprint, sensitivity
from hwsim.study.sensitivity import cache_key, calibrate, sensitivities, total
from quant.common import versions
from quant.common.errors import RequestError
from quant.formats.format import Format
from quant.formats.rules import ABSMAX, Extremes, ScaleRule
from quant.formats.spec import FormatSpec, parse_spec
from quant.layers.matrices import linear_layers
from tests.own.tiny_llama import tiny_llama

ROOT = Path(__file__).parents[2]
FORMATS = ("int4:g32", "bitmod3:g32:int8")


class Case(NamedTuple):
    """What a sensitivity is asked for."""

    model: Any
    tokens: torch.Tensor
    layers: list[str]
    formats: list[FormatSpec]

    @property
    def key(self) -> str | None:
        return cache_key(*self)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny", hidden=32)


@pytest.fixture(scope="module")
def first_key(folder: Path) -> str:
    key = case(folder).key
    assert key is not None
    return key


@pytest.fixture(autouse=True)
def one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of the test's own, and no threads that wait for each other in so small a model."""
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def case(folder: Path) -> Case:
    model, _ = quant.load_model(folder)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 256, 1024))
    layers = [path for path in linear_layers(model) if path != "lm_head"]
    return Case(model, tokens, layers, [parse_spec(text) for text in FORMATS])


def with_formats(case: Case, *formats: FormatSpec) -> Case:
    return case._replace(formats=list(formats))


def changed_format(case: Case, **fields: Any) -> Case:  # noqa: ANN401  any field of a Format
    """The first format with another fact, under the same name."""
    spec = case.formats[0]
    entry = dataclasses.replace(spec.format, **fields)
    return with_formats(case, dataclasses.replace(spec, format=entry), *case.formats[1:])


def changed_weight(case: Case, name: str, at: int) -> Case:
    """One number of a parameter or buffer by one step of float32."""
    values = {**dict(case.model.named_parameters()), **dict(case.model.named_buffers())}
    flat = values[name].data.view(-1)
    flat[at] = torch.nextafter(flat[at], torch.tensor(torch.inf))
    return case


def swapped_weights(case: Case) -> Case:
    """Two numbers of a weight change places: every sum stays as it was."""
    flat = case.model.model.layers[1].mlp.down_proj.weight.data.view(-1)
    flat[[-1, -2]] = flat[[-2, -1]]
    return case


def changed_attribute(case: Case, path: str, name: str, value: object) -> Case:
    setattr(case.model.get_submodule(path), name, value)
    return case


def changed_config(case: Case, name: str, value: object) -> Case:
    setattr(case.model.config, name, value)
    return case


class OtherNorm(nn.Module):
    """A norm whose class is another, with the same weight."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.variance_epsilon = 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def other_module(case: Case) -> Case:
    weight = case.model.model.norm.weight.detach()
    case.model.model.norm = OtherNorm(weight)
    return case


def to_dtype(case: Case) -> Case:
    return case._replace(model=case.model.bfloat16())


def own_rule(factor: float) -> ScaleRule:
    """A rule that holds a number in its closure."""

    def raw(seen: Extremes) -> np.ndarray:
        scaled: np.ndarray = ABSMAX.raw(seen) * np.float32(factor)
        return scaled

    return ScaleRule("own", raw)


def with_rule(case: Case, factor: float) -> Case:
    rule = own_rule(factor)
    entry = dataclasses.replace(case.formats[0].format, rules=(rule,))
    return with_formats(case, FormatSpec(entry, 32, case.formats[0].scale), case.formats[1])


def grid(levels: tuple[float, ...], **options: Any) -> Format:  # noqa: ANN401  user_format's
    """A grid of the user's as another process would register it under the same name."""
    entry = quant.user_format("own-grid", levels, **options)
    del quant.formats.registry.FORMATS["own-grid"]
    return entry


def with_grid(case: Case, levels: tuple[float, ...], **options: Any) -> Case:  # noqa: ANN401
    return with_formats(case, FormatSpec(grid(levels, **options), 32))


LEVELS = (-1.0, -0.25, 0.5, 1.0)
CHANGES: dict[str, Callable[[Case], Case]] = {
    "first weight": partial(changed_weight, name="model.embed_tokens.weight", at=0),
    # Beyond the 4096 numbers that the key once looked at, and too little to move a float64 sum.
    "last weight": partial(
        changed_weight, name="model.layers.1.mlp.down_proj.weight", at=32 * 64 - 1
    ),
    "late weight of the embeddings": partial(
        changed_weight, name="model.embed_tokens.weight", at=256 * 32 - 1
    ),
    "order of weights": swapped_weights,
    "weight of a norm": partial(changed_weight, name="model.norm.weight", at=3),
    "buffer": partial(changed_weight, name="model.rotary_emb.inv_freq", at=1),
    "data type": to_dtype,
    "setting of a module": partial(
        changed_attribute, path="model.norm", name="variance_epsilon", value=1e-3
    ),
    "dropout": partial(
        changed_attribute, path="model.layers.0.self_attn", name="attention_dropout", value=0.5
    ),
    "training": partial(changed_attribute, path="model.layers.0", name="training", value=True),
    "config": partial(changed_config, name="rope_theta", value=5e5),
    "attention": partial(changed_config, name="_attn_implementation", value="eager"),
    "class of a module": other_module,
    "text": lambda case: case._replace(tokens=torch.cat([case.tokens[:-1], case.tokens[:1] ^ 1])),
    "length of the text": lambda case: case._replace(tokens=case.tokens[:512]),
    "layers": lambda case: case._replace(layers=case.layers[1:]),
    "order of layers": lambda case: case._replace(layers=case.layers[::-1]),
    "formats": lambda case: with_formats(case, *case.formats, parse_spec("int5:g32")),
    "group": lambda case: with_formats(case, parse_spec("int4:g16"), case.formats[1]),
    "scale": lambda case: with_formats(case, parse_spec("int4:g32:int8"), case.formats[1]),
    "rule": lambda case: with_formats(case, parse_spec("int4:g32:full-range"), case.formats[1]),
    "element": lambda case: changed_format(case, element=parse_spec("int5").format.element),
    "ties": lambda case: changed_format(case, ties="upper"),
    "top": lambda case: changed_format(case, scale_top=5.0),
    "codes without use": lambda case: changed_format(case, unused=(3,)),
    "own rule": partial(with_rule, factor=1.0),
    "own rule with another number": partial(with_rule, factor=0.5),
    "own grid": partial(with_grid, levels=LEVELS),
    "own grid with another level": partial(with_grid, levels=(*LEVELS[:3], 1.5)),
    "own grid with other codes": partial(with_grid, levels=LEVELS[::-1]),
    "own grid with other ties": partial(with_grid, levels=LEVELS, ties="even"),
}


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str | None]:
    return {name: change(case(folder)).key for name, change in CHANGES.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_the_key_depends_on(name: str, keys: dict[str, str | None], first_key: str) -> None:
    assert keys[name] is not None
    others = {first_key, *(key for other, key in keys.items() if other != name)}
    assert keys[name] not in others


def other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.0" if name == "torch" else version(name)
    )


def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if one file of the code that rounds had another content."""
    content = Path.read_bytes
    versions.own_code.cache_clear()
    monkeypatch.setattr(
        Path,
        "read_bytes",
        lambda path: b"edited" if path.name == "reference.py" else content(path),
    )


def other_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")


@pytest.mark.parametrize(
    "change",
    [
        other_version,
        other_code,
        other_precision,
        lambda patch: patch.setattr(sensitivity, "SCHEMA", "kfac/0"),
        lambda patch: patch.setattr(sensitivity, "CONTEXT", 256),
    ],
)
def test_the_key_depends_on_what_computes(
    change: Callable[[pytest.MonkeyPatch], None],
    folder: Path,
    first_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = case(folder)
    change(monkeypatch)
    assert asked.key != first_key
    versions.own_code.cache_clear()


def test_the_same_gives_the_same_key(folder: Path, first_key: str, tmp_path: Path) -> None:
    asked = case(folder)
    calibrate(asked.model, asked.tokens, asked.layers)  # hooks come and go
    asked.model.requires_grad_(requires_grad=False)
    assert asked.key == first_key
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert case(tmp_path / "elsewhere").key == first_key
    again = case(folder)
    assert with_grid(again, LEVELS).key == with_grid(again, LEVELS).key
    assert with_rule(again, 0.5).key == with_rule(again, 0.5).key


def test_another_process_gives_the_same_key(folder: Path, first_key: str) -> None:
    code = "import sys; from pathlib import Path; from tests.hwsim.test_sensitivity import case; "
    code += "print(case(Path(sys.argv[1])).key)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert done.stdout.split() == [first_key]


GRIDS = """
import json, sys
from pathlib import Path
import quant
from tests.hwsim.test_sensitivity import case
quant.user_format("mine", json.loads(sys.argv[2]))
from hwsim.study.sensitivity import sensitivities
asked = case(Path(sys.argv[1]))
frame = sensitivities(asked.model, asked.tokens, asked.layers[:2], [quant.parse_spec("mine:g32")])
print(json.dumps(frame["mine:g32:fp16"].tolist()))
"""


def test_grids_of_one_name_in_two_processes_share_no_result(folder: Path, tmp_path: Path) -> None:
    def losses(levels: list[float], cache: str) -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", GRIDS, str(folder), json.dumps(levels)],
            cwd=ROOT, capture_output=True, text=True, check=True,
            env={**os.environ, "HWSIM_CACHE": str(tmp_path / cache)},
        )  # fmt: skip
        found: list[float] = json.loads(done.stdout)
        return found

    coarse = losses([-1.0, 1.0], "shared")
    levels = [-1.0, -0.5, 0.0, 0.5, 1.0]
    fine = losses(levels, "shared")
    assert fine == losses(levels, "another")
    assert max(fine) < min(coarse)
    assert len(list((tmp_path / "shared" / "sensitivity").iterdir())) == 2


def kept_file() -> Path:
    (path,) = (Path(os.environ["HWSIM_CACHE"]) / "sensitivity").iterdir()
    return path


def test_kept_results_are_the_same_to_the_last_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = case(folder)
    first = sensitivities(*asked)
    written = kept_file().stat().st_mtime_ns

    def forbidden(*_: object) -> None:
        raise AssertionError("calibrated again")

    monkeypatch.setattr(sensitivity, "calibrate", forbidden)
    # The key depends on the code of the estimate, which is another one here.
    monkeypatch.setattr(sensitivity, "cache_key", lambda *_: kept_file().stem)
    pd.testing.assert_frame_equal(sensitivities(*asked), first, check_exact=True)
    assert kept_file().stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["a digit", "cut", "layers", "no JSON"])
def test_a_damaged_table_is_said_to_be_one_and_made_anew(
    damage: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = case(folder)
    first = sensitivities(*asked)
    path = kept_file()
    text = path.read_text()
    place = text.index("e-") + 2 if "e-" in text else text.index("0.") + 3
    other = text[:place] + ("7" if text[place] != "7" else "3") + text[place + 1 :]
    changed = {"a digit": other, "cut": text[:-40], "no JSON": "layer,int4\n"}
    changed["layers"] = text.replace("q_proj", "k_proj", 1)
    path.write_text(changed[damage])
    capsys.readouterr()
    pd.testing.assert_frame_equal(sensitivities(*asked), first, check_exact=True)
    assert "made anew" in capsys.readouterr().err
    assert path.read_text() == text


def test_code_that_is_in_no_file_is_never_kept(folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "typed_in"}
    exec("def raw(seen): return abs(seen.low)[None] + 1", names)  # as in a shell
    asked = case(folder)
    rule = ScaleRule("typed", names["raw"])
    entry = dataclasses.replace(asked.formats[0].format, rules=(rule,))
    asked = with_formats(asked, FormatSpec(entry, 32, asked.formats[0].scale))
    assert asked.key is None
    frame = sensitivities(*asked._replace(layers=asked.layers[:1]))
    assert (frame.to_numpy() > 0).all()
    assert not (Path(os.environ["HWSIM_CACHE"]) / "sensitivity").exists()


def test_the_statistics_are_those_of_the_loss(folder: Path) -> None:
    """H and G from their definitions: inputs and gradients of one window, token by token."""
    asked = case(folder)
    path = "model.layers.1.mlp.up_proj"
    window = asked.tokens[:512]
    layer, seen = asked.model.get_submodule(path), {}

    def keep(_module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> None:
        seen["x"], seen["y"] = args[0].detach()[0], output

    hook = layer.register_forward_hook(keep)
    logits = asked.model(input_ids=window[None]).logits[0, :-1]
    hook.remove()
    loss = nn.functional.cross_entropy(logits, window[1:], reduction="sum")
    (gradient,) = torch.autograd.grad(loss, seen["y"])
    known = calibrate(asked.model, window, [path])[path]
    torch.testing.assert_close(known.inputs, sum(torch.outer(x, x) for x in seen["x"]) / 512)
    torch.testing.assert_close(known.gradients, (gradient[0] ** 2).mean(0))
    weight = layer.weight.detach()
    change = torch.from_numpy(quant.quantize(weight, FORMATS[0]).dequantize()) - weight
    by_hand = 0.5 * sum(
        g * d @ known.inputs @ d for g, d in zip(known.gradients, change, strict=True)
    )
    frame = sensitivities(asked.model, window, [path], asked.formats)
    assert frame.loc[path, str(asked.formats[0])] == pytest.approx(float(by_hand), rel=1e-4)


def test_a_plain_format_costs_nothing_and_more_bits_cost_less(folder: Path) -> None:
    asked = case(folder)
    formats = [parse_spec(text) for text in ("fp16", "int8:g32", "int4:g32", "int2:g32")]
    frame = sensitivities(asked.model, asked.tokens, asked.layers[:2], formats)
    assert list(frame) == [str(spec) for spec in formats]
    assert (np.diff(frame.to_numpy(), axis=1) > 0).all()
    assert (frame["fp16"] == 0).all()
    choice = {asked.layers[0]: formats[1], asked.layers[1]: formats[2], "lm_head": formats[3]}
    values = frame.to_numpy(np.float64)
    assert total(frame, choice) == pytest.approx(values[0, 1] + values[1, 2])
    with pytest.raises(KeyError):  # not counted as zero
        total(frame, {asked.layers[0]: formats[1]})


class Odd(nn.Module):
    """A model with a convolution, and with a layer that nothing reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(16, 8)
        self.mix = nn.Conv2d(8, 8, 1)
        self.head, self.idle = nn.Linear(8, 16), nn.Linear(8, 8)

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:  # noqa: ANN401
        inputs = self.table(input_ids)
        mixed = self.mix(inputs.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
        return type("Output", (), {"logits": self.head(mixed)})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("mix", "layer mix: a linear layer of the model is needed"),
        ("nowhere", "layer nowhere: a linear layer of the model is needed"),
        ("idle", "layer idle: calibration never reached it"),
    ],
)
def test_layers_that_cannot_be_measured_are_named(layer: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        sensitivities(Odd(), torch.arange(512) % 16, [layer], [parse_spec("int4:g8")])
    with pytest.raises(RequestError, match="100 calibration tokens: at least 512"):
        calibrate(Odd(), torch.arange(100) % 16, ["head"])


def key_of(change: Callable[[torch.nn.Module], object]) -> str:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    change(model)
    return fingerprint.key(fingerprint.model_facts(model))


def permute(rows: bool) -> Callable[[torch.nn.Module], object]:
    def change(model: torch.nn.Module) -> None:
        weight = model.get_parameter("0.weight")
        with torch.no_grad():
            weight.copy_(weight.flip(0) if rows else weight.flip(1))

    return change


def swap(model: torch.nn.Module) -> None:
    first, second = model.get_submodule("0"), model.get_submodule("2")
    model.set_submodule("0", second)
    model.set_submodule("2", first)


def test_permutations_wherever_they_are_give_other_keys() -> None:
    changes: list[Callable[[torch.nn.Module], object]] = [
        lambda model: None,
        permute(rows=True),
        permute(rows=False),
        swap,
        lambda m: setattr(m.get_submodule("0"), "order", torch.arange(8)),
        lambda m: setattr(m.get_submodule("0"), "order", torch.arange(8).flip(0)),
        lambda m: setattr(m.get_submodule("0"), "order", {"rows": [1, 0]}),
        lambda m: m.get_submodule("0").register_forward_pre_hook(lambda _, x: (x[0].flip(-1),)),
        lambda m: m.get_submodule("0").register_forward_hook(lambda _, x, y: y.flip(-1)),
    ]
    keys = [key_of(change) for change in changes]
    assert len(set(keys)) == len(keys)
    assert keys == [key_of(change) for change in changes]
