"""Exports of a finished quantized checkpoint to the layouts of other runtimes: whole or absent.

A target is prepared from the checkpoint's folder, which refuses what it cannot hold exactly; then
its files are written, one tensor in memory at a time and a shard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant.checkpoints.compressed_export import to_compressed_tensors
from quant.checkpoints.finished import FinishedCheckpoint, open_finished
from quant.checkpoints.gguf_export import to_gguf
from quant.checkpoints.gptq_export import to_awq, to_gptq
from quant.checkpoints.hub_folder import SHARD_BYTES, ExportOptions, Target
from quant.common.errors import unknown_name
from quant.common.goal import Goal
from quant.common.job import job
from quant.common.versions import made_by

SCHEMA = "hwsim.export/1"
TARGETS: dict[str, Target] = {
    "compressed-tensors": to_compressed_tensors,
    "gguf": to_gguf,
    "gptq": to_gptq,
    "awq": to_awq,
}
"""By the names that users type."""


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        folder: Where.
        files: Names of the files.
        said: Layers by what they are stored as, in a line.
        was_there: Whether an earlier run had finished the same.
    """

    folder: Path
    files: tuple[str, ...]
    said: str
    was_there: bool = False


def export_checkpoint(
    checkpoint: Path | FinishedCheckpoint,
    folder: Path,
    to: str,
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
) -> ExportReport:
    """Write a quantized checkpoint in the layout of another runtime.

    Args:
        checkpoint: A folder as ``quant quantize`` writes it, or one that is open.
        folder: The export; whole or absent; nothing is done where it holds just this already.
        to: One of ``TARGETS``.
        options: What else is asked for.
        overwrite: Take the place of an older export; files that are not of it stay.

    Raises:
        RequestError: no checkpoint, an unknown target, a layer that it cannot hold exactly (named
            with its format), or a folder that may not be replaced.
        HwsimError: another process writes there, or the disk is full.
    """
    if to not in TARGETS:
        raise unknown_name("target", to, TARGETS)
    options = options or ExportOptions()
    opened = checkpoint if isinstance(checkpoint, FinishedCheckpoint) else open_finished(checkpoint)
    request = {"to": to, "checkpoint": opened.identity, "options": options.facts, **made_by()}
    goal = Goal(folder, SCHEMA, request, overwrite=overwrite)
    if options.ranged_by and (made := goal.finished()) is not None:  # before inputs are looked at
        return _report(folder, made, was_there=True)
    prepared = TARGETS[to](opened, options)
    with job(goal) as work:
        was_there = work.made is not None
        if not was_there:
            work.finish({"layers": prepared.said}, prepared.write(work.folder))
        return _report(folder, work.made or {}, was_there=was_there)


def _report(folder: Path, made: Mapping[str, Any], *, was_there: bool) -> ExportReport:
    return ExportReport(folder, tuple(made["sha256"]), made["layers"], was_there)


__all__ = ["SHARD_BYTES", "TARGETS", "ExportOptions", "ExportReport", "export_checkpoint"]
