"""What the exceptions of other people's code mean: one line each, and what to do.

A table, by the names of the exceptions' classes: nothing heavy is imported to know them.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quant.common.errors import HwsimError, RequestError

LONGEST = 300
"""Signs of another's message that are repeated."""
OTHER_FILE = "get the file again, or give another"
NO_ROOM = "use a smaller model, context, batch or grid, or a machine with more memory"
NO_NETWORK = "check the network, or give a local folder"
FREE = "free some of it, or write to another place"


@dataclass(frozen=True)
class Cause:
    """What an exception of somebody else's means.

    Attributes:
        means: In words, in front of the exception's own message.
        advice: What to do.
        is_request: Whether what was given is wrong (exit code 2), or the work failed (1).
    """

    means: str
    advice: str
    is_request: bool = True

    def error(self, said: str) -> HwsimError:
        """Return our exception for it."""
        kind = RequestError if self.is_request else HwsimError
        parts = [part for part in (self.means, said) if part]
        return kind(f"{': '.join(parts)}; {self.advice}")


DAMAGED = Cause("the data is damaged", OTHER_FILE)
SYNTAX = Cause("the text cannot be read", "mend the file, or give another")
REFUSED = Cause("a library refused what it was given", "give another file or value")
MEMORY = Cause("not enough memory", NO_ROOM, is_request=False)
NETWORK = Cause("the network failed", NO_NETWORK, is_request=False)
PROCESS = Cause("another program failed", "see what it said", is_request=False)
DATABASE = Cause("a database failed", "check its place, and that nobody locks it", is_request=False)
TENSORS = Cause("no whole safetensors file", OTHER_FILE)
TOO_LARGE = Cause("a number is too large", "give a smaller one")
CLASSES: dict[str, Cause] = {
    "zlib.error": DAMAGED,
    "_lzma.LZMAError": DAMAGED,
    "gzip.BadGzipFile": DAMAGED,
    "zipfile.BadZipFile": DAMAGED,
    "zipfile.LargeZipFile": DAMAGED,
    "tarfile.TarError": DAMAGED,
    "struct.error": DAMAGED,
    "binascii.Error": DAMAGED,
    "_pickle.PickleError": DAMAGED,
    "builtins.EOFError": Cause("the data ends too early", OTHER_FILE),
    "safetensors_rust.SafetensorError": TENSORS,
    "safetensors._safetensors_rust.SafetensorError": TENSORS,
    "pyo3_runtime.PanicException": Cause("a parser gave up", OTHER_FILE),
    "builtins.RecursionError": Cause("nested too deeply", "give a file that is flatter"),
    "builtins.UnicodeError": Cause("no text in the encoding that is expected, UTF-8", OTHER_FILE),
    "builtins.MemoryError": MEMORY,
    "torch.OutOfMemoryError": MEMORY,
    "builtins.OverflowError": TOO_LARGE,
    "json.decoder.JSONDecodeError": SYNTAX,
    "tomllib.TOMLDecodeError": SYNTAX,
    "tomllib._parser.TOMLDecodeError": SYNTAX,
    "yaml.error.YAMLError": SYNTAX,
    "_csv.Error": SYNTAX,
    "pandas.errors.ParserError": SYNTAX,
    "pandas.errors.EmptyDataError": SYNTAX,
    "xml.etree.ElementTree.ParseError": SYNTAX,
    "jinja2.exceptions.TemplateError": SYNTAX,
    "pyarrow.lib.ArrowException": DAMAGED,
    "pydantic_core._pydantic_core.ValidationError": REFUSED,
    "huggingface_hub.errors.StrictDataclassError": REFUSED,
    "huggingface_hub.errors.HFValidationError": REFUSED,
    "huggingface_hub.errors.RepositoryNotFoundError": Cause("no such model", "check its name"),
    "huggingface_hub.errors.EntryNotFoundError": Cause("no such file", "check the model's name"),
    "huggingface_hub.errors.LocalEntryNotFoundError": NETWORK,
    "huggingface_hub.errors.OfflineModeIsEnabled": NETWORK,
    "huggingface_hub.errors.HfHubHTTPError": NETWORK,
    "requests.exceptions.RequestException": NETWORK,
    "httpx.HTTPError": NETWORK,
    "httpx2.HTTPError": NETWORK,
    "urllib3.exceptions.HTTPError": NETWORK,
    "urllib.error.URLError": NETWORK,
    "http.client.HTTPException": NETWORK,
    "socket.gaierror": NETWORK,
    "ssl.SSLError": NETWORK,
    "builtins.BrokenPipeError": PROCESS,
    "builtins.ConnectionError": NETWORK,
    "builtins.TimeoutError": NETWORK,
    "numpy.linalg.LinAlgError": Cause("no solution", "give other data", is_request=False),
    "sqlite3.Error": DATABASE,
    "subprocess.SubprocessError": PROCESS,
    "concurrent.futures.process.BrokenProcessPool": Cause(
        "a worker process died", f"if memory was short: {NO_ROOM}", is_request=False
    ),
}
"""The full name of an exception's class, or of one that it derives from, to what it means."""
TEXTS: dict[tuple[str, str], Cause] = {
    ("builtins.ValueError", "Exceeds the limit"): Cause("a number has too many digits", OTHER_FILE),
    ("builtins.ValueError", "embedded null"): Cause("a name has a null sign", "give another name"),
    ("builtins.ValueError", "array is too big"): MEMORY,
    ("builtins.ValueError", "Maximum allowed dimension"): MEMORY,
    ("builtins.RuntimeError", "not enough memory"): MEMORY,
    ("builtins.RuntimeError", "can't allocate memory"): MEMORY,
    ("builtins.RuntimeError", "Cannot allocate memory"): MEMORY,
    ("builtins.RuntimeError", "out of memory"): MEMORY,
    ("builtins.RuntimeError", "Storage size calculation overflowed"): MEMORY,
    ("builtins.RuntimeError", "can't start new thread"): Cause(
        "no thread can be started", "end other programs, or raise the limit", is_request=False
    ),
    ("builtins.RuntimeError", "PytorchStreamReader"): DAMAGED,
}
"""Class and a part of the message: for classes that also mean something else."""
RUST = re.compile(r"\(os error (\d{1,3})\)")
"""What Rust says of the system's errors, in exceptions of any class (tokenizers, safetensors)."""
GIVEN = {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP,
    errno.ENAMETOOLONG, errno.EINVAL, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO,
}  # fmt: skip
"""What the system says of a place that was given: another place is needed."""
SYSTEM: dict[int, str] = {
    errno.ENOSPC: FREE,
    errno.EDQUOT: FREE,
    errno.EFBIG: "the limit of a file's size is reached (ulimit -f): raise it",
    errno.EIO: "the disk or the device fails: use another",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOMEM: NO_ROOM,
    errno.EAGAIN: "end other programs, or raise the limits (ulimit -a)",
}
"""What to do where the system failed."""


