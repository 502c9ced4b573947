"""Ops with a weight matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quant.common.errors import RequestError
from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import NOTHING, ONE, TOKENS, Amount, round_up
from roofline.workloads.ops.base import Op, Operands, Product, stored
from roofline.workloads.ops.defaults import BaseOp
from roofline.workloads.ops.kernels import product_class


@dataclass(frozen=True, slots=True)
class Linear(BaseOp):
    """``y[tokens, out] = x[tokens, in] @ W[out, in].T``; K and V projections write the cache.

    Attributes:
        in_features: Inputs, on this device.
        out_features: Outputs, on this device.
        weights: Format of W.
        tokens: Rows of x.
        bias: Whether a 16-bit bias is added.
        cache: Format of the KV cache, for projections that write it.
        cached: Numbers a token that go to the cache.
        kept: Tokens that stay in the cache after the step.
        density: Share of the weights that are not pruned (N:M sparsity); MACs and codes shrink.
        index_bits: Bits that say where a kept weight is (N:M sparsity).
        rows_padded_to: Tokens that are computed are rounded up to multiples of this.
        tied: Whether W is the embedding table, which is stored and counted there.
    """

    in_features: int
    out_features: int
    weights: FormatSpec
    tokens: Amount = TOKENS
    bias: bool = False
    cache: FormatSpec | None = None
    cached: int = 0
    kept: Amount = NOTHING
    density: float = 1.0
    index_bits: float = 0.0
    rows_padded_to: int = 1
    tied: bool = False

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """``(out, in)``."""
        return self.out_features, self.in_features

    @property
    def product(self) -> Product:
        """One product."""
        return Product(ONE, self.tokens, self.out_features * ONE, self.in_features * ONE)

    @property
    def operands(self) -> Operands:
        """The matrix, and x."""
        return Operands(self.weights, self.activations, self.weight_bytes, self.input_bytes)

    @property
    def launch_group(self) -> tuple[object, ...] | None:
        """Its input: neighbours that share it (q, k and v; gate and up) run as one kernel."""
        return ("Linear", self.in_features, self.tokens)

    def kernel_class(self, queries: float) -> str:
        """Return the class of products of its operands."""
        return product_class(self.weights, self.activations)

    @property
    def macs(self) -> Amount:
        """``tokens * in * out``."""
        padded = self.rows_padded_to > 1
        rows = round_up(self.tokens, self.rows_padded_to) if padded else self.tokens
        return rows * (self.in_features * self.out_features * self.density)

    @property
    def stored_bytes(self) -> float:
        """All stored bits of the weight, and a 16-bit bias; 0 where a tied table serves."""
        return 0.0 if self.tied and self.weights.format.is_plain else self._matrix_bytes

    @property
    def _matrix_bytes(self) -> float:
        kept = max(1, round(self.in_features * self.density))
        bits: float = self.weights.storage_bits(self.out_features, kept)
        bits += self.out_features * kept * self.index_bits
        return bits / 8 + (2 * self.out_features if self.bias else 0)

    @property
    def weight_bytes(self) -> Amount:
        """All stored bits of the weight, and a 16-bit bias."""
        return ONE * self._matrix_bytes

    @property
    def input_bytes(self) -> Amount:
        """``x`` once."""
        return stored(self.activations, self.tokens, self.in_features)

    @property
    def output_bytes(self) -> Amount:
        """``y`` once, but for what goes to the cache."""
        plain = self.out_features - self.cached
        return stored(self.activations, self.tokens, plain) if plain > 0 else NOTHING

    @property
    def kv_bytes(self) -> Amount:
        """What goes to the cache, in its format."""
        return NOTHING if self.cache is None else stored(self.cache, self.tokens, self.cached)

    @property
    def cached_bytes(self) -> Amount:
        """The tokens that stay."""
        return NOTHING if self.cache is None else stored(self.cache, self.kept, self.cached)

    @property
    def parameters(self) -> int:
        """Weights and biases; a tied table is counted where it is stored."""
        return 0 if self.tied else self.out_features * (self.in_features + self.bias)


@dataclass(frozen=True, slots=True)
class Router(Linear):
    """The scores by which tokens are sent to experts: no plan names it, it keeps its format."""

    @property
    def kind(self) -> str:
        """As any product with one matrix."""
        return Linear.__name__

    @property
    def paths(self) -> tuple[str, ...]:
        """None: it is no layer that is quantized."""
        return ()


@dataclass(frozen=True, slots=True)
class Experts(Linear):
    """The same matrix of many experts; each token goes through the ``chosen`` best.

    Attributes:
        experts: Experts on this device.
        used: Expected distinct experts that the step uses here.
        members: Which of ``stack`` (experts of all devices; 0: all are here); empty: all.
        pool: Experts that a token chooses ``chosen`` of (0: not known); 0: these.
        batches: Batches whose tokens meet here.
    """

    experts: int = 1
    used: Amount = ONE
    stack: int = 0
    members: tuple[int, ...] = ()
    pool: int = 0
    chosen: int = 0
    batches: float = 1.0

    @property
    def paths(self) -> tuple[str, ...]:
        """Each expert's: ``path[0]`` and on."""
        path = self.name.partition("[")[0]
        return tuple(f"{path}[{index}]" for index in self._indices)

    @property
    def _indices(self) -> tuple[int, ...]:
        return self.members or tuple(range(self.stack or self.experts))

    def with_formats(self, formats: Mapping[str, FormatSpec]) -> tuple[Op, ...]:
        """Return an op for each format, with its share of the experts and of the tokens.

        Raises:
            RequestError: formats that differ among experts that several devices share.
        """
        groups: dict[FormatSpec, list[int]] = {}
        for index, path in zip(self._indices, self.paths, strict=True):
            groups.setdefault(formats.get(path, self.weights), []).append(index)
        if len(groups) == 1:
            return (self.with_weights(next(iter(groups))),)
        if self.stack not in (0, self.experts):
            raise RequestError(f"{self.name}: experts of different formats: ep of 1 is allowed")
        return tuple(self._part(spec, tuple(members)) for spec, members in groups.items())

    def _part(self, spec: FormatSpec, members: tuple[int, ...]) -> Experts:
        share = len(members) / self.experts
        return replace(
            self,
            name=f"{self.name.partition('[')[0]}[{ranges(members)}]",
            weights=spec,
            experts=len(members),
            used=self.used * share,
            tokens=self.tokens * share,
            stack=0,
            members=members,
        )

    @property
    def launch_group(self) -> tuple[object, ...] | None:
        """None: all experts are one kernel already."""
        return None

    @property
    def product(self) -> Product:
        """A product per expert in use, of its mean share of the tokens."""
        return Product(self.used, self.tokens, self.out_features * ONE, self.in_features * ONE)

    @property
    def stored_bytes(self) -> float:
        """All experts."""
        return self.experts * self._matrix_bytes

    @property
    def weight_bytes(self) -> Amount:
        """The experts in use."""
        return self.used * self._matrix_bytes

    @property
    def parameters(self) -> int:
        """Of all experts."""
        return self.experts * self.out_features * (self.in_features + self.bias)


