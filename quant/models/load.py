"""load_model(): real language models from our packages, the hub, or a local folder."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.gguf import load_gguf
from quant.common.cache import cache_dir
from quant.common.errors import HwsimError, RequestError, unknown_name
from quant.common.files import atomic_folder, sha256_of
from quant.common.progress import say
from quant.models.catalog import MODELS, BuiltinModel
from quant.models.packages import joined_file, package_file

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def load_model(
    name: str | Path, *, dtype: str = "float32", trust_remote_code: bool = False
) -> tuple[torch.nn.Module, Any]:
    """Return a causal language model in evaluation mode, and its tokenizer.

    Args:
        name: A built-in name (``quant list``), a local Hugging Face folder with safetensors, a
            local GGUF file, or a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        trust_remote_code: Let a hub model run its own code. Off: loading executes nothing.

    Raises:
        RequestError: an unknown name, a folder that is no safetensors model, or a file that is no
            whole GGUF model.
        HwsimError: neither cache nor network has it.
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    entry = MODELS.get(str(name).lower())
    if entry is not None and entry.package is not None:
        return _load(_converted(entry), dtype, local=True)
    if Path(name).is_dir():
        _check_folder(Path(name))
        return _load(Path(name), dtype, local=True, trust=trust_remote_code)
    if Path(name).is_file():
        return _load(_converted_file(Path(name)), dtype, local=True)
    if entry is None and "/" not in str(name):
        raise unknown_name("model", str(name), MODELS)
    return _load(entry.hub_id if entry else str(name), dtype, trust=trust_remote_code)


def _load(
    source: str | Path, dtype: str, *, local: bool = False, trust: bool = False
) -> tuple[torch.nn.Module, Any]:
    import torch
    from safetensors import SafetensorError

    with _quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": trust}
        kind = getattr(torch, dtype)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=kind, use_safetensors=True, **options
            )
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise RequestError(f"model {str(source)!r} cannot be read: {error}") from None
        except OSError as error:
            where = "" if local else " (neither cached nor reachable, or no such model)"
            raise HwsimError(f"model {str(source)!r}{where}: {error}") from None
    return model.eval(), tokenizer


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise RequestError(f"{folder}: config.json is missing: not a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        raise RequestError(f"{folder}: no *.safetensors; other weight files are not loaded")
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RequestError(f"{folder / 'config.json'}: not JSON: {error}") from None


def _converted(entry: BuiltinModel) -> Path:
    """Return the safetensors folder of a packaged GGUF model, converting it the first time."""
    assert entry.package is not None
    folder = cache_dir() / "models" / f"{entry.name}-{entry.package.version}"
    if not (folder / "config.json").is_file():
        if entry.notice:
            print(f"{entry.name} ({entry.license}): {entry.notice}", file=sys.stderr)
        source = package_file(entry.package, *entry.package.files)
        if entry.parts:
            source = joined_file(entry.parts, entry.sha256, source.with_name(f"{entry.name}.gguf"))
        say(f"converting {source.name} to safetensors, once ...")
        with atomic_folder(folder) as target:
            _convert(source, target)
    return folder


def _converted_file(path: Path) -> Path:
    """Return the safetensors folder of a local GGUF file, converting it the first time."""
    load_gguf(path)  # refuses what is cut or damaged, before anything interprets it
    folder = cache_dir() / "models" / f"gguf-{sha256_of(path)[:32]}"
    if not (folder / "config.json").is_file():
        say(f"converting {path.name} to safetensors, once ...")
        with atomic_folder(folder) as target:
            _convert(path, target)
    return folder


def _convert(gguf: Path, target: Path) -> None:
    """Write a GGUF model as an ordinary Hugging Face folder (float32, dequantized)."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with _quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **options)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent, dtype=torch.float32, **options
            )
        except Exception as error:  # the parser raises whatever a damaged file provokes
            raise RequestError(f"{gguf.name}: not a readable GGUF model: {error}") from None
        # transformers refuses to save what it calls quantized, though the weights are float now.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
        if model.config.tie_word_embeddings:
            tensors.pop("lm_head.weight", None)
        try:
            save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:
            raise HwsimError(f"{target}: cannot be written: {error}") from None
        tokenizer.save_pretrained(target)
        model.config.save_pretrained(target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and warnings off the terminal; errors still rise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as transformers_logging

        before = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity(logging.ERROR)
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            transformers_logging.set_verbosity(before)
            transformers_logging.enable_progress_bar()
