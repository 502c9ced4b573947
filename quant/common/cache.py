"""Where downloaded and derived files are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Return the cache folder: ``$HWSIM_CACHE`` if set, else the platform's user cache."""
    override = os.environ.get("HWSIM_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("hwsim"))
