"""Mixers with a state of fixed size: Mamba, Mamba-2 and gated delta nets."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.workloads.amounts import SEQUENCES, TOKENS
from roofline.workloads.models.builder import Builder
from roofline.workloads.ops import Elementwise, ShortConvolution
from roofline.workloads.ops.elementwise import CONVOLUTION, SCAN

STATE_BYTES = 4
"""The recurrent state is float32 in the published kernels."""
SCAN_OPERATIONS = {"Mamba": 7, "Mamba2": 6, "DeltaNet": 8}
"""Operations a token and number of the state: decay, outer product, update, read-out (a delta net
reads the state once more, for its correction)."""


@dataclass(frozen=True)
class Mamba:
    """Mamba (Gu and Dao 2023): ``inner`` channels with ``state`` numbers each."""

    hidden: int
    inner: int
    state: int
    kernel: int
    rank: int
    conv_bias: bool = True
    bias: bool = False


def mamba(build: Builder, at: str, shape: Mamba) -> None:
    """Add a selective state-space mixer."""
    inner = build.shard(shape.inner, "inner width")
    build.linear(f"{at}.in_proj", shape.hidden, 2 * inner, shape.bias)
    _convolve(build, at, inner, shape.kernel, shape.conv_bias)
    build.linear(f"{at}.x_proj", inner, shape.rank + 2 * shape.state)
    build.linear(f"{at}.dt_proj", shape.rank, inner, bias=True)
    _scan(build, at, "Mamba", inner, shape.state, inner * (shape.state + 1))
    build.linear(f"{at}.out_proj", inner, shape.hidden, shape.bias)
    build.all_reduce(f"{at}.all_reduce", shape.hidden)


@dataclass(frozen=True)
class Mamba2:
    """Mamba-2 (Dao and Gu 2024): heads of ``width`` channels, B and C shared by groups."""

    hidden: int
    heads: int
    width: int
    state: int
    groups: int
    kernel: int
    bias: bool = False


def mamba2(build: Builder, at: str, shape: Mamba2) -> None:
    """Add a state-space-duality mixer."""
    heads = build.shard(shape.heads, "Mamba heads")
    inner, shared = heads * shape.width, 2 * build.shard(shape.groups, "groups") * shape.state
    build.linear(f"{at}.in_proj", shape.hidden, 2 * inner + shared + heads, shape.bias)
    _convolve(build, at, inner + shared, shape.kernel, bias=True)
    _scan(build, at, "Mamba2", inner, shape.state, 3 * heads)
    build.norm(f"{at}.norm", inner)
    build.linear(f"{at}.out_proj", inner, shape.hidden, shape.bias)
    build.all_reduce(f"{at}.all_reduce", shape.hidden)


@dataclass(frozen=True)
class DeltaNet:
    """Gated delta net (Yang et al. 2024, arXiv 2412.06464), as in Qwen 3.5."""

    hidden: int
    key_heads: int
    value_heads: int
    key_width: int
    value_width: int
    kernel: int


def delta_net(build: Builder, at: str, shape: DeltaNet) -> None:
    """Add a gated delta net."""
    keys = build.shard(shape.key_heads, "key heads") * shape.key_width
    heads = build.shard(shape.value_heads, "value heads")
    values = heads * shape.value_width
    build.linear(f"{at}.in_proj_qkv", shape.hidden, 2 * keys + values)
    build.linear(f"{at}.in_proj_z", shape.hidden, values)
    build.linear(f"{at}.in_proj_b", shape.hidden, heads)
    build.linear(f"{at}.in_proj_a", shape.hidden, heads)
    _convolve(build, at, 2 * keys + values, shape.kernel, bias=False)
    _scan(build, at, "DeltaNet", values, shape.key_width, 2 * heads)
    build.norm(f"{at}.norm", shape.value_width, vectors=heads)
    build.activation(f"{at}.gate", values, gated=True)
    build.linear(f"{at}.out_proj", values, shape.hidden)
    build.all_reduce(f"{at}.all_reduce", shape.hidden)


def _convolve(build: Builder, at: str, channels: int, kernel: int, bias: bool) -> None:
    """A short causal convolution per channel; its last ``kernel - 1`` inputs are kept."""
    kept = SEQUENCES * (channels * (kernel - 1) * build.act.bytes_each)
    path = f"{at}.conv1d"
    build.add(
        ShortConvolution(
            path,
            build.act,
            CONVOLUTION,
            TOKENS * channels,
            2 * kernel + 5,
            weights=build.format_of(path),
            channels=channels,
            kernel=kernel,
            weights_read=channels * bias,
            special=1,
            state=kept * 2,
            state_kept=kept,
        )
    )


def _scan(build: Builder, at: str, kind: str, channels: int, state: int, weights: int) -> None:
    """Update the state ``[channels, state]`` with each token and read it out."""
    kept = SEQUENCES * (channels * state * STATE_BYTES)
    build.add(
        Elementwise(
            f"{at}.scan",
            build.act,
            SCAN,
            TOKENS * channels,
            SCAN_OPERATIONS[kind] * state,
            inputs=2 + 2 * state / channels,
            weights_read=weights,
            special=1,
            state=kept * 2,
            state_kept=kept,
        )
    )
