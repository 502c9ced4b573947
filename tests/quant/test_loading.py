"""Every tensor has its place, whichever way a model is read; nothing that is read is executed."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import quant
from quant.checkpoints.stream import quantize_checkpoint
from quant.common.errors import RequestError
from tests.own.tiny_llama import tiny_llama

Tensors = dict[str, torch.Tensor]
FILE = "model.safetensors"
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    shutil.copytree(model, tmp_path / "tiny")
    return tmp_path / "tiny"


def by_model(folder: Path) -> object:
    return quant.load_model(folder)


def by_stream(folder: Path) -> object:
    return quantize_checkpoint(folder, folder.with_name("out"), "fp4:g32")


def change(folder: Path, edit: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / FILE)
    edit(tensors)
    save_file(tensors, folder / FILE, metadata={"format": "pt"})


def set_config(folder: Path, **settings: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tensor less": (lambda f: change(f, lambda t: t.pop(UP)), rf"files lack '{UP}'"),
    "a tensor more": (
        lambda f: change(f, lambda t: t.update(extra=torch.ones(3))),
        "architecture has no 'extra'",
    ),
    "another name": (
        lambda f: change(f, lambda t: t.update({f"{UP}s": t.pop(UP)})),
        "up_proj",
    ),
    "another shape": (
        lambda f: change(f, lambda t: t.update({UP: t[UP][:, :-2].contiguous()})),
        "another shape.*up_proj",
    ),
    "a transposed matrix": (
        lambda f: change(f, lambda t: t.update({UP: t[UP].T.contiguous()})),
        "another shape.*up_proj",
    ),
    "a layer less than configured": (
        lambda f: set_config(f, num_hidden_layers=3),
        r"files lack 'model\.layers\.2",
    ),
    "a layer more than configured": (
        lambda f: set_config(f, num_hidden_layers=1),
        r"architecture has no 'model\.layers\.1",
    ),
    "a million layers": (
        lambda f: set_config(f, num_hidden_layers=10**6),
        r"num_hidden_layers 1e\+06: its files have 21 tensors",
    ),
    "a width of all memory": (lambda f: set_config(f, hidden_size=10**9), "hidden_size 1e"),
    "another width": (lambda f: set_config(f, intermediate_size=64), "another shape.*proj"),
    "integers": (
        lambda f: change(f, lambda t: t.update({UP: t[UP].to(torch.int8)})),
        "up_proj.* is I8",
    ),
    "NaN among the embeddings": (
        lambda f: change(f, lambda t: t["model.embed_tokens.weight"][3, 5].fill_(torch.nan)),
        r"embed_tokens.*\[3, 5\].*NaN",
    ),
    "Inf in a norm": (
        lambda f: change(f, lambda t: t["model.norm.weight"][7].fill_(torch.inf)),
        r"model\.norm.*\[7\].*Inf",
    ),
    "no configuration": (lambda f: (f / "config.json").write_text("[]"), "JSON object"),
    "a deep configuration": (
        lambda f: (f / "config.json").write_text("[" * 100_000),
        "not readable as JSON",
    ),
}


@pytest.mark.parametrize("read", [by_model, by_stream])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_named(
    damage: str, read: Callable[[Path], object], folder: Path
) -> None:
    edit, said = DAMAGES[damage]
    edit(folder)
    with pytest.raises(RequestError, match=said) as caught:
        read(folder)
    assert "\n" not in " ".join(str(caught.value).split())
    assert not folder.with_name("out").exists()
    if "NaN" not in damage and "Inf" not in damage:  # met after some shards were finished
        assert not list(folder.parent.glob(".*"))


def test_a_whole_folder_is_read_to_the_last_bit(folder: Path) -> None:
    loaded, _ = quant.load_model(folder)
    stored = load_file(folder / FILE)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, stored[name]), name


def test_shards_and_their_index_are_of_one_model(folder: Path) -> None:
    tensors = load_file(folder / FILE)
    (folder / FILE).unlink()
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in halves.items():
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
    index = {name: file for file, own in halves.items() for name in own}
    (folder / f"{FILE}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    by_stream(folder)
    shutil.rmtree(folder.with_name("out"))
    twice = {name: tensors[name] for name in (*halves["b.safetensors"], names[0])}
    save_file(twice, folder / "b.safetensors", metadata={"format": "pt"})
    with pytest.raises(RequestError, match=r"is in 'a\.safetensors' and 'b\.safetensors'"):
        by_stream(folder)
    less = {name: tensors[name] for name in halves["b.safetensors"][1:]}
    save_file(less, folder / "b.safetensors", metadata={"format": "pt"})
    with pytest.raises(RequestError, match="of the index is in no such file"):
        by_stream(folder)


HOSTILE = """
from pathlib import Path
Path(r"{mark}").write_text("executed")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Own(LlamaConfig): model_type = "own"
class OwnModel(LlamaForCausalLM): config_class = Own
class OwnTokenizer(PreTrainedTokenizerFast): pass
"""


def hostile_config(folder: Path) -> None:
    set_config(folder, model_type="own", auto_map={
        "AutoConfig": "hostile.Own", "AutoModelForCausalLM": "hostile.OwnModel",
    })  # fmt: skip


def hostile_known_config(folder: Path) -> None:
    set_config(folder, auto_map={
        "AutoConfig": "hostile.Own", "AutoModelForCausalLM": "hostile.OwnModel",
    })  # fmt: skip


def hostile_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    content: dict[str, Any] = json.loads(path.read_text())
    content |= {"tokenizer_class": "OwnTokenizer"}
    content |= {"auto_map": {"AutoTokenizer": [None, "hostile.OwnTokenizer"]}}
    path.write_text(json.dumps(content))


def hostile_template(folder: Path) -> None:
    mark = folder.parent / "executed"
    text = "{{ cycler.__init__.__globals__.os.system('touch " + str(mark) + "') }}"
    (folder / "chat_template.jinja").write_text(text)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": text}))


def hostile_generation(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "hostile.py", folder / "custom_generate/generate.py")


@pytest.mark.parametrize("read", [by_model, by_stream])
@pytest.mark.parametrize(
    "trap",
    [
        hostile_config,
        hostile_known_config,
        hostile_tokenizer,
        hostile_template,
        hostile_generation,
    ],
)
def test_nothing_is_executed_and_nothing_is_asked(
    trap: Callable[[Path], None],
    read: Callable[[Path], object],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mark = folder.parent / "executed"
    (folder / "hostile.py").write_text(HOSTILE.format(mark=mark))
    trap(folder)
    answers = io.StringIO("y\n" * 9)
    monkeypatch.setattr(sys, "stdin", answers)
    with suppress(RequestError):  # refusing is allowed as well
        read(folder)
    assert not mark.exists()
    assert answers.tell() == 0
    assert "[y/N]" not in capsys.readouterr().out


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    torch.save(load_file(folder / FILE), folder / "pytorch_model.bin")
    (folder / FILE).unlink()
    with pytest.raises(RequestError, match="other weight files are not loaded"):
        by_model(folder)
    with pytest.raises(RequestError, match="nothing to quantize"):
        by_stream(folder)
