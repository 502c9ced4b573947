"""Area and critical path of the Verilog, with open tools and a Liberty file that the user names.

Area is cell area (um2), without placement and clock tree; delays (ns) are with ideal wires.
"""
