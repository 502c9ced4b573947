"""What the flow must know of a Liberty file: its cells' areas, flip-flops, NAND2 and a buffer."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from quant.common.errors import RequestError

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
HEAD = re.compile(r"\s*library\s*\(\s*\"?([^\s\")]+)\"?\s*\)\s*\{")
TOKEN = re.compile(
    r"(?<!\w)cell\s*\(\s*\"?(?P<cell>[^\s\")]+)\"?\s*\)"
    r"|(?<!\w)area\s*:\s*\"?(?P<area>[0-9.eE+-]+)"
    r"|(?<!\w)(?P<state>ff|ff_bank|latch|latch_bank|statetable)\s*\("
)
# ABC takes a driver only where the cells have tables of delays.
DELAYS = "cell_rise"
# As in sg13g2_nand2_1, sky130_fd_sc_hd__nand2_1, NAND2_X1, NAND2x1_ASAP7_75t_R, ND2D1BWP, nand2.
NAND2 = re.compile(r"(?:^|_)(?:nand2|nd2)(?:_?[xd]?1(?:_?[a-z].*)?)?$", re.IGNORECASE)
BUFFER = re.compile(r"(?:^|_)buf(?:f|fer)?(?:_?[xd]?(\d+)(?:_?[a-z].*)?)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """A cell's area (um2) and whether it stores a bit."""

    area_um2: float
    is_register: bool


@dataclass(frozen=True)
class Library:
    """A Liberty file: where it lies unpacked, and what was read from it."""

    name: str
    file: str
    sha256: str
    path: Path
    cells: Mapping[str, Cell]
    nand2_um2: float | None
    driver: str | None


def read(path: Path, folder: Path) -> Library:
    """Read a Liberty file, plain or gzipped; unpack it into a folder that the tools can read.

    Raises:
        RequestError: no file, or none of that kind.
    """
    packed = _bytes(path)
    text = COMMENT.sub(" ", packed.decode("utf-8", errors="replace"))
    head = HEAD.match(text)
    cells = parse_cells(text) if head else {}
    if head is None or not cells:
        raise RequestError(f"{path} is no Liberty file: it has no 'library (NAME) {{ cell ...'")
    digest = hashlib.sha256(packed).hexdigest()
    plain = folder / f"{digest[:16]}.lib"
    plain.write_bytes(packed)
    nand2 = next((cell for name, cell in cells.items() if NAND2.search(name)), None)
    return Library(
        name=head.group(1),
        file=path.name,
        sha256=digest,
        path=plain,
        cells=cells,
        nand2_um2=nand2.area_um2 if nand2 and nand2.area_um2 > 0 else None,
        driver=driver(cells) if DELAYS in text else None,
    )


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"Liberty file {path}: {reason}") from None


def parse_cells(text: str) -> dict[str, Cell]:
    """Return the cells of a Liberty text without comments, in its order."""
    cells: dict[str, Cell] = {}
    name = ""
    for token in TOKEN.finditer(text):
        if token["cell"]:
            name = token["cell"]
            cells[name] = Cell(0.0, is_register=False)
        elif name and token["area"]:
            # The first area is the cell's.
            old = cells[name]
            cells[name] = Cell(old.area_um2 or float(token["area"]), old.is_register)
        elif name and token["state"]:
            cells[name] = Cell(cells[name].area_um2, is_register=True)
    return cells


def driver(cells: Iterable[str]) -> str | None:
    """Return the buffer that drives the inputs: of strength 4, else the next weaker, else any."""
    found = {name: int(match[1] or 1) for name in cells if (match := BUFFER.search(name))}
    order = sorted(found, key=lambda name: (found[name] > 4, abs(found[name] - 4), name))
    return order[0] if order else None


def check_dont_use(patterns: Iterable[str], libraries: Iterable[Library]) -> None:
    """Refuse a pattern that forbids nothing: it is a misspelling."""
    names = [name for library in libraries for name in library.cells]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise RequestError(f"--dont-use {pattern!r} matches no cell of the Liberty files")
