"""Real models that are no language models: an encoder of sentences and an image classifier.

They go through ``quant.quantize_model`` like any other torch model; these loaders are for tests,
reports and examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quant.common.extras import needed
from quant.models.catalog import EFFICIENTNET, MINILM, PHOTOS
from quant.models.packages import package_file, package_folder

if TYPE_CHECKING:
    import torch

IMAGE_SIDE = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_minilm() -> tuple[torch.nn.Module, Any]:
    """Return all-MiniLM-L6-v2 (22.7 M weights, float32), in evaluation mode, and its tokenizer.

    Raises:
        HwsimError: neither cache nor network has it.
    """
    from transformers import AutoModel, AutoTokenizer

    folder = package_folder(MINILM)
    options = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    model = AutoModel.from_pretrained(folder, use_safetensors=True, **options)
    return model.eval(), tokenizer


def load_efficientnet() -> torch.nn.Module:
    """Return EfficientNet-Lite0 (4.65 M weights, float32), in evaluation mode.

    Its inputs are ``[n, 3, 224, 224]``, its outputs logits of 1,000 classes.

    Raises:
        HwsimError: neither cache nor network has it.
        RequestError: its architecture is not installed.
    """
    import torch

    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise needed(["efficientnet_lite_pytorch"], "EfficientNet-Lite0") from None
    (member,) = EFFICIENTNET.files
    weights = torch.load(package_file(EFFICIENTNET, member), weights_only=True, map_location="cpu")
    model: torch.nn.Module = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(weights)
    return model.eval()


def photo_crops(count: int) -> torch.Tensor:
    """Return crops of two photos in turn, ``[count, 3, 224, 224]`` float32, normalized.

    The crops move along the longer side; the first of each photo is its middle.
    """
    import numpy as np
    import torch
    from PIL import Image

    crops = []
    for index in range(count):
        with Image.open(package_file(PHOTOS, list(PHOTOS.files)[index % 2])) as photo:
            side, spare = photo.height, photo.width - photo.height
            # The middle first, then further steps of the golden section, wherever count ends.
            left = round(spare * ((0.5 + 0.6180339887 * (index // 2)) % 1))
            crop = photo.crop((left, 0, left + side, side)).resize((IMAGE_SIDE, IMAGE_SIDE))
            crops.append(np.asarray(crop.convert("RGB"), np.float32) / 255)
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    mean, deviation = torch.tensor(_MEAN), torch.tensor(_DEVIATION)
    return (pixels - mean[:, None, None]) / deviation[:, None, None]
