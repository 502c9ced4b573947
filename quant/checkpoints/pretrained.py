"""Models of transformers out of local folders or the hub: every tensor in its place, no code run.

transformers gives a tensor that its files lack random values, leaves out one that it does not know,
and prints a table; here both are errors.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.quantized_sources import STATED
from quant.checkpoints.shards import ShardedModel, TensorInfo
from quant.common.errors import HwsimError, RequestError

if TYPE_CHECKING:
    import torch

NAMED = 3
"""Tensors that a message names."""
_FORMAT = "_source_format"
"""Attribute of a loaded model."""


def pretrained(
    source: str | Path,
    *,
    local: bool,
    trust: bool = False,
    said: str = "",
    **options: Any,  # noqa: ANN401  transformers'
) -> Any:  # noqa: ANN401  as above
    """Return a causal language model of transformers with all its weights.

    Args:
        source: A folder, or a hub id.
        local: Ask no network.
        trust: Let a hub model run its own code.
        said: The model's name in messages; empty: the source.
        options: What else ``from_pretrained`` takes.

    Raises:
        RequestError: a tensor that is missing, of no use, or of another shape than the
            architecture has; a file or a config that is not readable.
        HwsimError: neither cache nor network has it.
    """
    with quiet():
        from transformers import AutoModelForCausalLM

        options |= {"local_files_only": local, "trust_remote_code": trust}
        with explained(said or source, local=local):
            return _complete(AutoModelForCausalLM, source, said or str(source), options)


def _complete(kind: Any, source: str | Path | None, said: str, options: dict[str, Any]) -> Any:  # noqa: ANN401  transformers'
    """What ``from_pretrained`` of a class gives, complete."""
    model, info = kind.from_pretrained(
        source,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # so that they are in the info, by name
        **options,
    )
    check_complete(said, info)
    return model


def skeleton(opened: ShardedModel) -> torch.nn.Module:
    """Return the model of a local folder without weights, its headers compared with it.

    Raises:
        RequestError: as ``pretrained``.
    """
    import torch

    empty = {
        name: torch.empty(tensor.shape, dtype=_kind(tensor), device="meta")
        for name, tensor in opened.tensors.items()
    }
    model: torch.nn.Module = from_tensors(opened, empty, device_map="meta")
    return model


def from_tensors(
    opened: ShardedModel,
    tensors: Mapping[str, Any] | None = None,
    *,
    trust: bool = False,
    **options: Any,  # noqa: ANN401  transformers'
) -> Any:  # noqa: ANN401  as above
    """Return the model of a local folder with the tensors that the folder is read as.

    Args:
        opened: The folder.
        tensors: Name -> values in place of the folder's; None: those, each read when its turn
            comes.
        trust: Let the folder run its own code.
        options: What else ``from_pretrained`` takes.

    Raises:
        RequestError: as ``pretrained``.
    """
    folder = opened.folder
    with quiet(), explained(folder, local=True):
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
        for own in (config, config.get_text_config()):
            if hasattr(own, STATED):
                delattr(own, STATED)
        if (folder / "generation_config.json").is_file():
            options["generation_config"] = GenerationConfig.from_pretrained(folder)
        with torch.device("meta"):  # its class, and which part of a config is its own
            kind = None if trust else own_class(config)
            if kind is None:
                empty = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
            else:
                empty = kind._from_config(config)
        state = tensors if tensors is not None else {n: _Unread(opened, n) for n in opened.tensors}
        options |= {"config": empty.config, "state_dict": state, "local_files_only": True}
        model = _complete(type(empty), None, str(folder), options)
    model.config._name_or_path = model.name_or_path = str(folder)
    setattr(model, _FORMAT, opened.source_format)
    return model


def own_class(config: Any) -> Any:  # noqa: ANN401  transformers' config and class
    """Return the class of transformers that a config names as its architecture; None: none."""
    import transformers

    names = getattr(config, "architectures", None)
    name = names[0] if isinstance(names, list) and names else None
    kind: Any = getattr(transformers, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        return None
    known: Any = kind
    return known if isinstance(config, known.config_class or ()) else None


def source_format(model: torch.nn.Module) -> str:
    """Return what a model's weights were decoded from when it was loaded; empty: from nothing."""
    return str(getattr(model, _FORMAT, ""))


def _kind(tensor: TensorInfo) -> torch.dtype:
    import torch

    floats = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}
    return {**floats, "BF16": torch.bfloat16}.get(tensor.dtype, torch.int64)


@dataclass(frozen=True)
class _Unread:
    """A tensor that transformers reads when it is its turn, as it does with files."""

    opened: ShardedModel
    name: str

    def __getitem__(self, index: object) -> torch.Tensor:
        return self.opened.read(self.name)[index]  # type: ignore[index]  # an ellipsis


def check_complete(where: str, info: dict[str, Any]) -> None:
    """Raise a RequestError unless transformers put every tensor of the files into its place.

    Args:
        where: The model's name.
        info: What ``from_pretrained`` says with ``output_loading_info``.
    """
    kinds = {
        "missing_keys": "its files lack",
        "unexpected_keys": "its architecture has no",
        "mismatched_keys": "of another shape than its architecture has:",
        "conversion_errors": "cannot be converted:",
        "error_msgs": "",
    }
    for kind, said in kinds.items():
        found = info.get(kind)
        if not found:
            continue
        names = sorted(str(name[0] if isinstance(name, tuple) else name) for name in found)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise RequestError(
            f"model {where!r}: {said} {', '.join(map(repr, names[:NAMED]))}{more}: config.json and "
            "weights are not of one model"
        )


@contextmanager
def explained(source: str | Path, *, local: bool) -> Iterator[None]:
    """Turn what transformers and its parsers raise into one of our errors.

    Raises:
        RequestError: what was read is wrong.
        HwsimError: neither cache nor network has it.
    """
    try:
        yield
    except (HwsimError, MemoryError, KeyboardInterrupt):
        raise
    except OSError as error:
        if local:
            raise RequestError(f"model {str(source)!r} cannot be read: {error}") from None
        where = " (neither cached nor reachable, or no such model)"
        raise HwsimError(f"model {str(source)!r}{where}: {error}") from None
    except Exception as error:  # parsers raise whatever a damaged file provokes
        raise RequestError(
            f"model {str(source)!r} cannot be read: {type(error).__name__}: {error}"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and warnings off the terminal; errors still rise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as transformers_logging

        before = transformers_logging.get_verbosity()
        bars = transformers_logging.is_progress_bar_enabled()
        transformers_logging.set_verbosity(logging.ERROR)
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            transformers_logging.set_verbosity(before)
            if bars:
                transformers_logging.enable_progress_bar()