@dataclass(frozen=True, slots=True)
class Grouped(Linear):
    """Products of their own for ``groups`` parts of the inputs and outputs (heads of MLA).

    Attributes:
        groups: Products; ``out_features`` is of all groups, ``in_features`` of one.
        image: Numbers read.
    """

    groups: int = 1
    image: Amount = NOTHING

    @property
    def launch_group(self) -> tuple[object, ...] | None:
        """None: all groups are one kernel already."""
        return None

    @property
    def product(self) -> Product:
        """One product per group."""
        outputs = self.out_features // self.groups * ONE
        rows = self.tokens * self.groups
        return Product(self.groups * ONE, rows, outputs, self.in_features * ONE)

    @property
    def input_bytes(self) -> Amount:
        """Each number once (of a convolution: the image, not its unfolded copy)."""
        return stored(self.activations, self.image, 1)


@dataclass(frozen=True, slots=True)
class Half(Grouped):
    """One half of a matrix that is multiplied apart from the other (MLA in the latent space).

    Its path is that of the matrix, and what the half is for.

    Attributes:
        is_turned: Whether it is multiplied from its other side.
    """

    is_turned: bool = False

    @property
    def kind(self) -> str:
        """As other products in groups."""
        return Grouped.__name__

    @property
    def paths(self) -> tuple[str, ...]:
        """That of the whole matrix."""
        return (self.name.rpartition(".")[0],)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """``(out, in)`` as the whole matrix has it."""
        each = self.out_features // self.groups
        rows, columns = (self.in_features, each) if self.is_turned else (each, self.in_features)
        return self.groups * rows, columns


@dataclass(frozen=True, slots=True)
class Convolution(Grouped):
    """A convolution as ``[pixels, in*kh*kw/groups] x [in*kh*kw/groups, out/groups]`` per group."""

    @property
    def mixes_tokens(self) -> bool:
        """A pixel sees its neighbours."""
        return True


def ranges(numbers: tuple[int, ...]) -> str:
    """Return numbers as a text, neighbours as ranges: ``0,2-5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
