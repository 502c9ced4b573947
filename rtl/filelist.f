// The synthesisable Verilog in the order in which it compiles: verilator -F rtl/filelist.f.
// Paths are from this file's folder. The tops are axis_tile and axil_tile.
+incdir+include
generated/registers_pkg.sv
generated/terms_pkg.sv
pe/pe_pkg.sv
generated/term_table.sv
pe/activation_decoder.sv
pe/bit_serial_pe.sv
pe/dequantizer.sv
pe/exponent_match.sv
pe/float_rounder.sv
pe/fp32_adder.sv
pe/group_accumulator.sv
pe/serial_multiply.sv
pe/weight_decoder.sv
array/axil_registers.sv
array/axil_tile.sv
array/axis_tile.sv
array/column_output.sv
array/drain.sv
array/drain_sequencer.sv
array/pe_column.sv
array/ping_pong_buffer.sv
array/run_control.sv
array/step_sequencer.sv
array/tile.sv
array/weight_terms.sv
