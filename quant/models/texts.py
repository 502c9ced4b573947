"""Text for calibration (C4 web pages) and for evaluation (Wikipedia): never the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from quant.common import arguments
from quant.common.errors import RequestError
from quant.models.catalog import TEXTS
from quant.models.packages import package_file

if TYPE_CHECKING:
    import torch

    from quant.layers.blocks import CalibrationData

WIKI, C4 = TEXTS.files
LEAST_WORDS = 200
DOCUMENT = re.compile(r'<doc id="[^"]*"[^>]*title="([^"]*)"[^>]*>(.*?)</doc>', re.DOTALL)


def evaluation_text() -> str:
    """Return Wikipedia articles of at least 200 words: title, blank line, body (1.5 MB)."""
    text = package_file(TEXTS, WIKI).read_text(encoding="utf-8")
    articles = []
    for title, body in DOCUMENT.findall(text):
        lines = [line.strip() for line in body.split("\n")]
        lines = [line for line in lines if line]
        if lines and lines[0] == title.strip():
            del lines[0]
        if len(" ".join(lines).split()) >= LEAST_WORDS:
            articles.append(title.strip() + "\n\n" + "\n".join(lines))
    return "\n\n".join(articles)


def calibration_text() -> str:
    """Return C4 web pages (1.3 MB)."""
    return package_file(TEXTS, C4).read_text(encoding="utf-8")


def evaluation_tokens(tokenizer: Any, count: int) -> torch.Tensor:  # noqa: ANN401  transformers'
    """Return the first ``count`` tokens ``[count]`` int64 of the evaluation text, without BOS."""
    return _tokens(tokenizer, evaluation_text, count)


def calibration_tokens(tokenizer: Any, count: int) -> torch.Tensor:  # noqa: ANN401  as above
    """Return the first ``count`` tokens ``[count]`` int64 of the calibration text, without BOS."""
    return _tokens(tokenizer, calibration_text, count)


def leading_token(tokenizer: Any) -> int | None:  # noqa: ANN401  as above
    """Return the token that a tokenizer puts before every text (Gemma, Llama); None: no such."""
    first = tokenizer("a", verbose=False)["input_ids"][0]
    return int(first) if first == tokenizer.bos_token_id else None


def token_ids(name: str, value: object) -> torch.Tensor:
    """Return an argument that is token ids as a tensor ``[n]`` int64.

    Args:
        name: The argument.
        value: A list, numpy array or tensor of integers, of one dimension.

    Raises:
        RequestError: anything else, or an id below 0.
    """
    import numpy as np
    import torch

    allowed = "token ids, whole numbers in one dimension,"
    if isinstance(value, torch.Tensor):
        whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
        ids = value.detach()
    elif isinstance(value, np.ndarray):
        whole, ids = value.dtype.kind in "iu", torch.empty(0)
        if whole:
            ids = torch.from_numpy(value.astype(np.int64))
    else:
        ids = torch.tensor(arguments.several(name, value, arguments.integer), dtype=torch.long)
        whole = True
    if not whole or ids.ndim != 1:
        raise arguments.wrong_type(name, value, allowed)
    tokens = torch.as_tensor(ids).to(torch.long)
    if tokens.numel() and tokens.device.type != "meta" and int(tokens.min()) < 0:
        raise RequestError(f"{name}: token {int(tokens.min())} is not allowed: ids begin at 0")
    return tokens


def check_vocabulary(model: torch.nn.Module, data: CalibrationData | None) -> None:
    """Refuse tokens that a model has no embeddings of.

    Args:
        model: Whose config says how many there are; else nothing is refused.
        data: Token ids of any shape, batches, or None.

    Raises:
        RequestError: with the largest token.
    """
    import torch

    size = getattr(getattr(model, "config", None), "vocab_size", None)
    if data is None or not isinstance(size, int):
        return
    for batch in [data] if isinstance(data, torch.Tensor) else data:
        ids: Any = batch.get("input_ids") if isinstance(batch, Mapping) else batch
        whole = isinstance(ids, torch.Tensor) and not ids.is_floating_point() and ids.numel() > 0
        if whole and ids.device.type != "meta" and int(ids.max()) >= size:
            raise RequestError(
                f"token {int(ids.max())} is not allowed: the model's vocabulary has {size}"
            )


def calibration_data(name: str, value: object) -> CalibrationData:
    """Return an argument that is calibration data as token ids ``[n]`` or a list of batches.

    Args:
        name: The argument.
        value: Token ids as ``token_ids`` takes them, or batches: tensors, or mappings of the
            model's arguments.

    Raises:
        RequestError: anything else.
    """
    import numpy as np
    import torch

    if isinstance(value, np.ndarray) or (isinstance(value, torch.Tensor) and value.ndim == 1):
        return token_ids(name, value)
    scalar = isinstance(value, torch.Tensor) and value.ndim == 0
    if scalar or isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise arguments.wrong_type(name, value, "token ids, or a list of batches,")
    batches = list(value)
    if batches and not any(isinstance(batch, torch.Tensor | Mapping) for batch in batches):
        return token_ids(name, batches)
    for i, batch in enumerate(batches):
        allowed = "a tensor, or a mapping of the model's arguments,"
        arguments.one_of(f"{name}[{i}]", batch, (torch.Tensor, Mapping), allowed)
    return batches


def _tokens(tokenizer: Any, source: Callable[[], str], count: int) -> torch.Tensor:  # noqa: ANN401  as above
    count = arguments.integer("count", count, 1)
    if not callable(tokenizer) or isinstance(tokenizer, type):
        raise arguments.wrong_type("tokenizer", tokenizer, "a tokenizer of transformers")
    found = tokens_of(tokenizer, source(), count)
    if len(found) < count:
        raise RequestError(f"{count} tokens: the text has {len(found)}")
    return found


def tokens_of(tokenizer: Any, text: str, most: int) -> torch.Tensor:  # noqa: ANN401  as above
    """Return the first tokens ``[n]`` int64 of a text, without BOS: ``most``, or all of it."""
    import torch

    # No token is longer than this many characters on average: tokenize a prefix that suffices.
    ids = _ids(tokenizer, text[: 16 * most + 1024])
    if len(ids) < most:
        ids = _ids(tokenizer, text)
    return torch.tensor(ids[:most], dtype=torch.long)


def _ids(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401  as above
    try:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    except (TypeError, KeyError):
        raise arguments.wrong_type("tokenizer", tokenizer, "a tokenizer of transformers") from None
    return ids
