"""The job that rtl/README.md gives to other repositories uses the actions of our own workflow."""

from __future__ import annotations

import re

from tests.docs.markdown import ROOT, blocks

USES = re.compile(r"uses: (\S+@[0-9a-f]{40} # v[\d.]+)")


def test_actions_are_pinned_and_those_of_our_own() -> None:
    own = USES.findall((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    (block,) = [b for b in blocks(ROOT / "rtl/README.md") if b.language == "yaml"]
    assert len(USES.findall(block.text)) == block.text.count("uses:") > 0
    assert set(USES.findall(block.text)) <= set(own)
