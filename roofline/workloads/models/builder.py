"""Builder: the modules that model families are made of, as ops with their module paths."""

from __future__ import annotations

from collections.abc import Mapping

from quant.common.errors import RequestError
from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import NOTHING, SEQUENCES, TOKENS, Amount
from roofline.workloads.ops import Collective, Elementwise, Embedding, Linear, Op, Router
from roofline.workloads.ops.elementwise import (
    ACTIVATION,
    ALL_GATHER,
    ALL_REDUCE,
    ALL_TO_ALL,
    NORM,
    PARAMETERS,
    RESIDUAL,
    ROTARY,
    SENDS,
)
from roofline.workloads.setting import PLAIN, Setting

RMS_OPERATIONS, LAYER_OPERATIONS = 4, 7
"""Square, add, scale, multiply; a layer norm also subtracts the mean and adds a bias."""
ACTIVATION_OPERATIONS = 5
ROTARY_OPERATIONS = 3


class Builder:
    """Collects the ops of one forward pass, in order.

    ``tokens`` are the rows of activations: the new tokens, or an image's patches or pixels.
    """

    def __init__(self, setting: Setting, formats: Mapping[str, FormatSpec]) -> None:
        """Start an empty pass.

        Args:
            setting: How the model is run.
            formats: Path of a matrix to its format, of a stack of experts also the stack's; 16 bits
                where it has none.
        """
        self.setting = setting
        self.formats = formats
        self.ops: list[Op] = []
        self.tokens = TOKENS

    @property
    def act(self) -> FormatSpec:
        """Format of activations."""
        return self.setting.activations

    def format_of(self, path: str) -> FormatSpec:
        """Return the format of the matrix at a module path."""
        return self.formats.get(path, PLAIN)

    def shard(self, size: int, what: str, devices: int | None = None) -> int:
        """Return one device's part of ``size``.

        Raises:
            RequestError: the devices do not divide it.
        """
        devices = self.setting.tp if devices is None else devices
        if size % devices:
            raise RequestError(f"{devices} devices do not divide {what} = {size}")
        return size // devices

    def add(self, *ops: Op) -> None:
        """Append ops."""
        self.ops += ops

    def embedding(self, path: str, rows: int, width: int, reads: bool = True) -> None:
        """Look up a table, one row a token (or none: position tables of whole sequences)."""
        tokens = self.tokens if reads else NOTHING
        table = self.format_of(path)
        self.add(Embedding(path, self.act, -(-rows // self.setting.tp), width, table, tokens))

    def linear(
        self,
        path: str,
        inputs: int,
        outputs: int,
        bias: bool = False,
        *,
        tokens: Amount | None = None,
        cached: int = 0,
        kept: Amount = NOTHING,
    ) -> None:
        """Multiply by a matrix; sizes are those of this device."""
        cache = self.setting.kv if cached else None
        spec, rows = self.format_of(path), tokens or self.tokens
        self.add(Linear(path, self.act, inputs, outputs, spec, rows, bias, cache, cached, kept))

    def router(self, path: str, inputs: int, outputs: int, bias: bool = False) -> None:
        """Score experts; the matrix is none that plans name, and keeps its 16 bits."""
        self.add(Router(path, self.act, inputs, outputs, PLAIN, self.tokens, bias))

    def norm(
        self,
        path: str,
        width: int,
        *,
        layer: bool = False,
        vectors: int = 1,
        weights: int | None = None,
        tokens: Amount | None = None,
    ) -> None:
        """Normalize: RMS with a weight, or a layer norm with weight and bias.

        Args:
            path: Module path.
            width: Numbers of a vector.
            layer: Layer norm.
            vectors: Vectors of a token (heads), which share the weight.
            weights: Parameters, where not one (two) a number of a vector.
            tokens: Rows.
        """
        own = width * (2 if layer else 1) if weights is None else weights
        operations = LAYER_OPERATIONS if layer else RMS_OPERATIONS
        elements = (tokens or self.tokens) * (width * vectors)
        self.add(
            Elementwise(
                path, self.act, NORM, elements, operations, weights_read=own, special=1 / width
            )
        )

    def rotary(self, path: str, width: int) -> None:
        """Rotate ``width`` numbers of each token."""
        if width:
            self.add(Elementwise(path, self.act, ROTARY, self.tokens * width, ROTARY_OPERATIONS))

    def activation(
        self, path: str, width: int, *, gated: bool, tokens: Amount | None = None
    ) -> None:
        """Apply the activation function, and multiply by the other half of a gated MLP."""
        inputs = 2.0 if gated else 1.0
        elements = (tokens or self.tokens) * width
        self.add(
            Elementwise(
                path, self.act, ACTIVATION, elements, ACTIVATION_OPERATIONS, inputs, special=1
            )
        )

    def residual(self, path: str, width: int) -> None:
        """Add what the block was given."""
        self.add(Elementwise(path, self.act, RESIDUAL, self.tokens * width, 1, inputs=2))

    def parameters(self, path: str, count: int) -> None:
        """Count small weights that other kernels read on their way (scales, sinks, biases)."""
        self.add(Elementwise(path, self.act, PARAMETERS, NOTHING, 0, weights_read=count))

    def all_reduce(self, path: str, width: int) -> None:
        """Sum partial results over the devices that share a layer."""
        self._collective(path, ALL_REDUCE, self.setting.tp, width)

    def all_to_all(self, path: str, width: float) -> None:
        """Send tokens to their experts' devices, or bring them back."""
        if self.setting.ep > self.setting.tp:
            self._collective(path, ALL_TO_ALL, self.setting.ep, width)

    def end_layer(self, at: str, layer: int, layers: int, width: int) -> None:
        """Send activations on after the last layer of a pipeline stage."""
        pp = self.setting.pp
        if (layer + 1) * pp % layers < pp and layer + 1 < layers and pp > 1:
            self.add(Collective(f"{at}.send", self.act, SENDS, 2, width, TOKENS))

    @property
    def head_tokens(self) -> Amount:
        """Tokens whose logits are asked for: the last norm and the head need no others."""
        return TOKENS if self.setting.logits == "all" else SEQUENCES

    def head(self, path: str, width: int, rows: int, *, tied: bool, bias: bool = False) -> None:
        """Compute logits, of each sequence's last token or of all."""
        tokens, tp = self.head_tokens, self.setting.tp
        spec, local = self.format_of(path), -(-rows // tp)
        self.add(Linear(path, self.act, width, local, spec, tokens, bias, tied=tied))
        self._collective(f"{path}.gather", ALL_GATHER, tp, rows, tokens)

    def _collective(
        self, path: str, what: str, ranks: int, width: float, tokens: Amount | None = None
    ) -> None:
        if ranks > 1:
            self.add(Collective(path, self.act, what, ranks, width, tokens or self.tokens))
