"""trace(): the ops of any torch module, without running it on data.

The module is called once with tensors on the meta device (shapes without data) that stand for its
parameters, buffers and inputs; a dispatch mode sees every kernel that would run, and forward hooks
say which module runs it. Nothing of the module is changed. What is seen is eager execution: ops
that a compiler would fuse go through memory one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.progress import say
from quant.formats.spec import FormatLike, FormatSpec, as_spec
from quant.plan import assign
from roofline.workloads.amounts import Step
from roofline.workloads.ops import Op, has_matrix
from roofline.workloads.ops.elementwise import UNKNOWN
from roofline.workloads.template import Template
from roofline.workloads.tracing_call import Call
from roofline.workloads.tracing_known import is_elementwise
from roofline.workloads.tracing_ops import attention_op, ops_of
from roofline.workloads.workload import Workload

if TYPE_CHECKING:
    import torch

Value: TypeAlias = Any
"""What torch hands to a mode: functions, types, tensors, numbers."""


def trace(
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor] | Mapping[str, torch.Tensor],
    *,
    name: str = "",
    weights: FormatLike = "fp16",
    activations: FormatLike = "fp16",
    plan: Mapping[str, FormatLike] | None = None,
    strict: bool = False,
) -> Workload:
    """Return what a module's forward pass does to these inputs.

    A kernel on tensors that is neither known as a product nor as work on elements is counted as an
    operation for each element; its op is of kind ``Unknown``, ``Workload.unknown`` names it, and a
    line on standard error says so.

    Args:
        module: Any module; its parameters may be on the meta device.
        inputs: Positional or keyword arguments of ``forward``; only shapes and types matter.
        name: Of the workload; the module's class where empty.
        weights: Format of the matrices.
        activations: Format of activations.
        plan: Module path or pattern to format; overrides ``weights``.
        strict: Refuse kernels that are not known.

    Returns:
        A workload of one step: batch and context are the first two sizes of the first input.

    Raises:
        RequestError: not a module, no inputs, or a forward pass that fails (its error in one line);
            with ``strict``, kernels that are not known.
    """
    import torch

    strict = arguments.flag("strict", strict)

    arguments.one_of("module", module, torch.nn.Module, "a torch module")
    name = arguments.text("name", name)
    if not isinstance(inputs, Mapping | Sequence) or isinstance(inputs, str | bytes):
        raise arguments.wrong_type("inputs", inputs, "a list of tensors, or a mapping to tensors,")
    named: dict[str, torch.Tensor] = dict(inputs) if isinstance(inputs, Mapping) else {}
    placed: tuple[torch.Tensor, ...] = () if isinstance(inputs, Mapping) else tuple(inputs)
    tensors = [*named.values(), *placed]
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors):
        raise RequestError("trace: inputs must be tensors, at least one")
    formats = as_spec(weights, "weights")
    recorder = _recorded(module, as_spec(activations, "activations"), placed, named)
    if recorder.unknown:
        counts = sorted(recorder.unknown.items())
        said = ", ".join(f"{kernel} ({count})" for kernel, count in counts)
        if strict:
            raise RequestError(
                f"trace: kernels that are not known: {said}; strict=False counts "
                "each as an operation an element"
            )
        say(f"trace: counted as an operation an element, their products not known: {said}")
    ops = _formats(recorder.ops, formats, plan)
    size = tensors[0].shape
    context = int(size[1]) if len(size) > 1 else 1
    label = name or type(module).__name__
    batch = int(size[0]) if len(size) else 1
    return Workload(label, "prefill", batch, context, Step(1, 1, 0), Template(tuple(ops)))


def _recorded(
    module: torch.nn.Module,
    activations: FormatSpec,
    placed: tuple[torch.Tensor, ...],
    named: dict[str, torch.Tensor],
) -> _Recorder:
    """Record the forward pass; in bfloat16 where its own types lack a kernel (grouped ones)."""
    first: RequestError | None = None
    for half in (False, True):
        recorder = _Recorder(module, activations, half)
        try:
            with recorder.listening():
                recorder.call(placed, named)
        except RequestError as error:
            first = first or error
        else:
            return recorder
    assert first is not None
    raise first


def _formats(ops: list[Op], weights: FormatSpec, plan: Mapping[str, FormatLike] | None) -> list[Op]:
    """Give every matrix its format; embeddings stay at 16 bits."""
    paths = [op.name for op in ops if has_matrix(op)]
    specs = dict.fromkeys(paths, weights) | (assign(plan, paths) if plan is not None else {})
    return [op.with_weights(specs[op.name]) if op.name in specs else op for op in ops]


@dataclass
class _Recorder:
    """Collects the ops of one forward pass."""

    module: torch.nn.Module
    activations: FormatSpec
    half: bool = False
    ops: list[Op] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    parameters: dict[int, tuple[str, int]] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    names: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    silent: int = 0
    held: list[torch.Tensor] = field(default_factory=list)

    def call(self, placed: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]) -> None:
        """Run the forward pass on the meta device."""
        import torch

        state = self._stand_ins()
        arguments = tuple(map(self._stand_in, placed))
        keywords = {key: self._stand_in(value) for key, value in named.items()}
        training = self.module.training
        modes = {id(m): m.training for m in self.module.modules()}
        self.module.eval()
        try:
            with torch.no_grad():
                torch.func.functional_call(self.module, state, arguments, keywords, strict=False)
        except RequestError:
            raise
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RequestError(f"trace: the forward pass failed: {first:.200}") from error
        finally:
            self.module.train(training)
            for part in self.module.modules():
                part.training = modes[id(part)]

    def _stand_in(self, value: torch.Tensor) -> torch.Tensor:
        """Return a tensor of a value's shape without data; floating ones in bfloat16 if asked."""
        import torch

        half = self.half and value.is_floating_point()
        kind = torch.bfloat16 if half else value.dtype
        return torch.empty_like(value, device="meta", dtype=kind)

    def _stand_ins(self) -> dict[str, torch.Tensor]:
        """Return meta tensors for parameters and buffers; shared ones stay shared."""
        made: dict[int, torch.Tensor] = {}
        state = {}
        for path, value in self.module.named_parameters(remove_duplicate=False):
            if id(value) not in made:
                made[id(value)] = self._stand_in(value)
                storage = made[id(value)].untyped_storage()._cdata
                self.parameters[storage] = (path, value.numel())
            state[path] = made[id(value)]
        for path, buffer in self.module.named_buffers(remove_duplicate=False):
            state[path] = self._stand_in(buffer)
        self.held = list(made.values())
        return state

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Install the modes and hooks, and take them away again."""
        from torch.nn.modules import module as hooks

        paths = {id(part): path for path, part in self.module.named_modules()}

        def enter(part: torch.nn.Module, _: object) -> None:
            self.stack.append(paths.get(id(part), self.path))

        def leave(part: torch.nn.Module, _: object, __: object) -> None:
            self.stack.pop()

        with ExitStack() as stack:
            handles = (
                hooks.register_module_forward_pre_hook(enter),
                hooks.register_module_forward_hook(leave, always_call=True),
            )
            for handle in handles:
                stack.callback(handle.remove)
            for mode in _modes(self):
                stack.enter_context(mode)
            yield

    @property
    def path(self) -> str:
        """The module that runs."""
        return self.stack[-1] if self.stack else ""

    def record(
        self, kernel: Value, placed: Sequence[Any], named: Mapping[str, Any], result: object
    ) -> None:
        """Add the ops of one kernel."""
        if self.silent:
            return
        schema = kernel._schema
        rest = schema.arguments[len(placed) :]
        given = [*placed, *(named.get(entry.name, entry.default_value) for entry in rest)]
        names = tuple(entry.name for entry in schema.arguments)
        known = is_elementwise(kernel)
        function = schema.name.removeprefix("aten::")
        call = Call(function, self.activations, given, result, self._parameter, names, known)
        for op in ops_of(call, self.path):
            if op.kind == UNKNOWN:
                self.unknown[schema.name] = self.unknown.get(schema.name, 0) + 1
            self.add(op)

    def record_attention(self, keywords: dict[str, Any], shapes: tuple[Any, ...]) -> None:
        """Add scaled dot-product attention as one op."""
        name = f"{self.path}.attention".lstrip(".")
        self.add(attention_op(name, self.activations, shapes, keywords))

    def add(self, op: Op) -> None:
        """Append an op under a name of its own; count each parameter once."""
        seen = self.names.get(op.name, 0)
        self.names[op.name] = seen + 1
        self.ops.append(op.named(f"{op.name}.{seen}") if seen else op)

    def _parameter(self, tensor: torch.Tensor) -> tuple[str, bool] | None:
        """Return the parameter that a tensor is (a view of), and whether it was seen before."""
        known = self.parameters.get(tensor.untyped_storage()._cdata)
        if known is None:
            return None
        path = known[0]
        again = path in self.counted
        self.counted.add(path)
        return path, again


def _is_view(kernel: Value) -> bool:
    """Whether a kernel returns its argument's storage without writing."""
    aliases = [entry.alias_info for entry in kernel._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _modes(recorder: _Recorder) -> tuple[Any, Any]:
    """Return the mode that sees attention calls, and the one that sees every kernel."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    class Functions(TorchFunctionMode):
        def __torch_function__(
            self, func: Value, types: Value, args: Value = (), kwargs: Value = None
        ) -> Value:
            kwargs = kwargs or {}
            if func is not torch.nn.functional.scaled_dot_product_attention:
                return func(*args, **kwargs)
            recorder.silent += 1
            try:
                result = func(*args, **kwargs)
            finally:
                recorder.silent -= 1
            named = (kwargs[n] for n in ("query", "key", "value") if n in kwargs)
            query, key, value = (*args, *named)[:3]
            flags = dict(kwargs)
            flags["is_causal"] = kwargs.get("is_causal", args[5] if len(args) > 5 else False)
            recorder.record_attention(flags, (query.shape, key.shape, value.shape))
            return result

    class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
        def __torch_dispatch__(
            self, func: Value, types: Value, args: Value = (), kwargs: Value = None
        ) -> Value:
            result = func(*args, **(kwargs or {}))
            if not _is_view(func):
                recorder.record(func, args, kwargs or {}, result)
            return result

    return Functions(), Kernels()  # type: ignore[no-untyped-call]  # torch's
