"""The tile of the Verilog: packets, clocks in closed form, a model of every handshake."""
