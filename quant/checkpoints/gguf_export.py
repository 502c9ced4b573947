"""A checkpoint as one GGUF file, for llama.cpp: blocks that hold the codes, metadata, tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.checkpoints.finished import FinishedCheckpoint
from quant.checkpoints.gguf_architectures import Architecture, architecture_of
from quant.checkpoints.gguf_encode import Encoding, encoded
from quant.checkpoints.gguf_vocabulary import write_vocabulary
from quant.checkpoints.hub_folder import ExportOptions, Prepared, counted, need_no_activations
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.layers.kinds import HEAD
from quant.layers.weights import TIED
from quant.tensors.values import cast_floats

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "model.gguf"
_PLAIN = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True)
class _File:
    """What goes into a file.

    Attributes:
        opened: The checkpoint.
        config: Its config.
        architecture: The file's.
        blocks: Name in the file -> path of a layer, and how it is stored.
        others: Name in the file -> name of a parameter that is not quantized.
        rest_dtype: What matrices that are not quantized are stored as; empty: as they are.
    """

    opened: FinishedCheckpoint
    config: Mapping[str, Any]
    architecture: Architecture
    blocks: Mapping[str, tuple[str, Encoding]]
    others: Mapping[str, str]
    rest_dtype: str

    def write(self, folder: Path) -> list[str]:
        """Write the file; return its name."""
        import gguf

        writer = gguf.GGUFWriter(folder / FILE, self.architecture.name)
        writer.add_name(self.opened.manifest.model or self.opened.folder.name)
        self.architecture.describe(writer, self.config)
        write_vocabulary(writer, self.opened.folder, self.config["vocab_size"])
        kinds = gguf.GGMLQuantizationType
        for name, (path, encoding) in self.blocks.items():
            rows, columns = self.opened.manifest.layers[path].shape
            size = columns // encoding.weights * encoding.size
            shape = (rows, size)
            writer.add_tensor_info(
                name, shape, np.dtype(np.uint8), rows * size, kinds[encoding.name]
            )
        for name, source in self.others.items():
            kind, values = self.plain(name, source)
            writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes, kinds[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, (path, _) in track(list(self.blocks.items()), "writing blocks"):
            tensor = self.opened.layer(path)
            order = self.architecture.rows(name, self.config, tensor.shape[0])
            raw = encoded(path, tensor)[1]
            writer.write_tensor_data(raw if order is None else raw[order])
        for name, source in self.others.items():
            writer.write_tensor_data(self.plain(name, source)[1])
        writer.close()
        return [FILE]

    def plain(self, name: str, source: str) -> tuple[str, np.ndarray]:
        """Return a parameter that is not quantized: ggml's type, and the array that is stored."""
        import torch

        value = self.opened.other(source)
        order = self.architecture.rows(name, self.config, value.shape[0])
        value = value if order is None else value[torch.from_numpy(order)]
        if name.endswith("norm.weight"):
            value = value.float() + self.architecture.added
        if value.dim() < 2:  # llama.cpp adds vectors and multiplies by them in float32
            value = value.float()
        else:
            value = cast_floats({name: value}, self.rest_dtype)[name]
        kind = _PLAIN[str(value.dtype).removeprefix("torch.")]
        if value.dtype == torch.bfloat16:
            return kind, value.contiguous().view(torch.uint8).numpy()
        return kind, value.contiguous().numpy()


def to_gguf(opened: FinishedCheckpoint, options: ExportOptions) -> Prepared:
    """Prepare a GGUF file.

    Raises:
        RequestError: an architecture that is not written, a parameter that it has not, or a layer
            that no block type holds exactly.
    """
    need_no_activations(options, "gguf")
    config = opened.config
    architecture = architecture_of(config)
    blocks = {}
    for path in track(list(opened.specs), "looking at layers"):
        name = _name(opened, architecture, path, ".weight")
        blocks[name] = (path, encoded(path, opened.layer(path))[0])
    others = {}
    for source in opened.manifest.others:
        base, _, last = source.rpartition(".")
        kind = opened.manifest.others[source][0]
        if kind not in _PLAIN:
            raise RequestError(f"parameter {source!r} is {kind}: GGUF has {', '.join(_PLAIN)} here")
        others[_name(opened, architecture, base, f".{last}")] = source
    head = {HEAD, f"{HEAD}.weight"} & {*opened.specs, *opened.manifest.others}
    if not head and not config.get(TIED, True):
        raise RequestError(f"{opened.folder}: lacks '{HEAD}.weight'")
    file = _File(opened, config, architecture, blocks, others, options.rest_dtype)
    said = counted(f"{encoding.name} {opened.specs[path]}" for path, encoding in blocks.values())
    return Prepared(said, file.write)


def _name(opened: FinishedCheckpoint, architecture: Architecture, path: str, suffix: str) -> str:
    """The file's name of a parameter."""
    import gguf

    kind = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == architecture.name)
    layers = opened.config["num_hidden_layers"]
    found = gguf.get_tensor_name_map(kind, layers).get_name(path)
    if found is None or suffix not in (".weight", ".bias"):
        raise RequestError(f"parameter '{path}{suffix}' has no name in {architecture.name} of GGUF")
    return f"{found}{suffix}"
