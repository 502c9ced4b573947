"""load_model(): real language models from our packages, the hub, or a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.pretrained import explained, from_tensors, pretrained, quiet
from quant.checkpoints.quantized_sources import check_readable, open_source, stated_codes
from quant.checkpoints.runnable import is_checkpoint, load_checkpoint
from quant.checkpoints.shards import CONFIG, check_one_set, check_stored
from quant.checkpoints.unused import keep_unused
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.common.float_types import DTYPES
from quant.common.sizes import need_memory
from quant.models.catalog import MODELS
from quant.models.converted import converted, converted_file
from quant.tensors.values import first_not_finite

if TYPE_CHECKING:
    import torch

HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.py"]
"""What is copied of a model of the hub."""


def load_model(
    name: str | Path, *, dtype: str = "float32", trust_remote_code: bool = False
) -> tuple[torch.nn.Module, Any]:
    """Return a causal language model in evaluation mode, and its tokenizer.

    Every tensor of the files has its place in the model, and the other way round.

    Args:
        name: A built-in name (``quant list``), a local Hugging Face folder with safetensors, a
            quantized checkpoint folder of ours, a local GGUF file, or a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        trust_remote_code: Let a hub model run its own code. Off: loading executes nothing.

    Raises:
        RequestError: an unknown name, a folder that is no safetensors model, a file that is no
            whole GGUF model, a tensor that is missing, of no use, of another shape than the
            architecture has, or of integers, or a parameter with NaN or Inf.
        HwsimError: neither cache nor network has it.
    """
    name = arguments.path("name", name)
    dtype = arguments.choice("dtype", dtype, DTYPES)
    trust_remote_code = arguments.flag("trust_remote_code", trust_remote_code)
    entry = MODELS.get(str(name).lower())
    if entry is not None and entry.package is not None:
        return _load(converted(entry), dtype, local=True)
    if Path(name).is_dir() and is_checkpoint(Path(name)):
        return _load_checkpoint(Path(name), dtype)
    if Path(name).is_dir():
        check_folder(Path(name))
        return _load(Path(name), dtype, local=True, trust=trust_remote_code)
    if Path(name).is_file():
        return _load(converted_file(Path(name)), dtype, local=True)
    if entry is None and "/" not in str(name):
        raise unknown_name("model", str(name), MODELS)
    return _load(entry.hub_id if entry else str(name), dtype, trust=trust_remote_code)


def _load_checkpoint(folder: Path, dtype: str) -> tuple[torch.nn.Module, Any]:
    """The model of a quantized checkpoint; its tokenizer is None where it has none."""
    import torch

    model = load_checkpoint(folder, getattr(torch, dtype))
    if not any(folder.glob("tokenizer*")):
        return model, None
    with quiet(), explained(folder, local=True):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    return model, tokenizer


def check_folder(folder: Path) -> None:
    """Raise a RequestError unless a folder looks like a Hugging Face model in safetensors."""
    if not (folder / CONFIG).is_file():
        files = sorted(folder.glob("*.gguf"))
        also = f" (a GGUF file is named itself: {files[0]})" if files else ""
        raise RequestError(f"{folder}: {CONFIG} is missing: not a Hugging Face model folder{also}")
    if not any(folder.glob("*.safetensors")):
        raise RequestError(f"{folder}: no *.safetensors; other weight files are not loaded")
    check_one_set(folder)


def _load(
    source: str | Path, dtype: str, *, local: bool = False, trust: bool = False
) -> tuple[torch.nn.Module, Any]:
    import torch

    if not local and (folder := _hub_codes(str(source), trust=trust)) is not None:
        return _load(folder, dtype, local=True, trust=trust)
    kind = getattr(torch, dtype)
    opened = None
    if local:
        opened = open_source(Path(source))
        size = check_stored(opened) * kind.itemsize
        need_memory(size, f"model {str(source)!r} in {dtype}", "stream it, or take a narrower type")
    with quiet(), explained(source, local=local):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            source, local_files_only=local, trust_remote_code=trust
        )
    if opened is not None and opened.source_format:
        model = from_tensors(opened, trust=trust, dtype=kind)
    else:
        model = pretrained(source, local=local, trust=trust, dtype=kind, use_safetensors=True)
    check_finite(str(source), model)
    if opened is not None:
        keep_unused(opened, model)
    return model.eval(), tokenizer


def _hub_codes(source: str, *, trust: bool) -> Path | None:
    """The local copy of a hub model whose weights are codes; None: they are floats.

    Raises:
        RequestError: codes that are not decoded.
    """
    with quiet(), explained(source, local=False):
        from huggingface_hub import snapshot_download
        from transformers import PreTrainedConfig

        config, _ = PreTrainedConfig.get_config_dict(source, trust_remote_code=trust)
        stated = stated_codes(config)
        if stated is None:
            return None
        check_readable(source, stated)
        return Path(
            snapshot_download(source, allow_patterns=HUB_FILES, ignore_patterns="consolidated*")
        )


def check_finite(where: str, model: torch.nn.Module) -> None:
    """Raise a RequestError that names a parameter with NaN or Inf, and its place."""
    for name, parameter in model.named_parameters():
        if (place := first_not_finite(parameter)) is not None:
            raise RequestError(f"model {where!r}: {name}{place} is NaN or Inf: only finite weights")
