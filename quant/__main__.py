"""The ``quant`` command as a program: the boundary first, then everything else."""

from __future__ import annotations

from quant.common.start import start


def main() -> None:
    """Run the ``quant`` command."""
    start("quant", "quant.cli:main")


if __name__ == "__main__":
    main()
