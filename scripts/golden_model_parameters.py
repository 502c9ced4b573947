"""Count parameters and list shapes of the built-in models with transformers, on the meta device.

    python scripts/golden_model_parameters.py            # compare with the golden file
    python scripts/golden_model_parameters.py --write    # write it again

The published totals of the golden file were written by hand and are kept. Needs the extra `models`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from roofline.workloads.models import load_config

GOLDEN = Path(__file__).parents[1] / "tests/golden/model_parameters.json"
SAME_AS = {"kimi_k2": "deepseek_v3"}
"""Model types that transformers builds under another name."""


def counted(name: str) -> dict[str, Any]:
    """Return ``transformers`` (parameters) and ``shapes`` (by parameter name) of a model."""
    config = load_config(name)[1]
    fields = {key: value for key, value in config.items() if key != "quantization_config"}
    tower = fields.get("text_config")
    if isinstance(tower, dict):
        fields = {"model_type": fields["model_type"], **tower}
        if "tie_word_embeddings" in config:
            fields["tie_word_embeddings"] = config["tie_word_embeddings"]
    kind = str(fields.pop("model_type"))
    with torch.device("meta"):
        settings = AutoConfig.for_model(SAME_AS.get(kind, kind), **fields)
        model = AutoModelForCausalLM.from_config(settings)
    shapes: dict[str, list[list[int]]] = {}
    total = 0
    for path, parameter in model.named_parameters():
        total += parameter.numel()
        found = shapes.setdefault(re.sub(r"\.\d+(?=\.)", ".*", path), [])
        if list(parameter.shape) not in found:
            found.append(list(parameter.shape))
    return {"transformers": total, "shapes": {key: sorted(found) for key, found in shapes.items()}}


def main() -> int:
    """Compare or write; the exit code is 1 where the file differs."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    models = {
        name: entry | (counted(name) if "transformers" in entry else {})
        for name, entry in golden["models"].items()
    }
    if "--write" in sys.argv[1:]:
        text = json.dumps({**golden, "models": models}, separators=(",", ":"))
        GOLDEN.write_text(text, encoding="utf-8")
        return 0
    different = [name for name, entry in models.items() if entry != golden["models"][name]]
    print(f"{len(models)} models, {len(different)} differ: {', '.join(different) or 'none'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
