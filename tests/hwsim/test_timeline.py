"""The timeline of a tile against the model of its registers, clock by clock."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest

from hwsim.machines.load import load_accelerator
from hwsim.report.timeline import LANES, Span, packets_of, spans, tile_of, timeline_report
from hwsim.tile.clocks import clocks
from hwsim.tile.model import TileModel
from hwsim.tile.packets import Packet
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from tests.rtl.machines import drawn_machines

FORMATS = ("bitmod4:g64:int8", "int8:g32:int8", "nvfp4:g16:e4m3", "int4-asym:g32:int8")


def beats_taken(packets: list[Packet], tile: Tile) -> tuple[list[int], list[int], list[int]]:
    """Clocks in which the model takes a beat of weights, of activations, gives a last result."""
    model = TileModel(packets, tile)
    left = [sum(len(p.weights) for p in packets), sum(len(p.words) for p in packets)]
    jobs = sum(packet.final for packet in packets)
    weights, acts, results = list[int](), list[int](), list[int]()
    for clock in range(10**6):
        shown = model.handshakes()
        if shown.weight_ready and left[0]:
            weights.append(clock)
        if shown.act_ready and left[1]:
            acts.append(clock)
        if shown.result_valid and shown.result_last:
            results.append(clock)
        valid = [count > 0 for count in left]
        left[0] -= shown.weight_ready and valid[0]
        left[1] -= shown.act_ready and valid[1]
        model.clock(valid[0], valid[1], result_ready=True)
        if len(results) == jobs:
            return weights, acts, results
    raise AssertionError("the model does not end")


def clocks_of(found: list[Span], part: str) -> list[int]:
    """All clocks of a part's spans."""
    return [c for span in found if span.part == part for c in range(span.first, span.last + 1)]


def test_spans_are_those_of_the_model() -> None:
    rng, compared = np.random.default_rng(3), 0
    for machine in drawn_machines(3, 12):
        tile = machine.tile
        for text in FORMATS:
            spec = parse_spec(text)
            if spec.group_size > tile.max_group:
                continue
            try:
                packets = packets_of(tile, spec, int(rng.integers(1, 200)), int(rng.integers(1, 4)))
            except RequestError:
                continue  # terms or activations that this tile does not take
            found = spans(packets, tile)
            weights, acts, results = beats_taken(packets, tile)
            assert clocks_of(found, "weights") == weights
            assert clocks_of(found, "activations") == acts
            assert [span.last for span in found if span.part == "last result"] == results
            assert found[-1].last + 1 == clocks(packets, tile)
            compared += 1
    assert compared > 15


def test_a_part_does_one_thing_at_a_time() -> None:
    machine = load_accelerator("bitmod-rtl")
    tile = tile_of(machine)
    found = spans(packets_of(tile, machine.spec("int8:g32:int8"), 256, 3), tile)
    ordered = sorted(found, key=lambda span: (LANES.index(span.part), span.first))
    for _, group in groupby(ordered, key=lambda span: span.part):
        own = list(group)
        assert all(one.last < two.first for one, two in pairwise(own))
    assert all(span.waits <= span.last - span.first for span in found)


def test_the_report_draws_every_span_and_refuses_what_is_no_tile() -> None:
    machine = load_accelerator("bitmod-rtl")
    report = timeline_report(machine, "bitmod4", 256, 2)
    assert report.figure is not None
    (axes,) = report.figure().axes
    spans_ = report.content()["spans"]
    assert len(axes.patches) == len(spans_) + sum(span["waits"] > 0 for span in spans_)
    with pytest.raises(RequestError, match="fp16: multiply-accumulate elements"):
        timeline_report(load_accelerator("fp16"), "fp16")
    with pytest.raises(RequestError, match="8192 groups: at most 512"):
        timeline_report(machine, "bitmod4", 1 << 20, 1)
