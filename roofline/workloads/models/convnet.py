"""Convolutional networks: ResNet and EfficientNet-Lite. A sequence is an image."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.workloads.amounts import SEQUENCES
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields
from roofline.workloads.ops import Convolution, Elementwise
from roofline.workloads.ops.elementwise import ACTIVATION, NORM, POOL, RESIDUAL

NORM_OPERATIONS = 2
"""A batch norm of a trained network is a multiplication and an addition."""
LITE0 = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
"""EfficientNet-B0's stages (Tan and Le 2019, table 1): repeats, kernel, stride, expansion, channels
in and out. Lite keeps them without squeeze-and-excitation."""
BOTTLENECK = 4


@dataclass
class Image:
    """The activation between layers: channels of ``side`` x ``side`` pixels."""

    channels: int
    side: int


def convolve(
    build: Builder,
    path: str,
    norm: str,
    image: Image,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: str = "",
) -> Image:
    """Add a convolution (padded to keep the size), its batch norm and its activation."""
    side = -(-image.side // stride)
    pixels, read = SEQUENCES * (side * side), SEQUENCES * (image.channels * image.side**2)
    inputs = image.channels // groups * kernel * kernel
    spec = build.format_of(path)
    op = Convolution(path, build.act, inputs, outputs, spec, pixels, groups=groups, image=read)
    build.add(op)
    numbers = pixels * outputs
    build.add(
        Elementwise(norm, build.act, NORM, numbers, NORM_OPERATIONS, weights_read=2 * outputs)
    )
    if activation:
        build.add(Elementwise(activation, build.act, ACTIVATION, numbers, 1))
    return Image(outputs, side)


def build_resnet(fields: Fields, build: Builder) -> None:
    """Add the ops of a ResNet with bottlenecks (He et al. 2016)."""
    widths, depths = fields.sizes("hidden_sizes"), fields.sizes("depths")
    if len(widths) != len(depths):
        fields.faults.append("depths: as many as hidden_sizes are needed")
    stem, side = fields.size("embedding_size"), fields.size("image_size", default=224)
    channels, labels = fields.size("num_channels", default=3), fields.size("num_labels")
    if fields.data.get("layer_type", "bottleneck") != "bottleneck":
        fields.faults.append("layer_type: bottleneck is known")
    fields.check()
    at = "resnet.embedder.embedder"
    names = (f"{at}.convolution", f"{at}.normalization")
    image = convolve(build, *names, Image(channels, side), stem, 7, 2, activation=f"{at}.act")
    pooled = SEQUENCES * (stem * (image.side // 2) ** 2)
    build.add(Elementwise("resnet.embedder.pooler", build.act, POOL, pooled, 9, inputs=4))
    image = Image(stem, image.side // 2)
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for j in range(depth):
            stride = 2 if j == 0 and i > 0 else 1
            image = _bottleneck(
                build, f"resnet.encoder.stages.{i}.layers.{j}", image, width, stride
            )
    _classify(build, "resnet.pooler", "classifier.1", image, labels)


def _bottleneck(build: Builder, at: str, image: Image, width: int, stride: int) -> Image:
    given = image
    if stride > 1 or image.channels != width:
        names = (f"{at}.shortcut.convolution", f"{at}.shortcut.normalization")
        convolve(build, *names, image, width, 1, stride)
    inner = width // BOTTLENECK
    for k, (outputs, kernel, step) in enumerate(((inner, 1, 1), (inner, 3, stride), (width, 1, 1))):
        names = (f"{at}.layer.{k}.convolution", f"{at}.layer.{k}.normalization")
        act = f"{at}.layer.{k}.activation" if k < 2 else ""
        given = convolve(build, *names, given, outputs, kernel, step, activation=act)
    numbers = SEQUENCES * (width * given.side**2)
    build.add(Elementwise(f"{at}.activation", build.act, RESIDUAL, numbers, 2, inputs=2))
    return given


def build_efficientnet_lite(fields: Fields, build: Builder) -> None:
    """Add the ops of EfficientNet-Lite0."""
    side, labels = fields.size("image_size", default=224), fields.size("num_labels")
    channels, head = fields.size("num_channels", default=3), fields.size("head_channels")
    fields.check()
    image = Image(channels, side)
    image = convolve(build, "_conv_stem", "_bn0", image, LITE0[0][4], 3, 2, activation="_relu")
    index = 0
    for repeats, kernel, stride, expansion, _, outputs in LITE0:
        for j in range(repeats):
            sizes = (outputs, kernel, stride if j == 0 else 1, expansion)
            image = _inverted(build, f"_blocks.{index}", image, *sizes)
            index += 1
    image = convolve(build, "_conv_head", "_bn1", image, head, 1, activation="_relu_head")
    _classify(build, "_avg_pooling", "_fc", image, labels)


def _inverted(
    build: Builder, at: str, image: Image, outputs: int, kernel: int, stride: int, expansion: int
) -> Image:
    given, inner = image, image.channels * expansion
    if expansion > 1:
        names = (f"{at}._expand_conv", f"{at}._bn0")
        given = convolve(build, *names, given, inner, 1, activation=f"{at}._relu0")
    names = (f"{at}._depthwise_conv", f"{at}._bn1")
    act = f"{at}._relu1"
    given = convolve(build, *names, given, inner, kernel, stride, inner, activation=act)
    given = convolve(build, f"{at}._project_conv", f"{at}._bn2", given, outputs, 1)
    if stride == 1 and image.channels == outputs:
        numbers = SEQUENCES * (outputs * given.side**2)
        build.add(Elementwise(f"{at}.residual", build.act, RESIDUAL, numbers, 1, inputs=2))
    return given


def _classify(build: Builder, pool: str, head: str, image: Image, labels: int) -> None:
    numbers, area = SEQUENCES * image.channels, float(image.side**2)
    build.add(Elementwise(pool, build.act, POOL, numbers, area, inputs=area))
    build.linear(head, image.channels, labels, bias=True, tokens=SEQUENCES)
