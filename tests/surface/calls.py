"""A call that works, or nearly, of everything that is public: keyword arguments by name.

Wrong values take the place of one argument at a time. A call that would take long, or need a
download, names a model that there is not: it is refused, which is as good.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hwsim
import hwsim.pe
import quant
import roofline
from quant.common.sourced import Sourced
from quant.formats.elements import Codebook
from tests.own.tiny_llama import tiny_llama
from tests.quant.tiny import tiny

if TYPE_CHECKING:
    import torch
    from _typeshed import DataclassInstance

Call = dict[str, Any]
NOWHERE = "no-such-model"


@cache
def tensor() -> quant.QuantizedTensor:
    return quant.quantize(np.linspace(-1, 1, 256).reshape(2, 128), "int4", scale="int8")


@cache
def language_model(folder: Path) -> tuple[Any, Any]:
    return quant.load_model(tiny_llama(folder / "model", hidden=16, layers=1))


@cache
def encoder() -> torch.nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=64,
    )  # fmt: skip
    model: torch.nn.Module = BertForMaskedLM(config).eval()
    return model


def _ones() -> torch.Tensor:
    import torch

    return torch.ones(1, 3, 32)


def _tokens() -> torch.Tensor:
    import torch

    return torch.arange(8)[None] + 3


def linear() -> torch.nn.Module:
    import torch

    return torch.nn.Sequential(torch.nn.Linear(32, 4))


def work() -> roofline.Workload:
    return roofline.workload("smollm2-135m", "decode", 1, 16, flash=False)


def calls(folder: Path) -> dict[str, Callable[[], Call]]:
    """Return the arguments of every public function and constructor."""
    machine = hwsim.load_accelerator("bitmod")
    device = roofline.load_hardware("h100-sxm")
    table = hwsim.pe.term_table("int4")
    fields = hwsim.pe.activation_format("fp16").fields(np.zeros(4, np.uint16))
    tokens = np.arange(64) % 50
    spec = quant.parse_spec("int4")
    one = Sourced(1.0, "test")
    counter = iter(range(1 << 30))
    return {
        "quant.Format": lambda: {
            "name": "x", "element": Codebook(1, (-1.0, 1.0)), "source": "test",
        },
        "quant.FormatSpec": lambda: {"format": quant.get_format("int4")},
        "quant.Perplexity": lambda: {"window_nll": (1.0, 2.0), "context": 8},
        "quant.Plan": lambda: {"layers": {"*": "int4"}},
        "quant.QuantizedLinear": lambda: {"tensor": tensor(), "bias": None, "dtype": _float32()},
        "quant.QuantizedTensor": lambda: {
            "spec": tensor().spec, "shape": tensor().shape, **tensor().arrays,
        },
        "quant.calibration_tokens": lambda: {"tokenizer": _tokenizer(folder), "count": 4},
        "quant.conditional_loss": lambda: {
            "model": tiny("t5"), "batches": [{"input_ids": _tokens(), "labels": _tokens()}],
        },
        "quant.embedding_similarity": lambda: {
            "model": linear(), "reference": linear(), "batches": [_ones()],
        },
        "quant.evaluation_tokens": lambda: {"tokenizer": _tokenizer(folder), "count": 4},
        "quant.export": lambda: {"checkpoint": folder / "none", "folder": folder / "out"},
        "quant.export_compressed_tensors": lambda: {
            "folder": folder / f"out{next(counter)}", "tensors": {"a": tensor()},
        },
        "quant.get_format": lambda: {"name": "int4"},
        "quant.load_gguf": lambda: {"path": folder / "none.gguf"},
        "quant.load_model": lambda: {"name": NOWHERE},
        "quant.load_quantized": lambda: {"folder": folder / "none"},
        "quant.masked_loss": lambda: {
            "model": encoder(), "tokens": tokens, "mask": 1, "context": 8,
        },
        "quant.parse_spec": lambda: {"text": "int4"},
        "quant.perplexity": lambda: {
            "model": language_model(folder)[0], "tokens": tokens, "context": 8,
        },
        "quant.quantize": lambda: {"weight": np.eye(2, 64), "format": "int4"},
        "quant.quantize_checkpoint": lambda: {
            "source": folder / "none", "folder": folder / "out", "formats": "int4",
        },
        "quant.quantize_model": lambda: {"model": linear(), "formats": "int4"},
        "quant.quantized": lambda: {"model": linear(), "formats": "int4"},
        "quant.rounded_activations": lambda: {"model": linear(), "inputs": "int8"},
        "quant.save_model": lambda: {"folder": folder / "none", "model": linear()},
        "quant.save_quantized": lambda: {
            "folder": folder / f"out{next(counter)}", "tensors": {"a": tensor()},
        },
        "quant.user_format": lambda: {"name": f"grid{next(counter)}", "levels": [-1, 1]},
        "roofline.Analysis": lambda: {"hardware": device, "parts": ()},
        "roofline.Calibration": lambda: {"device": "x", "kernels": {}},
        "roofline.HardwareSpec": lambda: {
            "name": "x", "peak_ops": {"fp16": one}, "memory_bandwidth": one, "memory_capacity": one,
        },
        "roofline.Memory": lambda: {"weights": 1.0, "kv_cache": 1.0, "activations": 1.0},
        "roofline.Scenario": lambda: {"parts": ((work(), 1),)},
        "roofline.Serving": lambda: dict.fromkeys(
            ("ttft_s", "tpot_s", "decode_s", "tokens_per_s", "expected_error", "fits"), 1.0
        ),
        "roofline.Workload": lambda: {
            k: getattr(work(), k)
            for k in ("model", "phase", "batch", "context", "step", "template")
        },
        "roofline.analyze": lambda: {"work": work(), "hardware": "h100-sxm"},
        "roofline.hardware_names": dict,
        "roofline.load_calibration": lambda: {"spec": device},
        "roofline.load_hardware": lambda: {"name": "h100-sxm"},
        "roofline.model_names": dict,
        "roofline.scenario": lambda: {"model": "smollm2-135m", "prompt": 8, "generate": 1},
        "roofline.serve": lambda: {
            "model": "smollm2-135m", "hardware": device, "isl": 8, "osl": 2, "concurrency": 2,
        },
        "roofline.sweep": lambda: {"model": "smollm2-135m"},
        "roofline.trace": lambda: {"module": linear(), "inputs": [_zeros(2, 32)]},
        "roofline.validate": dict,
        "roofline.workload": lambda: {"model": "smollm2-135m"},
        "hwsim.Accelerator": lambda: {k: getattr(machine, k) for k in _fields(machine)},
        "hwsim.DesignSpace": dict,
        "hwsim.SimulationResult": lambda: {
            "accelerator": machine, "phases": (), "memory": _decode().memory, "tokens": 1.0,
        },
        "hwsim.Sweep": lambda: {k: getattr(_swept(), k) for k in _fields(_swept())},
        "hwsim.iso_area": lambda: {"machine": "fp16"},
        "hwsim.limit": lambda: {"column": "power_w", "max": 2.0},
        "hwsim.log": lambda: {"low": 1.0, "high": 10.0, "count": 3},
        "hwsim.pow2": lambda: {"low": 1, "high": 8},
        "hwsim.sweep": lambda: {"space": hwsim.DesignSpace(), "work": _decode()},
        "hwsim.accelerator_names": dict,
        "hwsim.codesign": lambda: {
            "model": NOWHERE, "accelerator": "bitmod", "max_effective_bits": 3.7,
        },
        "hwsim.explore": lambda: {"space": hwsim.DesignSpace(), "work": _decode()},
        "hwsim.load_accelerator": lambda: {"name": "bitmod"},
        "hwsim.simulate": lambda: {"work": _decode(), "accelerator": "bitmod"},
        "hwsim.pe.Arithmetic": dict,
        "hwsim.pe.TermTable": lambda: {k: getattr(table, k) for k in _fields(table)},
        "hwsim.pe.activation_format": lambda: {"name": "fp16"},
        "hwsim.pe.error_bound": lambda: {
            "fields": fields, "codes": np.zeros(4, np.uint8), "selector": 0, "table": table,
            "rule": hwsim.pe.PUBLISHED,
        },
        "hwsim.pe.matmul": lambda: {"weight": tensor(), "activations": np.ones((1, 128))},
        "hwsim.pe.pe_formats": dict,
        "hwsim.pe.term_count": lambda: {"format_": "int4"},
        "hwsim.pe.term_table": lambda: {"format_": "int4"},
        "hwsim.pe.worst_case": lambda: {
            "rule": hwsim.pe.PUBLISHED, "table": table, "group": 8,
        },
        # methods, on an instance
        "quant.FormatSpec.groups": lambda: {"self": spec, "columns": 8},
        "quant.FormatSpec.arrays": lambda: {"self": spec, "shape": (2, 8)},
        "quant.FormatSpec.storage_bits": lambda: {"self": spec, "rows": 2, "columns": 8},
        "quant.FormatSpec.effective_bits": lambda: {"self": spec, "rows": 2, "columns": 8},
        "quant.Perplexity.difference": lambda: {
            "self": quant.Perplexity((1.0,), 8), "other": quant.Perplexity((1.0,), 8),
        },
        "quant.Plan.load": lambda: {"path": folder / "none.toml"},
        "quant.Plan.save": lambda: {"self": quant.Plan({}), "path": folder / "plan.toml"},
        "quant.QuantizedTensor.of": lambda: {
            "spec": tensor().spec, "shape": (2, 128), "arrays": tensor().arrays,
        },
        "roofline.HardwareSpec.peak": lambda: {
            "self": device, "weights": spec, "activations": spec,
        },
        "roofline.HardwareSpec.holds": lambda: {
            "self": device, "weights": spec, "activations": spec,
        },
        "roofline.Scenario.with_weights": lambda: {"self": _decode(), "formats": {}},
        "roofline.Workload.with_weights": lambda: {"self": work(), "formats": {}},
        "hwsim.Accelerator.activation_bits": lambda: {"self": machine, "spec": machine.activations},
        "hwsim.Accelerator.expected": lambda: {"self": machine, "spec": machine.kv},
        "hwsim.Accelerator.measured": lambda: {
            "self": machine, "tensor": quant.quantize(np.ones((4, 128)), str(machine.kv)),
        },
        "hwsim.Accelerator.spec": lambda: {"self": machine, "format_": "bitmod3"},
        "hwsim.Accelerator.steps": lambda: {"self": machine, "spec": machine.kv},
        "hwsim.Accelerator.timing": lambda: {"self": machine, "spec": machine.kv},
        "hwsim.DesignSpace.load": lambda: {"path": folder / "none.toml"},
    }  # fmt: skip


def _decode() -> roofline.Scenario:
    from hwsim.simulation.simulate import machine_formats

    formats = machine_formats(hwsim.load_accelerator("bitmod"))
    return roofline.Scenario(((roofline.workload("smollm2-135m", "decode", **formats), 1.0),))


def _fields(instance: DataclassInstance) -> list[str]:
    from dataclasses import fields

    return [field.name for field in fields(instance)]


def _float32() -> torch.dtype:
    import torch

    return torch.float32


def _zeros(*shape: int) -> torch.Tensor:
    import torch

    return torch.zeros(*shape)


def _tokenizer(folder: Path) -> object:
    return language_model(folder)[1]


@cache
def _swept() -> hwsim.Sweep:
    return hwsim.sweep(hwsim.DesignSpace(), _decode())
