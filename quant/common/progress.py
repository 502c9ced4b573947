"""Progress bars with time left, on standard error so that results can be piped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Item = TypeVar("Item")
_QUIET = "HWSIM_QUIET"
"""Environment variable, so that worker processes are as quiet as the one that starts them."""


def silence() -> None:
    """Show no progress from here on, in this process and those that it starts."""
    os.environ[_QUIET] = "1"
    silence_libraries()


def silence_libraries() -> None:
    """Let transformers and huggingface_hub draw no bars of their own, which go into files too."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = os.environ["TQDM_DISABLE"] = "1"


def is_silent() -> bool:
    """Whether nothing but results and errors is to be said."""
    return bool(os.environ.get(_QUIET))


def say(message: str) -> None:
    """Print what is being done now on standard error, unless silenced."""
    if not is_silent():
        _stderr().print(message, highlight=False, markup=False)


def progress_bar() -> Progress:
    """Return a progress display: description, bar, count, time spent and time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    stderr = _stderr()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=stderr,
        disable=is_silent() or not stderr.is_terminal,
    )


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items while a bar counts them."""
    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=description)


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)
