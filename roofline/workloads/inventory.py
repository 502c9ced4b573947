"""A model's matrices as ops have them: the paths, shapes and counts that ``quant`` finds too.

An expert of a stack is ``...experts.gate_up_proj[3]``. Routers of experts are no matrices that a
plan names; they keep their 16 bits and are listed apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from quant.formats.spec import FormatLike, FormatSpec
from quant.layers.coverage import OUTSIDE
from quant.layers.patterns import chosen_by
from quant.plan import HEAD as HEAD_PATH
from roofline.workloads.ops import Op
from roofline.workloads.setting import PLAIN

Sizes: TypeAlias = tuple[int, int]
TABLE, HEAD = OUTSIDE
ROUTER = "router"
"""Why a plan's ``"*"`` does not mean a matrix."""
INNER = "language_model."
"""What stands before the paths of the text part in a model of several kinds of input."""
TOWERS = (
    "acoustic_tokenizer_encoder", "audio_encoder", "audio_model", "audio_tower", "codec_model",
    "connector", "embed_audio", "embed_tokens_extend", "embed_vision", "encoder",
    "high_res_vision_model", "image_encoder", "image_model", "image_tower", "multi_modal_projector",
    "semantic_tokenizer_encoder", "speech_encoder", "token2wav", "video_tower", "vision_encoder",
    "vision_model", "vision_tokenizer", "vision_tower", "visual", "vqmodel",
    "word_timestamp_encoder",
)  # fmt: skip
"""Modules for images and sound, which are beside the text part and have no ops here."""


@dataclass(frozen=True)
class Matrix:
    """A matrix of weights.

    Attributes:
        shape: ``(out, in)``.
        apart: Why ``"*"`` does not mean it (``head``, ``embedding``, ``router``); empty: it does.
    """

    shape: Sizes
    apart: str = ""

    @property
    def count(self) -> int:
        """How many weights it has."""
        return self.shape[0] * self.shape[1]


def matrices_of(ops: Iterable[Op]) -> dict[str, Matrix]:
    """Return the matrices of some ops by path, with their sizes on this device."""
    found: dict[str, Matrix] = {}
    for op in ops:
        matrix = Matrix(op.matrix_shape, _apart(op))
        for path in op.paths:
            if path in found:  # the other half of one
                rows = found[path].shape[0] + matrix.shape[0]
                found[path] = Matrix((rows, matrix.shape[1]), matrix.apart)
            else:
                found[path] = matrix
    return found


def apart_of(ops: Iterable[Op]) -> frozenset[str]:
    """Return the paths that ``"*"`` does not mean."""
    return frozenset(path for op in ops if _apart(op) for path in op.paths)


def is_unnamed(op: Op) -> bool:
    """Whether an op has a matrix that no plan names: a router."""
    return op.weights is not None and not op.paths


def left(ops: Iterable[Op], formats: Collection[str]) -> dict[str, Matrix]:
    """Return the matrices that get no format of a plan; routers are among them.

    Args:
        ops: Of a model.
        formats: Paths of the matrices that get one.
    """
    ops = tuple(ops)
    rest = {path: m for path, m in matrices_of(ops).items() if path not in formats}
    return rest | {op.name: Matrix(op.matrix_shape, ROUTER) for op in ops if is_unnamed(op)}


def left_said(rest: Mapping[str, Matrix], own: Mapping[str, FormatLike]) -> str:
    """Return in a line how many weights a plan leaves, by what they are, with their formats.

    Args:
        rest: The matrices that the plan gives no format, as ``left`` finds them.
        own: Their formats, by why they are apart (``""``: layers); those not named: 16 bits.
    """
    sums: dict[str, int] = {}
    for matrix in rest.values():
        sums[matrix.apart] = sums.get(matrix.apart, 0) + matrix.count
    parts = [
        f"{count:,} ({why or 'layers'}, as {own.get(why, PLAIN)})"
        for why, count in sorted(sums.items(), key=lambda item: -item[1])
    ]
    return f"not in the plan: {sum(sums.values()):,} weights: {', '.join(parts)}" if parts else ""


def assigned(
    patterns: Mapping[str, FormatSpec],
    paths: Collection[str],
    apart: Collection[str],
    towers: bool = False,
) -> dict[str, FormatSpec]:
    """Return the format of each path that gets one, as ``quant.plan.assign``.

    Beside what is allowed there, the path of a stack means all its experts, and paths of the text
    part of a model may begin as those of the whole model (``model.language_model.layers``).

    Args:
        patterns: Path or pattern to format.
        paths: All that may get one.
        apart: Those that ``"*"`` does not mean.
        towers: Whether the model has other parts than text: what names those is left out.

    Raises:
        RequestError: a path or pattern that means none.
    """
    stacks = {path[: path.rindex("[")] for path in paths if path.endswith("]")}
    inner = INNER if not any(INNER in path for path in paths) else ""
    own = {}
    for pattern, spec in patterns.items():
        if towers and is_tower(pattern):
            continue
        name = pattern.replace(inner, "") if inner else pattern
        own[f"{name}[*]" if name in stacks else name] = spec
    return chosen_by(own, paths, apart)


def _apart(op: Op) -> str:
    return TABLE if op.is_apart else HEAD if op.name == HEAD_PATH else ""


def is_tower(pattern: str) -> bool:
    """Whether a path or pattern names a part for images or sound."""
    return any(part in TOWERS for part in pattern.split("."))
