"""Which parts of a model are for images or sound, beside a part for text, and which are heads.

What transformers says is read, of each model inside of the model on the way to a matrix: what its
class takes (``main_input_name``, ``input_modalities``), what the model around it calls its encoder
of images or of sound (``get_encoder``), and its own head (``get_output_embeddings``). Each of them
is missing in some classes or wrong in some (a class that inherits what the whole model takes), so
a part is a tower if one of them says so, and if no table of words is its input.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

TEXT = "text"
TEXT_INPUTS = ("input_ids", "inputs_embeds", "decoder_input_ids")


def tower_of(model: nn.Module, path: str) -> str:
    """Return what a model of text gets from the part that a path is in, where that is no text.

    Args:
        model: The whole model.
        path: Of a module in it.

    Returns:
        An input (``pixel_values``) or kinds of them (``image, video``); empty: the part is for
        text, or the whole model is none of text.
    """
    is_named = getattr(model, "main_input_name", None) in TEXT_INPUTS
    is_whole = _gives_words(model) or (is_named and _reads_words(model))
    if not (is_named or is_whole) or _transcribes(model):
        return ""
    beside = _encoders(model)
    for part in _parts(model, path):
        # Of models that compare images and texts, what their parts are called with counts alone.
        given = _input(part) or (is_whole and (_kinds_but_text(part) or beside.get(part, ""))) or ""
        if given and not _reads_words(part):
            return given
        if _is_model(part):
            beside |= _encoders(part)
    return ""


def is_head(model: nn.Module, path: str, module: nn.Module) -> bool:
    """Whether a module gives the words of a model, or of one inside of it.

    Args:
        model: The whole model.
        path: Of the module.
        module: The module.
    """
    around = [model, *(part for part in _parts(model, path) if _is_model(part))]
    heads = [head for head in map(_head, around) if head is not None]
    # Some models have a list of heads, and some heads are made of two.
    return any(module is head or module in head.children() for head in heads)


def _parts(model: nn.Module, path: str) -> Iterator[nn.Module]:
    """The modules on the way to a path and at it, outermost first, without the model itself."""
    module = model
    for name in path.split(".") if path else ():
        module = getattr(module, name)
        yield module


def _is_model(module: nn.Module) -> bool:
    """Whether it is a model of transformers."""
    return hasattr(module, "main_input_name") and hasattr(module, "config")


def _gives_words(model: nn.Module) -> bool:
    """Whether a model that takes words, or one right inside of it, has a head."""
    own = (part for part in (model, *model.children()) if _is_model(part))
    return TEXT in _modalities(model) and any(_head(part) is not None for part in own)


def _input(part: nn.Module) -> str:
    """What a part's class says that it is called with, where that is no text; else empty."""
    name = getattr(part, "main_input_name", None)
    return name if isinstance(name, str) and name not in TEXT_INPUTS else ""


def _kinds_but_text(part: nn.Module) -> str:
    """The kinds of input that a part's class says it takes, where text is none; else empty."""
    kinds = _modalities(part)
    return "" if TEXT in kinds else ", ".join(kinds)


def _modalities(model: nn.Module) -> tuple[str, ...]:
    """The kinds of input that a model's class says it takes."""
    kinds = getattr(model, "input_modalities", ())
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _encoders(model: nn.Module) -> dict[nn.Module, str]:
    """The parts of a model that it calls its encoders of what is no text, and of what."""
    found: dict[nn.Module, str] = {}
    for kind in _modalities(model):
        part = _asked(model, "get_encoder", kind) if kind != TEXT else None
        if part is not None and part is not model:
            found[part] = f"{found[part]}, {kind}" if part in found else kind
    return found


def _transcribes(model: nn.Module) -> bool:
    """Whether it is an encoder of what is no text, with a decoder: neither is beside the other."""
    is_one = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    main = _asked(model, "get_encoder") if is_one else None
    return main is not None and bool(_input(main) or _kinds_but_text(main))


def _head(model: nn.Module) -> nn.Module | None:
    """What gives a model's words: what it says, or its one layer of as many rows as words."""
    if (head := _asked(model, "get_output_embeddings")) is not None:
        return head
    able, words = getattr(model, "can_generate", None), _words(model)
    if not words or not callable(able) or not able():
        return None
    rows = [m for m in model.children() if getattr(m, "out_features", 0) == words]
    return rows[0] if len(rows) == 1 else None


def _reads_words(part: nn.Module) -> bool:
    """Whether the input of a part is a table of words."""
    return isinstance(_asked(part, "get_input_embeddings"), nn.Embedding)


def _words(model: nn.Module) -> int:
    """How many words a model's config names; 0: none."""
    words = getattr(getattr(model, "config", None), "vocab_size", 0)
    return words if isinstance(words, int) else 0


def _asked(model: nn.Module, name: str, *values: Any) -> nn.Module | None:  # noqa: ANN401  its own
    """Return the module that a method of a model gives; None: there is no such one."""
    method = getattr(model, name, None)
    try:
        found = method(*values) if callable(method) else None
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    return found if isinstance(found, nn.Module) else None
