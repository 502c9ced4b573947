"""Model families, built from Hugging Face config dicts, and the configs of built-in names."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.common.extras import needed
from quant.models.preflight import check_plan, positions_of
from quant.plan import Plan
from roofline.workloads.models import convnet, decoder, deepseek, encoder, gpt, mamba
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields

Family = Callable[[Fields, Builder], None]
BUILDERS: dict[str, Family] = {
    **dict.fromkeys(decoder.TRAITS, decoder.build_decoder),
    **dict.fromkeys(deepseek.MODEL_TYPES, deepseek.build_deepseek),
    **dict.fromkeys(gpt.NAMES, gpt.build_gpt),
    "mamba": mamba.build_mamba,
    "nemotron_h": mamba.build_nemotron,
    "bert": encoder.build_bert,
    "vit": encoder.build_vit,
    "resnet": convnet.build_resnet,
    "efficientnet_lite": convnet.build_efficientnet_lite,
}
"""``model_type`` (without ``_text``) to the function that builds it."""
NO_DECODE = ("bert", "vit", "resnet", "efficientnet_lite")
"""Model types that generate nothing: prefill is their only phase."""
CONFIGS = resources.files("roofline.workloads.models") / "configs"
HUB_KEY = "_name_or_path"
HUB_TIMEOUT_S = 10
LARGEST_CONFIG = 1 << 24


class Config(Protocol):
    """A config of transformers (``AutoConfig``)."""

    def to_dict(self) -> dict[str, Any]:
        """Return its keys and values."""


Model = str | Path | Mapping[str, Any] | Config
MODEL = "a built-in name, a hub id, a folder with config.json, a config dict or an AutoConfig"
"""What is allowed as a model, in words."""


@cache
def model_names() -> tuple[str, ...]:
    """Return the built-in names."""
    return tuple(sorted(Path(entry.name).stem for entry in CONFIGS.iterdir()))


@cache
def _aliases() -> dict[str, str]:
    """Hub ids, and their last parts, in lower case, to built-in names."""
    aliases: dict[str, str] = {}
    for name in model_names():
        hub_id = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))[HUB_KEY].lower()
        aliases |= {hub_id: name, hub_id.rpartition("/")[2]: name}
    return aliases


@lru_cache(maxsize=256)
def builtin_text(name: str) -> tuple[str, str] | None:
    """Return the built-in name and the config's text for a name or hub id; None: not built in."""
    known = name.lower()
    if known not in model_names():
        if known not in _aliases():
            return None
        known = _aliases()[known]
    return known, (CONFIGS / f"{known}.json").read_text(encoding="utf-8")


def is_model(value: object) -> bool:
    """Return whether a value is of a type that models are named by."""
    return isinstance(value, str | os.PathLike | Mapping) or _is_config(value)


def config_text(model: Model) -> tuple[str, str]:
    """Return the name and the JSON text of a model's config.

    Args:
        model: A built-in name, a hub id, a folder with config.json (or the file), a dict, or a
            config of transformers.

    Raises:
        RequestError: an unknown name, or a file that cannot be read.
    """
    if isinstance(model, str):
        builtin = builtin_text(str(model))
        if builtin is not None:
            return builtin
    if not isinstance(model, str | os.PathLike | Mapping):
        if not _is_config(model):
            raise arguments.wrong_type("model", model, MODEL)
        model = model.to_dict()
    if isinstance(model, Mapping):
        name = str(model.get(HUB_KEY) or model.get("model_type", "?"))
        try:
            return name, json.dumps(dict(model), sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(f"config: not JSON: {error}") from None
    path = arguments.path("model", model)
    path = path / "config.json" if path.is_dir() else path
    if path.is_file():
        return path.parent.name, path.read_text(encoding="utf-8", errors="replace")
    if str(model).count("/") == 1 and not str(model).startswith((".", "/", "~")):
        return str(model), _from_hub(str(model))
    raise unknown_name("model", str(model), model_names(), _aliases())


def planned_for(plan: Plan, model: str) -> dict[str, str]:
    """Return the formats of a plan by module path, if it is a plan of this model's.

    Raises:
        RequestError: it is another model's.
    """
    made_for, own = ((builtin_text(name) or (name,))[0] for name in (plan.model, model))
    check_plan(replace(plan, model=made_for), own)
    return dict(plan.layers)


def load_config(model: Model) -> tuple[str, dict[str, Any]]:
    """Return the name and the config of a model.

    Raises:
        RequestError: an unknown name, or a file that is not a JSON object.
    """
    name, text = config_text(model)
    return name, parse_text(text, name)


def parse_text(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object of a config's text.

    Raises:
        RequestError: it is none.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{name}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise RequestError(f"{name}: a JSON object is needed")
    return data


def context_limit(name: str, text: str) -> int | None:
    """Return the tokens that a model was made for; None where its config does not say."""
    return positions_of(parse_text(text, name))


def family(config: Mapping[str, Any]) -> tuple[Family, Fields]:
    """Return the builder of a config and its fields; of a multimodal model, the text tower's.

    Raises:
        RequestError: an unknown model type, or a config without one.
    """
    fields = Fields(config)
    if isinstance(config.get("text_config"), Mapping):
        fields = fields.child("text_config")
        outer = {"tie_word_embeddings": config.get("tie_word_embeddings")}
        kind = fields.data.get("model_type") or config.get("model_type")
        fields.data = {**outer, **fields.data, "model_type": kind}
    kind = str(fields.data.get("model_type", "")).removesuffix("_text")
    if kind not in BUILDERS:
        raise unknown_name("model type", kind, BUILDERS)
    return BUILDERS[kind], fields


def _is_config(value: object) -> bool:
    return callable(getattr(value, "to_dict", None)) and hasattr(value, "model_type")


def _from_hub(hub_id: str) -> str:
    """Return config.json of the hub, from its cache or by one request; nothing is executed.

    The hub's own download is not used for the request: without a network it would try for half a
    minute before saying so.
    """
    import http.client
    import urllib.request

    try:
        from huggingface_hub import constants, get_token, hf_hub_url, try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        raise needed(["huggingface_hub"], f"model {hub_id!r}, which is not built in,") from None
    head = f"model {hub_id!r} is not built in and its config cannot be fetched"
    try:
        cached = try_to_load_from_cache(hub_id, "config.json")
        if isinstance(cached, str):
            return Path(cached).read_text(encoding="utf-8", errors="replace")
        if constants.HF_HUB_OFFLINE:
            raise RequestError(f"{head}: HF_HUB_OFFLINE is set")
        address = hf_hub_url(hub_id, "config.json")
        token = get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S) as answer:
            return str(answer.read(LARGEST_CONFIG).decode("utf-8", errors="replace"))
    except (OSError, HFValidationError, http.client.HTTPException) as error:
        raise RequestError(f"{head}: {' '.join(str(error).split()):.120}") from None
