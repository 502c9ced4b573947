"""The text that methods look at: ours or the user's, in windows and batches of a size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.files import sha256_of
from quant.common.progress import say
from quant.models.texts import calibration_text, tokens_of

if TYPE_CHECKING:
    import torch

    from quant.layers.blocks import CalibrationData
    from quant.methods.base import Method

USUAL, WINDOW = 8192, 512
"""Tokens of the calibration text for models of ordinary widths, and of a window."""


@dataclass(frozen=True)
class CalibrationText:
    """What of which text is looked at.

    Attributes:
        tokens: How many; None: 8192, or as many as the widest layer has inputs, since a Hessian of
            fewer is not of full rank.
        file: UTF-8 text, or JSON Lines with ``messages`` or ``text`` a line; None: C4 web pages.
        chat: Put every document (what blank lines separate, or a line of JSON) into the
            tokenizer's chat template, a text as what a user says.
        window: Tokens of a sequence.
        batch: Sequences at once.
    """

    tokens: int | None = None
    file: Path | None = None
    chat: bool = False
    window: int = WINDOW
    batch: int = 1

    def __post_init__(self) -> None:
        def size(name: str, value: object) -> int:
            return arguments.integer(name, value, 2)

        if self.tokens is not None:
            arguments.check_fields(self, {"tokens": size})
        if self.file is not None:
            object.__setattr__(self, "file", arguments.path("file", self.file))
        arguments.check_fields(self, {"chat": arguments.flag, "window": size})
        object.__setattr__(self, "batch", arguments.integer("batch", self.batch, 1))
        if self.file is not None and not self.file.is_file():
            what = "a folder: a file is needed" if self.file.is_dir() else "no such file"
            raise RequestError(f"calibration text {str(self.file)!r}: {what}")
        if self.tokens is not None and self.tokens < self.window:
            raise RequestError(
                f"{self.tokens} calibration tokens: at least one window of {self.window} is needed"
            )

    @property
    def facts(self) -> dict[str, Any]:
        """What a result depends on, as JSON can hold it."""
        return {**vars(self), "file": sha256_of(self.file) if self.file else ""}

    @property
    def name(self) -> str:
        """What is looked at, for reports."""
        return self.file.name if self.file else "C4 web pages"

    def count(self, widest: int = 0) -> int:
        """Return how many tokens are taken for a model whose widest layer has so many inputs."""
        if self.tokens is not None:
            return self.tokens
        return max(USUAL, -(-widest // self.window) * self.window)

    def read(self, tokenizer: Any, widest: int = 0) -> torch.Tensor:  # noqa: ANN401  transformers'
        """Return the tokens ``[n]`` int64.

        Raises:
            RequestError: a text with fewer tokens than asked for, or than one window; a tokenizer
                without a chat template where one is needed; a file that is not readable.
        """
        count = self.count(widest)
        text = self._text(tokenizer)
        found = tokens_of(tokenizer, text, count)
        if (self.tokens is not None and len(found) < count) or len(found) < self.window:
            raise RequestError(f"{max(count, self.window)} tokens: {self.name} has {len(found)}")
        return found

    def data(self, tokenizer: Any, widest: int = 0) -> CalibrationData:  # noqa: ANN401  as above
        """Return the tokens as calibration data: windows, several a batch where asked for."""
        tokens = self.read(tokenizer, widest)
        if (self.window, self.batch) == (WINDOW, 1):
            return tokens
        windows = tokens[: len(tokens) // self.window * self.window].view(-1, self.window)
        starts = range(0, len(windows), self.batch)
        return [{"input_ids": windows[start : start + self.batch]} for start in starts]

    def _text(self, tokenizer: Any) -> str:  # noqa: ANN401  as above
        documents = list(_documents(self.file)) if self.file else [calibration_text()]
        if not self.chat:
            return "\n\n".join(map(_plain, documents))
        if not getattr(tokenizer, "chat_template", None):
            raise RequestError("the tokenizer has no chat template: leave --chat out")
        if self.file is None:
            documents = [part for part in str(documents[0]).split("\n") if part.strip()]
        try:
            return "".join(
                tokenizer.apply_chat_template(_messages(entry), tokenize=False)
                for entry in documents
            )
        except Exception as error:  # a template raises what it likes
            raise RequestError(f"{self.name}: the chat template refuses it: {error}") from None


def calibration_for(
    method: Method,
    tokenizer: Any,  # noqa: ANN401  transformers'
    text: CalibrationText,
    widest: int = 0,
) -> CalibrationData | None:
    """Return calibration data where a method looks at inputs, else None.

    A text of the user's that is not read is said to be so.
    """
    if method.uses_calibration:
        return text.data(tokenizer, widest)
    if text.file is not None:
        say(f"method {method.name!r} looks at no inputs: {text.name} is not read")
    return None


def _documents(path: Path) -> Iterator[str | list[Mapping[str, Any]]]:
    """The documents of a file: texts, or lists of messages."""
    try:
        whole = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: not readable as UTF-8 text: {error}") from None
    if path.suffix != ".jsonl":
        yield from (part for part in whole.split("\n\n") if part.strip())
        return
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{path}, line {number}: no JSON: {error}") from None
        if entry is None:
            continue
        found = entry.get("messages", entry.get("text")) if isinstance(entry, dict) else entry
        if isinstance(found, str) or (isinstance(found, list) and all(map(_is_message, found))):
            yield found
        else:
            raise RequestError(f"{path}, line {number}: neither 'text' nor 'messages' of texts")


def _is_message(part: object) -> bool:
    return (
        isinstance(part, dict)
        and isinstance(part.get("role"), str)
        and isinstance(part.get("content"), str)
    )


def _plain(document: str | list[Mapping[str, Any]]) -> str:
    if isinstance(document, str):
        return document
    return "\n".join(message["content"] for message in document)


def _messages(document: str | list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": document}] if isinstance(document, str) else document
