"""What a sensitivity depends on, and a hash of it: the key under which results are kept.

Everything is described by its content: weights by every bit, a format by its levels and rules, an
object with behaviour of its own by the file that defines it. What only moves the last bits of a
sum (processor, number of threads) is left out.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, singledispatch
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from quant.common.progress import track
from quant.formats.spec import FormatSpec
from quant.models.kept import UNSEEN
from quant.rounding.layouts.codecs import codec_of
from quant.tensors.values import raw

PLAIN = (bool, int, float, str, type(None), FunctionType, torch.Tensor, np.ndarray, np.generic)
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
"""Where a module keeps what it calls beside its own code."""


class NoSourceError(Exception):
    """An object was defined in no file, so that nobody can tell whether it changed."""


def key(facts: Mapping[str, object]) -> str:
    """Return the hash of some facts, 32 hexadecimal digits."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def model_facts(model: nn.Module) -> dict[str, object]:
    """Return what a model computes: its modules with their code and settings, and all weights."""
    modules = {
        path: {"code": _code(type(module)), "settings": _settings(module)}
        for path, module in model.named_modules(remove_duplicate=False)
    }
    config: Any = getattr(model, "config", None)
    values = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    return {
        "modules": modules,
        "config": _public(config.to_dict()) if hasattr(config, "to_dict") else None,
        "attention": getattr(config, "_attn_implementation", None),
        "weights": tensor_facts(values),
        "matmul": torch.get_float32_matmul_precision(),
    }


def format_facts(spec: FormatSpec) -> dict[str, object]:
    """Return what a format is: levels, group, scale, rule, and the arithmetic of its layout."""
    return {
        "name": str(spec),
        "spec": describe(spec),
        "codec": describe(codec_of(spec.format.layout)),
    }


def tensor_facts(tensors: Mapping[str, torch.Tensor]) -> dict[str, list[object]]:
    """Return type, shape, place and content of tensors; each is read once, several at a time."""
    different = {id(tensor): tensor for tensor in tensors.values()}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        hashes = track(pool.map(_content, different.values()), "reading weights", len(different))
        known = dict(zip(different, hashes, strict=True))
    return {
        name: [str(tensor.dtype), list(tensor.shape), tensor.device.type, known[id(tensor)]]
        for name, tensor in tensors.items()
    }


@singledispatch
def describe(value: object) -> object:
    """Return a value's content as JSON can hold it: the same in every process.

    Raises:
        NoSourceError: code that was defined in no file is part of it.
    """
    if hasattr(value, "py_func"):  # compiled by numba
        return describe(value.py_func)
    return [_code(type(value)), describe(dict(_fields(value)))]


@describe.register(type(None))
@describe.register(bool)
@describe.register(int)
@describe.register(str)
def _describe_plain(value: object) -> object:
    return value


@describe.register
def _describe_float(value: float) -> object:
    return value.hex() if math.isfinite(value) else str(value)


@describe.register
def _describe_scalar(value: np.generic) -> object:
    return [str(value.dtype), describe(value.item())]


@describe.register(np.ndarray)
def _describe_array(value: NDArray[Any]) -> object:
    content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return [str(value.dtype), list(value.shape), content]


@describe.register(torch.Tensor)
def _describe_tensor(value: torch.Tensor) -> object:
    return [str(value.dtype), list(value.shape), _content(value)]


@describe.register(Mapping)
def _describe_mapping(value: Mapping[object, object]) -> object:
    return sorted(([describe(k), describe(v)] for k, v in value.items()), key=json.dumps)


@describe.register(set)
@describe.register(frozenset)
def _describe_set(value: Iterable[object]) -> object:
    return sorted((describe(entry) for entry in value), key=json.dumps)


@describe.register(list)
@describe.register(tuple)
def _describe_sequence(value: Iterable[object]) -> object:
    return [describe(entry) for entry in value]


@describe.register(type)
def _describe_class(value: type) -> object:
    return _code(value)


@describe.register
def _describe_function(value: FunctionType) -> object:
    """A function by its file, its place there, and what it holds besides."""
    held = [cell.cell_contents for cell in value.__closure__ or ()]
    line = value.__code__.co_firstlineno
    return [_where(value), line, *map(describe, (value.__defaults__, value.__kwdefaults__, held))]


@describe.register
def _describe_method(value: MethodType) -> object:
    return [describe(value.__func__), describe(value.__self__)]


@describe.register(functools.partial)
def _describe_partial(value: functools.partial[object]) -> object:
    return ["partial", *map(describe, (value.func, value.args, value.keywords))]


def _fields(value: object) -> Iterator[tuple[str, object]]:
    """An object's own content; of dataclasses without what they derive from it and keep."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name)
    else:
        yield from getattr(value, "__dict__", {}).items()


def _code(kind: type) -> list[str]:
    """The files that a class and its bases come from."""
    return [_where(base) for base in kind.__mro__ if base is not object]


def _where(thing: type | FunctionType) -> str:
    name = f"{thing.__module__}.{thing.__qualname__}"
    if thing.__module__ in ("builtins", "typing", "abc"):
        return name
    try:
        return f"{name} {_file(Path(inspect.getfile(thing)))}"
    except (TypeError, OSError):
        raise NoSourceError(name) from None


def _file(path: Path) -> str:
    state = path.stat()
    return _hash_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _hash_of(path: Path, _written_ns: int, _size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _settings(module: nn.Module) -> object:
    """The plain attributes of a module, tensors among them, and the functions that it was given."""
    ours = {*vars(nn.Module()), *UNSEEN, "_is_hf_initialized"} - {"training"}
    settings = {name: value for name, value in vars(module).items() if name not in ours}
    plain = {name: value for name, value in settings.items() if _is_plain(value)}
    hooks = {name: list(getattr(module, name).values()) for name in HOOKS}
    return describe({**plain, **{name: value for name, value in hooks.items() if value}})


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list | set | frozenset):
        return all(_is_plain(entry) for entry in value)
    if isinstance(value, Mapping):
        return all(_is_plain(entry) for pair in value.items() for entry in pair)
    return isinstance(value, PLAIN)


def _public(config: Mapping[str, Any]) -> object:
    return json.loads(json.dumps({k: v for k, v in config.items() if k not in UNSEEN}, default=str))


def _content(tensor: torch.Tensor) -> str:
    return hashlib.sha256(raw(tensor)).hexdigest()
