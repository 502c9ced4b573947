"""What a request can be refused for before a weight is read: config.json alone says it.

A local folder and what lies in the caches are looked at; nothing is downloaded, nothing executed.
What cannot be known before loading is checked when the model is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.quantized_sources import check_readable, stated_codes
from quant.checkpoints.runnable import is_checkpoint
from quant.common.cache import cache_dir
from quant.common.errors import RequestError
from quant.common.progress import say
from quant.models.catalog import MODELS
from quant.plan import Formats, Plan, check_formats

if TYPE_CHECKING:
    from quant.methods.base import Method

CONFIG = "config.json"
POSITIONS = ("max_position_embeddings", "n_positions", "seq_length")
"""Keys under which configs say how many tokens a model was made for."""


def known_config(model: str | Path) -> dict[str, Any] | None:
    """Return a model's config where it lies on this machine already; None: known when loaded."""
    for path in _places(str(model)):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # whoever loads it says what is wrong
        if isinstance(data, dict):
            return data
    return None


def positions_of(config: Mapping[str, Any]) -> int | None:
    """Return the tokens that a model was made for; None where its config does not say."""
    inner = config.get("text_config")
    for data in (inner if isinstance(inner, Mapping) else {}, config):
        for key in POSITIONS:
            value = data.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def check_window(config: Mapping[str, Any] | None, context: int) -> None:
    """Refuse windows that are longer than a model has positions.

    Raises:
        RequestError: with both numbers.
    """
    most = None if config is None else positions_of(config)
    if most is not None and context > most:
        raise RequestError(
            f"windows of {context} tokens are not allowed: the model has {most} positions"
        )


def check_unquantized(model: str | Path) -> None:
    """Refuse a model whose weights are codes that are not decoded.

    Raises:
        RequestError: a checkpoint folder of ours, or a config whose ``quantization_config`` names
            what is not decoded.
    """
    folder = Path(model)
    if is_checkpoint(folder) or (
        (folder / "manifest.json").is_file() and not (folder / CONFIG).is_file()
    ):
        raise RequestError(f"{model} is quantized already: name the model that it was made of")
    stated = stated_codes(known_config(model) or {})
    if stated is not None:
        check_readable(str(model), stated)


def check_quantization(model: str | Path, formats: Formats, method: Method) -> None:
    """Refuse what ``quantize_model`` would refuse, as far as it shows before the model is loaded.

    Raises:
        RequestError: a model that is quantized already, a format that the method does not take,
            or a plan of another model.
    """
    check_formats(formats, method)
    if isinstance(formats, Plan):
        check_plan(formats, str(model))
    check_unquantized(model)


def check_plan(plan: Plan, model: str) -> None:
    """Refuse a plan of another model; where that cannot be known, say so.

    Args:
        plan: ``Plan.model`` empty: it is for any.
        model: Name, folder or hub id of the model at hand; empty: it has none.

    Raises:
        RequestError: both are known, and they differ.
    """
    if not plan.model:
        return
    same = is_same_model(plan.model, model)
    if same is False:
        raise RequestError(f"the plan is made for {plan.model}, not for {model}")
    if same is None:
        named = repr(model) if model else "this model"
        say(f"the plan is made for {plan.model}; whether {named} is that cannot be known")


def is_same_model(one: str, other: str) -> bool | None:
    """Return whether two names mean one model; None where a folder's content would have to say."""
    if not one or not other:
        return None
    if _key(one) == _key(other):
        return True
    return None if _is_path(one) or _is_path(other) else False


def name_of(model: object) -> str:
    """Return where a model of transformers was loaded from; empty where it does not say."""
    name = getattr(getattr(model, "config", None), "_name_or_path", "")
    return name if isinstance(name, str) else ""


def _key(name: str) -> str:
    """A spelling that all names of a model share: the hub id of a built-in one, a full path."""
    for entry in MODELS.values():
        hub_id = entry.hub_id.lower()
        if name.lower() in {entry.name, hub_id, hub_id.rpartition("/")[2]}:
            return hub_id
        # What a packaged model was converted to.
        kept = f"{entry.name}-{entry.package.version}" if entry.package else ""
        if kept and Path(name).parent == cache_dir() / "models" and Path(name).name == kept:
            return hub_id
    return str(Path(name).absolute()) if _is_path(name) else name.lower()


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).exists()


def _places(model: str) -> list[Path]:
    """Where a model's config.json may lie."""
    entry = MODELS.get(model.lower())
    if entry is not None and entry.package is not None:
        return [cache_dir() / "models" / f"{entry.name}-{entry.package.version}" / CONFIG]
    if Path(model).exists():
        return [Path(model) / CONFIG]
    hub_id = entry.hub_id if entry else model
    if hub_id.count("/") != 1:
        return []
    try:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(hub_id, CONFIG)
    except (ImportError, ValueError):
        return []
    return [Path(cached)] if isinstance(cached, str) else []
