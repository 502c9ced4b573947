"""Towers for images and sound, and the heads of inner models, are what ``"*"`` does not mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

import quant
from quant.layers.weights import inventory
from roofline.workloads.inventory import is_tower

LAYERS = (
    "num_hidden_layers", "depth", "num_layers", "encoder_layers", "decoder_layers", "num_blocks",
)  # fmt: skip
BESIDE = {
    "Qwen2VLForConditionalGeneration": ("model.visual",),
    "Qwen2_5_VLForConditionalGeneration": ("model.visual",),
    "Qwen2_5_VLModel": ("visual",),
    "Qwen3VLForConditionalGeneration": ("model.visual",),
    "Qwen2_5OmniThinkerForConditionalGeneration": ("model.visual", "model.audio_tower"),
    "MllamaForConditionalGeneration": ("model.vision_model",),
    "IdeficsForVisionText2Text": ("model.vision_model",),
    "Idefics2ForConditionalGeneration": (
        "model.vision_model", "model.connector.perceiver_resampler",
    ),
    "Idefics3ForConditionalGeneration": ("model.vision_model",),
    "SmolVLMForConditionalGeneration": ("model.vision_model",),
    "AriaForConditionalGeneration": ("model.vision_tower",),
    "Glm4vForConditionalGeneration": ("model.visual",),
    "GotOcr2ForConditionalGeneration": ("model.vision_tower",),
    "Ovis2ForConditionalGeneration": ("model.vision_tower",),
    "Kosmos2ForConditionalGeneration": ("vision_model",),
    "Kosmos2_5ForConditionalGeneration": ("vision_model",),
    "Blip2ForConditionalGeneration": ("vision_model",),
    "InstructBlipForConditionalGeneration": ("vision_model",),
    "Llama4ForConditionalGeneration": ("vision_model",),
    "Phi4MultimodalForCausalLM": (
        "model.embed_tokens_extend.image_embed.img_processor",
        "model.embed_tokens_extend.audio_embed.encoder",
    ),
    "GraniteSpeechForConditionalGeneration": ("model.encoder",),
    "VideoLlavaForConditionalGeneration": ("model.image_tower", "model.video_tower"),
    "LlavaForConditionalGeneration": ("model.vision_tower",),
    "PaliGemmaForConditionalGeneration": ("model.vision_tower",),
    "Qwen2AudioForConditionalGeneration": ("model.audio_tower",),
}  # fmt: skip
"""Where the towers are: all of them, and nothing else."""
WHOLE = (
    "ViTModel", "SwinModel", "CLIPVisionModel", "Wav2Vec2ForCTC", "WhisperForConditionalGeneration",
    "WhisperForCausalLM", "VisionEncoderDecoderModel", "Pix2StructForConditionalGeneration",
    "SpeechT5ForSpeechToText", "OwlViTModel", "BltForCausalLM", "T5ForConditionalGeneration",
)  # fmt: skip
"""Models whose parts for images or sound are all that they are, and models of text."""
HEADS = {
    "Qwen2_5OmniForConditionalGeneration": ("thinker.lm_head", "talker.codec_head"),
    "BarkModel": ("semantic.lm_head", "coarse_acoustics.lm_head"),
    "Blip2ForConditionalGeneration": ("language_model.lm_head",),
    "Kosmos2ForConditionalGeneration": ("text_model.lm_head",),
}


def fewer(config: Any) -> Any:  # noqa: ANN401  transformers has no types
    """Give a config two layers where it has more, and its parts likewise."""
    for part in [config, *(getattr(config, name, None) for name in config.sub_configs)]:
        for name in LAYERS:
            if isinstance(own := getattr(part, name, None), int) and own > 2:
                setattr(part, name, 2)
    return config


def model_of(name: str) -> nn.Module:
    import transformers

    kind: Any = getattr(transformers, name)
    config = kind.config_class()
    if name == "VisionEncoderDecoderModel":
        parts = transformers.ViTConfig(), transformers.BertConfig(is_decoder=True)
        config = kind.config_class.from_encoder_decoder_configs(*parts)
    with torch.device("meta"):
        model: nn.Module = kind(fewer(config))
    return model


def towers(model: nn.Module) -> set[str]:
    """The paths that are left as those of a tower."""
    return {p for p, w in inventory(model).weights.items() if w.apart.startswith("tower of ")}


def inside(path: str, parts: Iterable[str]) -> bool:
    return any(path.startswith(f"{part}.") for part in parts)


@pytest.mark.parametrize("name", BESIDE)
def test_towers_beside_text_are_left(name: str) -> None:
    model, parts = model_of(name), BESIDE[name]
    found = towers(model)
    within = {p for p, w in inventory(model).weights.items() if inside(p, parts)}
    tables = {p for p in within if inventory(model).weights[p].apart == "embedding"}
    assert found == within - tables
    assert all(any(inside(path, [part]) for path in found) for part in parts)
    assert all(is_tower(path) for path in found)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_model_of_text_with_towers_is_quantized_whole(name: str) -> None:
    assert not towers(model_of(name))


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_inner_models_are_left(name: str) -> None:
    weights = inventory(model_of(name)).weights
    assert {path: weights[path].apart for path in HEADS[name]} == dict.fromkeys(HEADS[name], "head")


def test_a_tower_is_quantized_where_it_is_named() -> None:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    text = {
        "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rope_parameters": rope,
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    image = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 4}
    config = Qwen2VLConfig(text_config=text, vision_config={**image, "mlp_ratio": 2})
    model = Qwen2VLForConditionalGeneration(config).eval()
    report = quant.quantize_model(model, "int4:g16")
    assert report.layers
    assert not [path for path in report.layers if "visual" in path]
    assert "(tower of image, video)" in report.kept_said
    named = quant.quantize_model(model, {"model.visual.blocks.*": "int4:g16"})
    assert len(named.layers) == 8
