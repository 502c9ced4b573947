"""Faults of one line in the wiring of the tile: the replay on one machine must find each."""

from __future__ import annotations

from pathlib import Path

from hwsim.verilog.sources import sources
from tests.rtl.faults import Fault, with_fault
from tests.rtl.machines import JUDGE, JUDGE_CLOCKS, JUDGE_SEED
from tests.rtl.tile_replay import build_replays, replay
from tests.rtl.tile_script import drawn_script
from tests.rtl.tile_twin import compiled_walk

AXIS, TILE, DRAIN, OUTPUT = "axis_tile.sv", "tile.sv", "drain_sequencer.sv", "column_output.sv"
FAULTS = (
    Fault("the last beats of the streams are swapped", AXIS,
          ".weight_last_i  (s_axis_weight_tlast_i)", ".weight_last_i  (s_axis_act_tlast_i)"),
    Fault("every beat of activations is the last", AXIS,
          ".act_last_i     (s_axis_act_tlast_i)", ".act_last_i     (1'b1)"),
    Fault("weights are valid when activations are", AXIS,
          ".weight_valid_i (s_axis_weight_tvalid_i)", ".weight_valid_i (s_axis_act_tvalid_i)"),
    Fault("the side band has lost its highest bit", AXIS,
          ".weight_user_i  (s_axis_weight_tuser_i)",
          ".weight_user_i  ({1'b0, s_axis_weight_tuser_i[UserBits-2:0]})"),
    Fault("results are taken whatever the outside says", AXIS,
          ".result_ready_i (m_axis_result_tready_i)", ".result_ready_i (1'b1)"),
    Fault("the rows' columns are shifted by one bit", AXIS,
          ".act_data_i     (s_axis_act_tdata_i)", ".act_data_i     (s_axis_act_tdata_i << 1)"),
    Fault("rotation of the sums by two rows", OUTPUT,
          "turned[row] = sums_q[(row + 1) % Rows];", "turned[row] = sums_q[(row + 2) % Rows];"),
    Fault("the sign of an infinite result of FP16", OUTPUT,
          "{16'b0, negative_q, 15'h7c00}", "{16'b0, 1'b0, 15'h7c00}"),
    Fault("a reset that leaves the drain's row", DRAIN, "      row_q          <= '0;\n", ""),
    Fault("a reset that leaves a result", DRAIN, "      out_valid_q    <= 1'b0;\n", ""),
)  # fmt: skip


def is_found(fault: Fault, folder: Path) -> bool:
    """Whether the script that judges mutants finds a fault, or an assertion does."""
    files = [with_fault(file, fault, folder) for file in sources()]
    drawn_script(JUDGE, [JUDGE_SEED], JUDGE_CLOCKS, compiled_walk).write(folder, 0)
    program = build_replays([JUDGE], folder, files=files)
    return not replay(program, folder, JUDGE_SEED).clocks
