"""Encoders: BERT and its relatives over text, ViT over the patches of an image."""

from __future__ import annotations

from roofline.workloads.amounts import SEQUENCES
from roofline.workloads.models.attention import Heads, Span, attention
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields
from roofline.workloads.models.mlp import Mlp, mlp
from roofline.workloads.ops import Convolution


def build_bert(fields: Fields, build: Builder) -> None:
    """Add the ops of a BERT: norms after the sums, a pooler of the first token."""
    hidden, vocabulary = fields.size("hidden_size"), fields.size("vocab_size")
    layers = fields.size("num_hidden_layers", most=10_000)
    positions = fields.size("max_position_embeddings")
    types = fields.size("type_vocab_size", default=2)
    names = ("self.query", "self.key", "self.value", "output.dense")
    shape = _heads(fields, hidden, names)
    names_ = ("", "intermediate.dense", "output.dense")
    dense = Mlp(hidden, fields.size("intermediate_size"), names_, bias=True)
    fields.check()
    at = "embeddings"
    build.embedding(f"{at}.word_embeddings", vocabulary, hidden)
    build.embedding(f"{at}.position_embeddings", positions, hidden)
    build.embedding(f"{at}.token_type_embeddings", types, hidden)
    build.norm(f"{at}.LayerNorm", hidden, layer=True)
    for i in range(layers):
        at = f"encoder.layer.{i}"
        attention(build, f"{at}.attention", shape, Span(causal=False))
        build.residual(f"{at}.attention.output.residual", hidden)
        build.norm(f"{at}.attention.output.LayerNorm", hidden, layer=True)
        mlp(build, at, dense)
        build.residual(f"{at}.output.residual", hidden)
        build.norm(f"{at}.output.LayerNorm", hidden, layer=True)
        build.end_layer(at, i, layers, hidden)
    build.linear("pooler.dense", hidden, hidden, bias=True, tokens=SEQUENCES)


def build_vit(fields: Fields, build: Builder) -> None:
    """Add the ops of a vision transformer; a sequence is an image, whatever the context."""
    hidden, layers = fields.size("hidden_size"), fields.size("num_hidden_layers", most=10_000)
    image, patch = fields.size("image_size"), fields.size("patch_size")
    channels, labels = fields.size("num_channels", default=3), fields.size("num_labels")
    shape = _heads(fields, hidden, Heads.names)
    dense = Mlp(hidden, fields.size("intermediate_size"), ("", "fc1", "fc2"), bias=True)
    fields.divides(image, patch, "patch_size")
    fields.check()
    side = image // patch
    patches, pixels = side * side, image * image * channels
    path = "vit.embeddings.patch_embeddings.projection"
    spec, inputs = build.format_of(path), channels * patch * patch
    rows, numbers = SEQUENCES * patches, SEQUENCES * pixels
    build.add(Convolution(path, build.act, inputs, hidden, spec, rows, True, image=numbers))
    build.parameters("vit.embeddings.cls_token", hidden)
    build.parameters("vit.embeddings.position_embeddings", (patches + 1) * hidden)
    build.tokens = SEQUENCES * (patches + 1)
    for i in range(layers):
        at = f"vit.layers.{i}"
        build.norm(f"{at}.layernorm_before", hidden, layer=True)
        attention(build, f"{at}.attention", shape, Span(causal=False, fixed=patches + 1))
        build.residual(f"{at}.residual", hidden)
        build.norm(f"{at}.layernorm_after", hidden, layer=True)
        mlp(build, f"{at}.mlp", dense)
        build.residual(f"{at}.mlp_residual", hidden)
        build.end_layer(at, i, layers, hidden)
    build.norm("vit.layernorm", hidden, layer=True)
    build.linear("classifier", hidden, labels, bias=True, tokens=SEQUENCES)


def _heads(fields: Fields, hidden: int, names: tuple[str, str, str, str]) -> Heads:
    heads = fields.size("num_attention_heads")
    fields.divides(hidden, heads, "num_attention_heads")
    width = max(1, hidden // heads)
    return Heads(hidden, heads, heads, width, names=names, bias=True, out_bias=True)
