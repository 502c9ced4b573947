"""HQQ beside the released package's outputs (tests/golden/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quant.methods.hqq import hqq

GOLDEN = Path(__file__).parent.parent / "golden/datatypes.npz"


def cases() -> list[str]:
    with np.load(GOLDEN) as data:
        return [k for k in data.files if k.startswith("public|hqq0.2.8|") and k.endswith("|code")]


@pytest.mark.parametrize("key", cases())
def test_equals_the_released_package(key: str) -> None:
    """Without optimization exactly; with it nearly: means over a group differ in the last bit."""
    _, _, kind, settings, name, _ = key.split("|")
    with np.load(GOLDEN) as data:
        groups = data[f"public|in|{name}|x"].reshape(-1, 64)
        codes, zeros = data[key].reshape(groups.shape), data[key.replace("|code", "|zero")].ravel()
        scales = data[key.replace("|code", "|scale")].ravel()
    optimize = "opt1" in settings
    found = hqq(groups, int(kind[3]), optimize=optimize, round_zero="rz1" in settings)
    np.testing.assert_allclose(found.scales, scales, rtol=1e-6)
    if not optimize:
        assert np.array_equal(found.codes, codes)
        np.testing.assert_allclose(found.zeros, zeros, rtol=1e-6, atol=1e-6)
        return
    assert (found.codes == codes).mean() >= 0.999
    # The last iteration is where the mean error grows: near the end that hangs on the order of a
    # float32 sum, so a case may stop one step sooner or later.
    assert np.abs(found.zeros - zeros).max() < 0.05
    near = np.abs(found.zeros - zeros) <= 1e-5 * np.maximum(1, np.abs(zeros))
    assert near.mean() >= 0.96 or np.median(np.abs(found.zeros - zeros)) < 1e-3


def test_zero_points_lower_the_error() -> None:
    groups = (np.random.default_rng(0).standard_t(4, (64, 64)) * 0.02).astype(np.float32)

    def error(optimize: bool) -> float:
        found = hqq(groups, 3, optimize=optimize)
        values = (found.codes - found.zeros[:, None]) * found.scales[:, None]
        return float(np.abs(values - groups).mean())

    assert error(True) < error(False)
