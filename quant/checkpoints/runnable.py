"""Checkpoints that run: config, tokenizer and buffers beside the codes, and the model of a folder.

Loading builds the architecture that ``config.json`` names from transformers' own classes, without
weights, and gives it the folder's; no code of a model's own is run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from quant.checkpoints.contents import SCHEMA
from quant.checkpoints.folder import load_quantized, load_rest
from quant.checkpoints.pretrained import explained, own_class, quiet
from quant.checkpoints.quantized_sources import stated_codes, without_codes
from quant.checkpoints.shards import CONFIG
from quant.common.errors import RequestError
from quant.common.manifest import is_ours
from quant.common.sealed import read_json

if TYPE_CHECKING:
    import torch

CODES = "quantized*.safetensors"
"""The files of codes."""
ASSETS = (
    CONFIG, "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model", "chat_template*", "processor_config.json",
    "preprocessor_config.json",
)  # fmt: skip
"""What a model folder has beside its weights that a copy needs to run."""


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a quantized checkpoint of ours that carries a config.

    In any version, and with a damaged manifest too: whoever loads it says what is wrong.
    """
    if not (folder / CONFIG).is_file():
        return False
    return is_ours(folder, SCHEMA) or any(folder.glob(CODES))


def copy_assets(source: Path, folder: Path) -> list[str]:
    """Copy config and tokenizer of a model folder; return the names of the files.

    A config that speaks of codes is copied without them: they are decoded.
    """
    names = sorted({path.name for kind in ASSETS for path in source.glob(kind) if path.is_file()})
    for name in names:
        shutil.copyfile(source / name, folder / name)
    config = read_json(folder / CONFIG) if CONFIG in names else {}
    if stated_codes(config) is not None:
        text = json.dumps(without_codes(config), indent=2)
        (folder / CONFIG).write_text(f"{text}\n", encoding="utf-8")
    return names


def write_assets(model: torch.nn.Module, tokenizer: Any, folder: Path) -> list[str]:  # noqa: ANN401  transformers'
    """Write config and tokenizer of a loaded model; return the names of the files.

    Args:
        model: A model of transformers; of any other nothing is written.
        tokenizer: Its tokenizer; None: it has none.
        folder: Where they go.
    """
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "save_pretrained"):
        return []
    with quiet(), TemporaryDirectory() as temporary:
        place = Path(temporary)
        own = type(config).from_dict(config.to_dict())
        own.architectures = [type(model).__name__]
        own.save_pretrained(place)
        generation: Any = getattr(model, "generation_config", None)
        if generation is not None:
            (place / "generation_config.json").write_text(
                generation.to_json_string(use_diff=True), encoding="utf-8"
            )
        if tokenizer is not None:
            tokenizer.save_pretrained(place)
        return copy_assets(place, folder)


