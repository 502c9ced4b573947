"""Model families, built from Hugging Face config dicts, and the configs of built-in names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from quant.common.errors import RequestError, unknown_name
from roofline.models.llama import LlamaConfig
from roofline.models.llama import parse_config as parse_llama

BUILDERS = {"llama": parse_llama}
CONFIGS = resources.files("roofline") / "configs"


def model_names() -> list[str]:
    """Return the built-in names."""
    return sorted(Path(entry.name).stem for entry in CONFIGS.iterdir())


def load_config(model: str | Path | Mapping[str, Any]) -> tuple[str, LlamaConfig]:
    """Return the name and the checked configuration of a model.

    Args:
        model: A built-in name, a folder with config.json (or the file), or a config dict.

    Raises:
        RequestError: unknown name or model type, or a configuration that makes no sense.
    """
    if isinstance(model, Mapping):
        return str(model.get("_name_or_path") or model.get("model_type", "?")), _checked(model)
    path = Path(model)
    path = path / "config.json" if path.is_dir() else path
    if path.is_file():
        name, text = path.parent.name, path.read_text(encoding="utf-8", errors="replace")
    elif str(model).lower() in model_names():
        name = str(model).lower()
        text = (CONFIGS / f"{name}.json").read_text(encoding="utf-8")
    else:
        raise unknown_name("model", str(model), model_names())
    try:
        data = json.loads(text)
    except ValueError as error:
        raise RequestError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise RequestError(f"{path}: a JSON object is needed")
    return name, _checked(data)


def _checked(data: Mapping[str, Any]) -> LlamaConfig:
    kind = str(data.get("model_type", "llama"))
    if kind not in BUILDERS:
        raise unknown_name("model type", kind, BUILDERS)
    return BUILDERS[kind](data)