def explained(error: BaseException) -> HwsimError | None:
    """Return our exception for what an exception of somebody else's means; None: not known.

    A ``HwsimError`` is returned as it is. What is not known is most likely a fault of ours.
    """
    if isinstance(error, HwsimError):
        return error
    if isinstance(error, ImportError):
        return _of_import(error)
    said = told(error)
    if not isinstance(error, OSError) and (number := RUST.search(str(error))):
        code = int(number[1])
        return _of_system(OSError(code, os.strerror(code)), said)
    if (cause := _cause(error)) is not None:
        return cause.error(said)
    return _of_system(error, said) if isinstance(error, OSError) else None


def _cause(error: BaseException) -> Cause | None:
    """The entry of the tables for an exception: its own class first, then those above it."""
    text = str(error).lower()
    for kind in type(error).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}"
        for (other, part), cause in TEXTS.items():
            if other == name and part.lower() in text:
                return cause
        if name in CLASSES:
            return CLASSES[name]
    # Nobody but a library, such as tokenizers, raises the bare class.
    return REFUSED if type(error) is Exception else None


@contextmanager
def foreign(where: str | Path) -> Iterator[None]:
    """Turn what somebody else's parser raises while it reads ``where`` into our exceptions.

    Ours pass through; so do interruptions.

    Args:
        where: The file or folder, for the message.

    Raises:
        RequestError: what is read is wrong; the message names it.
        HwsimError: it could not be read for want of memory, network or the like.
    """
    try:
        yield
    except HwsimError:
        raise
    except BaseException as error:
        known = explained(error)
        if isinstance(error, ImportError) and known is not None:
            raise known from error
        if known is not None and not isinstance(known, RequestError):
            raise HwsimError(f"{where}: {known}") from error
        if known is None and not isinstance(error, Exception):
            raise
        raise RequestError(f"{where}: {known or REFUSED.error(told(error))}") from error


def told(error: BaseException) -> str:
    """Return what an exception says, on one line, its class first where that tells more."""
    message = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        names = [repr(str(name)) for name in (error.filename, error.filename2) if name is not None]
        message = ": ".join(filter(None, [" and ".join(names), error.strerror]))
    if isinstance(error, KeyError):
        message = f"no {message}"
    if len(message) > LONGEST:
        message = f"{message[:LONGEST]} ..."
    plain = type(error) is Exception or isinstance(error, OSError)
    return message if plain and message else ": ".join(filter(None, [_short(error), message]))


def _short(error: BaseException) -> str:
    """The name of an exception's class, as its users write it."""
    kind = type(error)
    package = kind.__module__.partition(".")[0].lstrip("_")
    return kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def _of_system(error: OSError, said: str) -> HwsimError:
    number = error.errno
    if number is None:  # a library's own words: transformers says so what a folder lacks
        is_network = any(part in str(error) for part in ("connect", "offline", "internet"))
        return (NETWORK if is_network else REFUSED).error(said)
    if number in GIVEN:
        advice = "give a place that is there, and that may be read or written"
        return RequestError(f"{said}; {advice}")
    return HwsimError(f"{said}; {SYSTEM[number]}" if number in SYSTEM else said)


def _of_import(error: ImportError) -> HwsimError | None:
    """A package that is not installed, or cannot be loaded; None: a module of ours is missing."""
    try:
        extras = importlib.import_module("quant.common.extras")
    except ImportError:
        extras = None
    missing = extras.missing_extra(error) if extras is not None else None
    if isinstance(missing, RequestError):
        return missing
    package = (error.name or "").partition(".")[0]
    if package in {"quant", "roofline", "hwsim"}:
        return None
    if isinstance(error, ModuleNotFoundError) and package:
        return RequestError(f"the Python package {package} is not installed: pip install {package}")
    what = f"the Python package {package}" if package else "a Python package"
    return HwsimError(f"{what} cannot be loaded: {told(error)}; install it again")
