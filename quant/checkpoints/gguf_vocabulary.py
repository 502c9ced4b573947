"""The tokenizer of a folder as metadata of a GGUF file: byte-level BPE, as GPT-2, Llama 3, Qwen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quant.common.progress import say
from quant.common.sealed import read_json

TOKENIZER = "tokenizer.json"
# The patterns that llama.cpp knows by name (llama-vocab.cpp), as tokenizer.json has them.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"llama-bpe": _LLAMA3, "qwen2": _LLAMA3.replace("{1,3}", "")}


def write_vocabulary(writer: Any, folder: Path, size: int) -> None:  # noqa: ANN401  gguf's has no types
    """Write tokens, merges and special tokens; others than byte-level BPE are left out, and said.

    Args:
        writer: Of the file.
        folder: With the tokenizer, if there is one.
        size: Rows of the table of embeddings: tokens that are missing are unused ones.
    """
    import gguf

    path = folder / TOKENIZER
    content = read_json(path) if path.is_file() else {}
    split = _split(content)
    if split is None:
        say(f"{folder}: no tokenizer of byte-level BPE that llama.cpp knows: GGUF is without one")
        return
    kinds = gguf.TokenType
    tokens = {number: token for token, number in content["model"]["vocab"].items()}
    types = dict.fromkeys(tokens, kinds.NORMAL)
    for entry in content.get("added_tokens") or []:
        tokens[entry["id"]] = entry["content"]
        types[entry["id"]] = kinds.CONTROL if entry["special"] else kinds.USER_DEFINED
    count = max(size, max(tokens, default=-1) + 1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list([tokens.get(i, f"[PAD{i}]") for i in range(count)])
    writer.add_token_types([types.get(i, kinds.UNUSED) for i in range(count)])
    gguf.SpecialVocab(folder, load_merges=True, n_vocab=count).add_to_gguf(writer, quiet=True)


def _split(content: dict[str, Any]) -> str | None:
    """What llama.cpp calls the way that a text is split into words; None: it is not known."""
    model = content.get("model") or {}
    steps = content.get("pre_tokenizer") or {}
    steps = steps.get("pretokenizers", [steps])
    # Without merges llama.cpp and transformers cannot split a word.
    if model.get("type") != "BPE" or not model.get("merges"):
        return None
    if not any(s.get("type") == "ByteLevel" for s in steps):
        return None
    others = [step for step in steps if step.get("type") != "ByteLevel"]
    if not others and content.get("normalizer") is None:
        return "gpt-2"
    for name, pattern in PATTERNS.items():
        if len(others) == 1 and others[0].get("pattern") == {"Regex": pattern}:
            return name
    return None
