"""Text for calibration (C4 web pages) and for evaluation (Wikipedia): never the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from quant.common.errors import RequestError
from quant.methods.base import Method
from quant.models.catalog import TEXTS
from quant.models.packages import package_file

if TYPE_CHECKING:
    import torch

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
    return _tokens(tokenizer, evaluation_text(), count)


def calibration_tokens(tokenizer: Any, count: int) -> torch.Tensor:  # noqa: ANN401  as above
    """Return the first ``count`` tokens ``[count]`` int64 of the calibration text, without BOS."""
    return _tokens(tokenizer, calibration_text(), count)


def calibration_for(
    method: Method,
    tokenizer: Any,  # noqa: ANN401  as above
    count: int,
) -> torch.Tensor | None:
    """Return calibration tokens ``[count]`` where a method looks at inputs, else None."""
    return calibration_tokens(tokenizer, count) if method.uses_calibration else None


def leading_token(tokenizer: Any) -> int | None:  # noqa: ANN401  as above
    """Return the token that a tokenizer puts before every text (Gemma, Llama); None: no such."""
    first = tokenizer("a", verbose=False)["input_ids"][0]
    return int(first) if first == tokenizer.bos_token_id else None


def _tokens(tokenizer: Any, text: str, count: int) -> torch.Tensor:  # noqa: ANN401  as above
    import torch

    if count < 1:
        raise RequestError(f"{count} tokens: at least 1 is needed")
    # No token is longer than this many characters on average: tokenize a prefix that suffices.
    ids = tokenizer(text[: 16 * count + 1024], add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < count:
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < count:
        raise RequestError(f"{count} tokens: the text has {len(ids)}")
    return torch.tensor(ids[:count], dtype=torch.long)
