"""Memory and time of quantizing a checkpoint of Llama-2-7B's shapes, shard by shard.

Run: ``python -m benchmarks.stream`` (13 GB of disk and the codes; ``--layers N`` takes fewer of the
32). Weights are random bfloat16: what is measured does not depend on them. The quantizer runs in a
process of its own, whose largest resident memory is printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN, FFN, VOCABULARY, LAYERS = 4096, 11008, 32000, 32
_CHILD = """
import sys
from quant.checkpoints.stream import quantize_checkpoint
print(quantize_checkpoint(sys.argv[1], sys.argv[2], sys.argv[3]).effective_bits)
"""


def main() -> None:
    """Write the checkpoint, quantize it, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--weights", default="bitmod4")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    chosen = parser.parse_args()
    weights = chosen.layers * (4 * HIDDEN**2 + 3 * HIDDEN * FFN) + 2 * VOCABULARY * HIDDEN
    if shutil.disk_usage(chosen.folder).free < 3 * weights:
        parser.exit(2, f"{chosen.folder}: {3 * weights / 1e9:.0f} GB of disk are needed\n")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        write(source, chosen.layers)
        start = time.perf_counter()
        command = [sys.executable, "-c", _CHILD, str(source), str(target), chosen.weights]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{chosen.layers} layers, {weights / 1e9:.2f} G weights, {chosen.weights} "
            f"({float(done.stdout):.3f} bits): largest memory {used.ru_maxrss / 2**20:.2f} GiB, "
            f"{wall:.0f} s, {used.ru_utime + used.ru_stime:.0f} CPU s"
        )


def write(folder: Path, layers: int) -> None:
    """Write a shard a layer, an index, and a configuration."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) * 0.02).to(torch.bfloat16)

    index: dict[str, str] = {}

    def save(name: str, tensors: dict[str, torch.Tensor]) -> None:
        save_file(tensors, folder / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(tensors, name))

    count = layers + 1
    ends = {"model.embed_tokens.weight": random(VOCABULARY, HIDDEN)}
    ends |= {"lm_head.weight": random(VOCABULARY, HIDDEN), "model.norm.weight": random(HIDDEN)}
    save(f"model-00001-of-{count:05d}.safetensors", ends)
    for layer in range(layers):
        path = f"model.layers.{layer}."
        tensors = {f"{path}self_attn.{name}_proj.weight": random(HIDDEN, HIDDEN) for name in "qkvo"}
        for name in ("gate", "up"):
            tensors[f"{path}mlp.{name}_proj.weight"] = random(FFN, HIDDEN)
        tensors[f"{path}mlp.down_proj.weight"] = random(HIDDEN, FFN)
        for name in ("input", "post_attention"):
            tensors[f"{path}{name}_layernorm.weight"] = random(HIDDEN)
        save(f"model-{layer + 2:05d}-of-{count:05d}.safetensors", tensors)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    config = {
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_hidden_layers": layers, "num_attention_heads": 32, "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
