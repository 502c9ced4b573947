"""Faults of one line in the registers and the runs of ``axil_tile``: the bench must find each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

REGISTERS, RUNS, TOP = "axil_registers.sv", "run_control.sv", "axil_tile.sv"


class Fault(NamedTuple):
    """A text of a file of ``rtl/array`` and what stands in its place."""

    name: str
    file: str
    old: str
    new: str


FAULTS = (
    Fault("a read address without its top bit", REGISTERS,
          "case (register_e'(araddr_i[AddressBits-1:2]))",
          "case (register_e'({1'b0, araddr_i[AddressBits-2:2]}))"),
    Fault("a write address without its top bit", REGISTERS,
          "register_e'(awaddr_i[AddressBits-1:2]);",
          "register_e'({1'b0, awaddr_i[AddressBits-2:2]});"),
    Fault("the last byte has no strobe", REGISTERS,
          "for (int unsigned i = 0; i < 4; i++) merged[8*i+:8] = strobe[i]",
          "for (int unsigned i = 0; i < 4; i++) merged[8*i+:8] = strobe[i % 3]"),
    Fault("commands without their strobes", REGISTERS,
          "control_t'(merged('0, data_q, strobe_q))", "control_t'(merged('0, data_q, '1))"),
    Fault("done acknowledged without its strobe", REGISTERS,
          "status_t'(merged('0, data_q, strobe_q))", "status_t'(merged('0, data_q, '1))"),
    Fault("a response before the data", REGISTERS,
          "assign write     = has_address_q && has_data_q;", "assign write     = has_address_q;"),
    Fault("an address that a pending response does not hold back", REGISTERS,
          "assign awready_o = !(has_address_q || bvalid_o);", "assign awready_o = !has_address_q;"),
    Fault("ready only after valid", REGISTERS,
          "assign wready_o  = !(has_data_q || bvalid_o);",
          "assign wready_o  = !(has_data_q || bvalid_o) && wvalid_i;"),
    Fault("an address taken while one waits", REGISTERS,
          "if (awready_o) address_q <=", "if (awvalid_i) address_q <="),
    Fault("a response that does not wait", REGISTERS,
          "if (bready_i) bvalid_o <= 1'b0;", "bvalid_o <= 1'b0;"),
    Fault("read data that does not wait", REGISTERS,
          "if (arready_o) begin", "if (1'b1) begin"),
    Fault("a reset that leaves an address", REGISTERS,
          "has_address_q <= 1'b0;\n      has_data_q    <= 1'b0;\n      bvalid_o      <= 1'b0;",
          "has_data_q    <= 1'b0;\n      bvalid_o      <= 1'b0;"),
    Fault("a reset that leaves the number of jobs", REGISTERS,
          "      format_q <= '0;\n      jobs_q   <= '0;", "      format_q <= '0;"),
    Fault("unmapped reads are OKAY", REGISTERS, "rresp_o <= is_mapped ? Okay : SlvErr;",
          "rresp_o <= is_mapped ? Okay : Okay;"),
    Fault("a refused write is OKAY", REGISTERS, "bresp_o <= refused ? SlvErr : Okay;",
          "bresp_o <= refused ? Okay : Okay;"),
    Fault("the format may be written in a run", REGISTERS,
          "RegFormat, RegJobs: refused = status_i.running;",
          "RegFormat, RegJobs: refused = status_i.running && address_q != RegFormat;"),
    Fault("no job may be started", REGISTERS, "!status_i.running && jobs_q != '0 &&",
          "!status_i.running &&"),
    Fault("a run may be started again", REGISTERS, "!status_i.running && jobs_q != '0 &&",
          "jobs_q != '0 &&"),
    Fault("any format may be started", REGISTERS, "Formats[format_q.number] &&", ""),
    Fault("any kind of scale may be started", REGISTERS, "format_q.scale <= ScaleE4m3", "1'b1"),
    Fault("a refused start clears the counters", REGISTERS,
          "assign clear_o       = write && !refused && address_q == RegControl",
          "assign clear_o       = write && address_q == RegControl"),
    Fault("bits without a meaning are kept", REGISTERS, "reserved: '0, fp16: format.fp16",
          "reserved: format.reserved, fp16: format.fp16"),
    Fault("two counters are swapped", REGISTERS,
          "RegWeightStalls:  value = counters_i.weight_stalls;",
          "RegWeightStalls:  value = counters_i.act_stalls;"),
    Fault("stalls of results are counted the wrong way round", RUNS,
          "32'(result_valid_i && !result_ready_i)", "32'(!result_valid_i && result_ready_i)"),
    Fault("stalls of activations count closed streams", RUNS,
          "32'(act_open_o && act_ready_i && !act_valid_i)", "32'(act_ready_i && !act_valid_i)"),
    Fault("beats count as packets", RUNS,
          "counters_q.act_packets + 32'(act_beat && act_last_i)",
          "counters_q.act_packets + 32'(act_beat)"),
    Fault("counters that are not cleared", RUNS, "if (!rst_ni || clear_i) begin",
          "if (!rst_ni) begin"),
    Fault("a start clears the counters", RUNS, "if (!rst_ni || clear_i) begin",
          "if (!rst_ni || clear_i || start_i) begin"),
    Fault("clocks outside of runs", RUNS, "counters_q.clocks + 32'(running_q)",
          "counters_q.clocks + 32'(running_q || done_q)"),
    Fault("done with the last job's first beat", RUNS,
          "assign job_given     = result_beat && result_last_i;",
          "assign job_given     = result_beat;"),
    Fault("done before the last beat is taken", RUNS,
          "assign result_beat     = result_valid_i && result_ready_i;",
          "assign result_beat     = result_valid_i;"),
    Fault("one job too few", RUNS, "result_jobs_q == 32'd1", "result_jobs_q <= 32'd2"),
    Fault("a start leaves done", RUNS, "(done_q && !start_i && !acknowledge_i)",
          "(done_q && !acknowledge_i)"),
    Fault("done cannot be cleared", RUNS, "(done_q && !start_i && !acknowledge_i)",
          "(done_q && !start_i)"),
    Fault("an error that goes away", RUNS, "error_q || weight_too_long || act_too_long;",
          "weight_too_long || act_too_long;"),
    Fault("activations may be too long", RUNS, "error_q || weight_too_long || act_too_long;",
          "error_q || weight_too_long;"),
    Fault("a beat of weights too many", RUNS,
          "IndexBits'(MaxBlocks) + IndexBits'(final_group);", "IndexBits'(MaxBlocks) + 1'b1;"),
    Fault("weights of the next run are taken", RUNS,
          "running_q && !error_q && weight_jobs_q != '0;", "running_q && !error_q;"),
    Fault("activations of the next run are taken", RUNS,
          "running_q && !error_q && owed_q != '0;", "running_q && !error_q;"),
    Fault("weights before a start", RUNS, "running_q && !error_q && weight_jobs_q != '0;",
          "!error_q && weight_jobs_q != '0 || !running_q;"),
    Fault("every packet is final", RUNS,
          "assign final_group     = weight_first ? weight_final_i : final_q;",
          "assign final_group     = weight_first ? 1'b1 : final_q;"),
    Fault("final of every beat", RUNS,
          "assign final_group     = weight_first ? weight_final_i : final_q;",
          "assign final_group     = weight_final_i;"),
    Fault("an end that is acknowledged as it comes is lost", RUNS,
          "finished || (done_q && !start_i && !acknowledge_i)",
          "(finished || (done_q && !start_i)) && !acknowledge_i"),
    Fault("65535 jobs of weights at most", RUNS,
          "logic [31:0]         weight_jobs_q, result_jobs_q;",
          "logic [31:0] result_jobs_q; logic [15:0] weight_jobs_q;"),
    Fault("65535 jobs of results at most", RUNS,
          "logic [31:0]         weight_jobs_q, result_jobs_q;",
          "logic [31:0] weight_jobs_q; logic [15:0] result_jobs_q;"),
    Fault("65535 clocks at most", RUNS, "counters_q.clocks + 32'(running_q);",
          "32'(16'(counters_q.clocks + 32'(running_q)));"),
    Fault("the top bit of stalls does not count", RUNS,
          "32'(act_open_o && act_ready_i && !act_valid_i);",
          "32'(act_open_o && act_ready_i && !act_valid_i) & 32'h7fff_ffff;"),
    Fault("a reset that leaves the place in a packet of activations", RUNS,
          "      act_index_q    <= '0;\n", ""),
    Fault("a reset that leaves the run", RUNS, "running_q     <= 1'b0;\n", ""),
    Fault("a reset that leaves what is owed", RUNS, "      owed_q        <= '0;\n", ""),
    Fault("a reset that leaves the place in a packet", RUNS, "weight_index_q <= '0;\n", ""),
    Fault("the interrupt while running", TOP, "assign irq_o = status.done;",
          "assign irq_o = status.done || status.running;"),
    Fault("FP16 always", TOP, "{s_axis_weight_tuser_i, format.fp16, format.scale",
          "{s_axis_weight_tuser_i, 1'b1, format.scale"),
    Fault("rows and columns swapped", TOP, "rows: 8'(Rows), columns: 8'(Columns)",
          "rows: 8'(Columns), columns: 8'(Rows)"),
    Fault("formats that need corrections are taken", TOP,
          "plan != '0 && (HasCorrection || !plan.is_asymmetric)", "plan != '0"),
    Fault("beats that the gate holds back reach the tile", TOP,
          ".s_axis_act_tvalid_i    (s_axis_act_tvalid_i && act_open)",
          ".s_axis_act_tvalid_i    (s_axis_act_tvalid_i)"),
)  # fmt: skip


def with_fault(file: Path, fault: Fault | None, folder: Path) -> Path:
    """The file, or a copy with the fault that is in it.

    Raises:
        ValueError: the text to change does not stand there exactly once.
    """
    if fault is None or file.name != fault.file:
        return file
    text = file.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.name}: {text.count(fault.old)} times in {fault.file}")
    copy = folder / file.name
    copy.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return copy
