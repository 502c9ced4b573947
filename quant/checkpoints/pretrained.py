"""Models of transformers out of local folders or the hub: every tensor in its place, no code run.

transformers gives a tensor that its files lack random values, leaves out one that it does not know,
and prints a table; here both are errors.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.common.errors import HwsimError, RequestError

if TYPE_CHECKING:
    import torch

NAMED = 3
"""Tensors that a message names."""


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

        with explained(said or source, local=local):
            model, info = AutoModelForCausalLM.from_pretrained(
                source,
                local_files_only=local,
                trust_remote_code=trust,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are in the info, by name
                **options,
            )
    check_complete(said or str(source), info)
    return model


def skeleton(folder: Path) -> torch.nn.Module:
    """Return the model of a local folder without weights, its files compared with it.

    Raises:
        RequestError: as ``pretrained``.
    """
    model: torch.nn.Module = pretrained(folder, local=True, device_map="meta", use_safetensors=True)
    return model


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
