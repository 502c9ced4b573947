"""A fault of one line in the Verilog, and a copy of the file that has it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Fault(NamedTuple):
    """A text of a file of ``rtl/array`` and what stands in its place."""

    name: str
    file: str
    old: str
    new: str


def with_fault(file: Path, fault: Fault | None, folder: Path) -> Path:
    """The file, or a copy with the fault that is in it.

    Raises:
        ValueError: the text to change does not stand there exactly once.
    """
    if fault is None or file.name != fault.file:
        return file
    text = file.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.name}: {text.count(fault.old)} times in {fault.file}")
    copy = folder / file.name
    copy.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return copy
