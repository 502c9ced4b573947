"""What other libraries take to quantize a weight and to give it back: calls to time.

Each entry makes a call for a ``[out, in]`` float32 tensor; it raises ImportError where the library
is missing (``pip install 'hwsim[bench]'``).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Call = Callable[[], object]
GROUP, NF4_BLOCK = 128, 64


def _torchao_mx(kind: torch.dtype) -> Callable[[torch.Tensor], Call]:
    def make(weight: torch.Tensor) -> Call:
        from torchao.prototype.mx_formats.mx_tensor import MXTensor

        return lambda: MXTensor.to_mx(weight, kind, 32).dequantize(torch.float32)

    return make


def _torchao_nvfp4(weight: torch.Tensor) -> Call:
    from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor

    return lambda: NVFP4Tensor.to_nvfp4(weight, 16).dequantize(torch.float32)


def _bitsandbytes(kind: str) -> Callable[[torch.Tensor], Call]:
    def make(weight: torch.Tensor) -> Call:
        from bitsandbytes import functional

        def call() -> object:
            codes, state = functional.quantize_4bit(weight, blocksize=NF4_BLOCK, quant_type=kind)
            return functional.dequantize_4bit(codes, state)

        return call

    return make


def _torch_half(weight: torch.Tensor) -> Call:
    """Asymmetric 4 bits in groups of 128, written in torch's operations on half precision."""
    half = weight.half()

    def call() -> object:
        groups = half.view(-1, GROUP)
        low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
        scale = ((high - low) / 15).clamp_(min=1e-5)
        zero = (-low / scale).round_().clamp_(0, 15)
        codes = groups.div(scale).round_().add_(zero).clamp_(0, 15).to(torch.uint8)
        return codes.half().sub_(zero).mul_(scale).view_as(half)

    return call


PEERS: dict[str, Callable[[torch.Tensor], Call]] = {
    "torchao mxfp4": _torchao_mx(torch.float4_e2m1fn_x2),
    "torchao mxfp8": _torchao_mx(torch.float8_e4m3fn),
    "torchao nvfp4": _torchao_nvfp4,
    "bitsandbytes nf4": _bitsandbytes("nf4"),
    "bitsandbytes fp4": _bitsandbytes("fp4"),
    "torch half precision": _torch_half,
}