def load_checkpoint(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """Return the model of a quantized checkpoint folder, in evaluation mode.

    Args:
        folder: As ``quant quantize`` writes it.
        dtype: What it computes in.

    Raises:
        RequestError: no such folder, an architecture that transformers has not, files that are
            cut or changed, or that are not of one model.
    """
    from quant.layers.weights import put, weights

    codes, rest = load_quantized(folder), load_rest(folder)
    model = empty_model(folder, dtype)
    known = weights(model)
    if strange := sorted(codes.keys() - known.keys()):
        raise RequestError(f"{folder}: layer {strange[0]!r} is none of its architecture's")
    # A matrix that is no stack's may have its parameter's own name for a path: that is no part.
    stacks = {path for path, weight in known.items() if weight.layout.is_stack}
    stacked = {path: value for path, value in rest.items() if path in stacks}
    _fill(folder, model, {n: value for n, value in rest.items() if n not in stacked}, {*codes})
    for path, tensor in codes.items():
        if tensor.shape != known[path].shape:
            raise RequestError(
                f"{folder}: layer {path!r} is {tensor.shape}, {known[path].shape} needed"
            )
        put(model, known[path], tensor)
    for path, value in stacked.items():
        put(model, known[path], value.to(dtype))
    return model.eval()


def empty_model(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """Return the model that a folder's config names, its parameters without values.

    Memory is reserved for them and not touched; buffers that follow from the config are right.

    Raises:
        RequestError: an architecture that transformers has not.
    """
    with quiet(), explained(folder, local=True):
        import transformers
        from transformers.initialization import no_init_weights

        config: Any = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        kind = own_class(config)
        if kind is None:
            named = getattr(config, "architectures", None)
            raise RequestError(f"{folder / CONFIG}: architectures {named!r}: not in transformers")
        with no_init_weights():
            model: torch.nn.Module = kind._from_config(config, dtype=dtype)
        model.tie_weights()  # type: ignore[operator]  # transformers' own
        config._name_or_path = str(folder)
        if (folder / "generation_config.json").is_file() and model.can_generate():  # type: ignore[operator]  # transformers'
            model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return model


def _fill(
    folder: Path, model: torch.nn.Module, rest: dict[str, torch.Tensor], quantized: set[str]
) -> None:
    """Give a model its parameters and buffers; every one must be there.

    Raises:
        RequestError: naming one that is missing, of another shape, or none of the model's.
    """
    import torch

    from quant.layers.weights import weights

    places: dict[int, list[str]] = {}
    own = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in own.items():
        places.setdefault(id(parameter), []).append(name)
    buffers = {name: value for name, value in model.named_buffers() if name in model.state_dict()}
    needed = {id(parameter) for parameter in own.values()}
    left = {id(w.parameter) for p, w in weights(model).items() if p not in quantized}
    needed -= {id(w.parameter) for p, w in weights(model).items() if p in quantized} - left
    made: dict[str, torch.nn.Parameter] = {}
    for name, value in rest.items():
        into = own.get(name, buffers.get(name))
        if into is None or into.shape != value.shape:
            has = "none" if into is None else tuple(into.shape)
            raise RequestError(f"{folder}: {name!r} is {tuple(value.shape)}, its model has {has}")
        if name in buffers:
            buffers[name].copy_(value)
            continue
        made[name] = torch.nn.Parameter(value.to(into.dtype), requires_grad=into.requires_grad)
        needed.discard(id(into))
    for names in places.values():
        _share(model, names, {name: made[name] for name in names if name in made})
    missing = [name for name, parameter in own.items() if id(parameter) in needed]
    if missing := [name for name in missing if not _derived(model, name)]:
        raise RequestError(f"{folder}: lacks {missing[0]!r}")
    if missing := sorted(buffers.keys() - rest.keys()):
        raise RequestError(f"{folder}: lacks buffer {missing[0]!r}")


def _share(model: torch.nn.Module, names: list[str], stored: dict[str, torch.nn.Parameter]) -> None:
    """Give all places of a parameter what is stored of it.

    A place has what is stored under its own name, though its config ties it; else what a place of
    its kind has (a table of embeddings, a matrix), or any.
    """
    from quant.layers.weights import is_table

    modules = {name: model.get_submodule(name.rpartition(".")[0]) for name in names}
    tables = {name for name, module in modules.items() if is_table(module)}
    for name in names if stored else ():
        alike = [own for own in stored if (own in tables) == (name in tables)]
        value = stored.get(name, stored[(alike or [*stored])[0]])
        modules[name].register_parameter(name.rpartition(".")[2], value)


def _derived(model: torch.nn.Module, name: str) -> bool:
    """Give a parameter that transformers does not store the values that it makes for it.

    Returns:
        Whether it is one: sines of positions, which follow from their shape.
    """
    import torch

    if name not in (getattr(model, "_keys_to_ignore_on_save", None) or ()):
        return False
    with torch.no_grad():
        model._init_weights(model.get_submodule(name.rpartition(".")[0]))  # type: ignore[operator]  # transformers' own
    return True
