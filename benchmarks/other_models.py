"""Formats and methods on a second language model, an encoder and a convolutional network.

Run: ``python -m benchmarks.other_models`` (``--no-gemma`` leaves out the model under the Gemma
Terms of Use). Writes ``reports/other_models.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

import quant
from quant.common.files import write_text
from quant.layers.matrices import linear_layers
from quant.models.pretrained import load_efficientnet, load_minilm, photo_crops
from quant.models.texts import evaluation_text, leading_token

REPORT = Path(__file__).parent.parent / "reports/other_models.md"
TOKENS, CONTEXT, SNIPPETS, CROPS = 8192, 1024, 48, 32
GEMMA_FORMATS = ("int4-asym", "fp4", "bitmod4", "nvfp4", "int3-asym", "fp3", "bitmod3")
FORMATS = ("int4-asym", "fp4", "bitmod4", "int3-asym", "bitmod3")
METHODS = ("rtn", "clip", "gptq", "awq")


def main() -> None:
    """Measure and write the report."""
    parts = [
        "# Other models",
        "",
        "`python -m benchmarks.other_models`. The same `quantize_model` as for SmolLM2-135M.",
        "",
    ]
    parts += minilm() + efficientnet()
    if "--no-gemma" not in sys.argv:
        parts += gemma()
    write_text(REPORT, "\n".join(parts))


def gemma() -> list[str]:
    """Perplexity of Gemma-3-270M."""
    model, tokenizer = quant.load_model("gemma-3-270m")
    text = quant.evaluation_tokens(tokenizer, TOKENS)
    bos = leading_token(tokenizer)

    def measure() -> quant.Perplexity:
        return quant.perplexity(deepcopy(model).bfloat16(), text, CONTEXT, bos=bos)

    base = measure()
    lines = [
        f"## Gemma-3-270M ({TOKENS} tokens of Wikipedia, windows of {CONTEXT} with BOS)",
        "",
        f"Gemma Terms of Use. Unquantized {base.value:.3f} (source: GGUF, mostly Q8_0 and Q5_0).",
        "",
        "| format | method | bits | perplexity | ln over unquantized |",
        "|---|---|---|---|---|",
    ]
    for name in GEMMA_FORMATS:
        for method in ("rtn", "clip"):
            with quant.quantized(model, name, method=method) as report:
                found = measure()
            over, error = found.difference(base)
            bits = f"{report.effective_bits:.3f}"
            lines.append(
                f"| {name} | {method} | {bits} | {found.value:.2f} | {over:.3f} ({error:.3f}) |"
            )
            print(lines[-1], flush=True)
    return [*lines, ""]


def minilm() -> list[str]:
    """Cosine of quantized to unquantized sentence embeddings."""
    model, tokenizer = load_minilm()
    snippets = [part for part in evaluation_text().split("\n") if len(part) > 200]
    batches = [
        dict(tokenizer(snippets[i : i + 16], padding=True, truncation=True, max_length=128,
                       return_tensors="pt"))
        for i in range(0, SNIPPETS + 64, 16)
    ]  # fmt: skip
    measured, seen = batches[: SNIPPETS // 16], batches[SNIPPETS // 16 :]

    def embed() -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([_mean(model(**batch).last_hidden_state, batch) for batch in measured])

    base = embed()

    def cosine() -> str:
        return f"{nn.functional.cosine_similarity(embed(), base).mean():.4f}"

    title = f"## all-MiniLM-L6-v2 (mean cosine to float32 embeddings, {SNIPPETS} snippets)"
    return [title, "", *_table(model, {}, seen, METHODS, cosine)]


def efficientnet() -> list[str]:
    """Kullback-Leibler divergence and agreement of classes."""
    model = load_efficientnet()
    crops = photo_crops(CROPS + 16)
    measured, seen = crops[:CROPS], [crops[CROPS:]]
    with torch.inference_mode():
        base = model(measured)

    def divergence() -> str:
        with torch.inference_mode():
            found = model(measured)
        terms = base.softmax(1) * (base.log_softmax(1) - found.log_softmax(1))
        same = (found.argmax(1) == base.argmax(1)).float().mean()
        return f"{terms.sum(1).mean():.3f} / {same:.0%}"

    # Few weights, and each counts: the stem and the depthwise convolutions stay at 8 bits.
    kept = {
        path: "int8:row"
        for path, layer in linear_layers(model).items()
        if isinstance(layer, nn.Conv2d) and layer.weight[0].numel() < 32
    }
    title = f"## EfficientNet-Lite0 (KL divergence in nat / same class, {CROPS} crops of 2 photos)"
    note = "Stem and depthwise convolutions in int8, a scale a channel; the rest as named."
    return [title, "", note, "", *_table(model, kept, seen, ("rtn", "clip", "gptq"), divergence)]


def _mean(hidden: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    mask = batch["attention_mask"][:, :, None]
    return (hidden * mask).sum(1) / mask.sum(1)


def _table(
    model: nn.Module,
    kept: dict[str, str],
    seen: list[Any],
    methods: tuple[str, ...],
    measure: Callable[[], str],
) -> list[str]:
    lines = [f"| format | bits | {' | '.join(methods)} |", f"|---|---|{'---|' * len(methods)}"]
    for name in ("int8", *FORMATS):
        cells = []
        for method in methods:
            calibration = None if method in {"rtn", "clip"} else seen
            plan = {"*": name, **kept}
            with quant.quantized(model, plan, method=method, calibration=calibration) as report:
                cells.append(measure())
        lines.append(f"| {name} | {report.effective_bits:.3f} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return [*lines, ""]


if __name__ == "__main__":
    main()
