"""Train a small causal language model here, so that one source of weights is in 16 bits.

Run: ``python -m benchmarks.source16 -o FOLDER`` (about twenty minutes on two cores). The models
that come as packages were quantized before (SmolLM2 in Q4_1, Gemma in Q4_K_M); this one never was.
The recipe is fixed: a Llama of 5.1 M weights in matrices and a byte-level BPE of 4096 tokens,
trained on C4 and on Wikipedia behind the part that is evaluated; AdamW, a warm start and
a cosine, a fixed number of steps, seed 0. Trained in float32,
saved in bfloat16, a folder as any other. On another machine the steps are the same up to the order
of its sums.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from quant.common.progress import say, track
from quant.models.texts import calibration_text, evaluation_text

HELD_OUT = 200_000
"""Characters of Wikipedia, from its start, that are never trained on: more than is evaluated."""
VOCABULARY, HIDDEN, LAYERS, INTERMEDIATE, HEADS = 4096, 256, 6, 768, 4
CONTEXT, BATCH, STEPS, WARM, RATE, SEED = 256, 16, 900, 50, 2e-3, 0
END = "<|endoftext|>"


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"optimizer steps ({STEPS})")
    given = parser.parse_args()
    train(given.out, given.steps)


def train(folder: Path, steps: int = STEPS) -> float:
    """Train the model, write it to a folder, and return the mean loss of the last 50 steps."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    text = calibration_text() + END + evaluation_text()[HELD_OUT:]
    tokenizer = bpe(text)
    tokens = torch.tensor(tokenizer.encode(text).ids)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        intermediate_size=INTERMEDIATE,
        num_attention_heads=HEADS,
        max_position_embeddings=4 * CONTEXT,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
    )
    model = LlamaForCausalLM(config)
    loss = _steps(model, tokens, steps)
    model.to(torch.bfloat16).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END).save_pretrained(folder)
    return loss


def bpe(text: str) -> Tokenizer:
    """Return a byte-level BPE of the text's own 4096 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.split("\n"), trainer)
    return tokenizer


def _steps(model: Any, tokens: torch.Tensor, steps: int) -> float:  # noqa: ANN401  transformers'
    """Run the optimizer; windows begin anywhere in the text."""
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0.1)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(1.0, (i + 1) / WARM) * (1 + math.cos(math.pi * i / steps)) / 2
    )
    random = torch.Generator().manual_seed(SEED)
    losses, start = [], time.monotonic()
    for _ in track(range(steps), "training", steps):
        first = torch.randint(len(tokens) - CONTEXT, (BATCH,), generator=random)
        batch = torch.stack([tokens[i : i + CONTEXT] for i in first])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
        losses.append(float(loss.detach()))
    mean = sum(losses[-50:]) / len(losses[-50:])
    passes = steps * BATCH * CONTEXT / len(tokens)
    say(f"{steps} steps, {passes:.1f} passes, loss {mean:.3f}, {time.monotonic() - start:.0f} s")
    return mean


if __name__ == "__main__":
    main()
