"""Every format, selector, code and step of the weight decoder against ``hwsim.pe.terms``."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import Timer

from hwsim.pe.terms import pe_formats, term_table


@cocotb.test()
async def equals_the_table(dut: Any) -> None:  # noqa: ANN401  cocotb's handles are dynamic
    checked = 0
    for index, name in enumerate(pe_formats()):
        table = term_table(name)
        selectors, codes, steps = table.man.shape
        for selector in range(selectors):
            for code in range(codes):
                for step in range(steps):
                    await drive(dut, index, selector, code, step)
                    at = (selector, code, step)
                    wanted = table.sign[at] << 3 | table.man[at] << 2 | table.exp[at]
                    got = dut.term_o.value.to_unsigned()
                    assert got == wanted if table.man[at] else got >> 2 & 1 == 0, (name, at, got)
                    assert dut.significance_o.value.to_unsigned() == table.significance[step]
                    assert dut.steps_o.value.to_unsigned() == steps
                    checked += 1
    assert checked == sum(term_table(name).man.size for name in pe_formats())


@cocotb.test()
async def ignores_bits_above_the_code(dut: Any) -> None:  # noqa: ANN401  as above
    for index, name in enumerate(pe_formats()):
        codes = term_table(name).man.shape[1]
        for code in range(codes):
            await drive(dut, index, 0, code, 0)
            plain = dut.term_o.value.to_unsigned()
            await drive(dut, index, 0, (code | ~(codes - 1)) & 0xFF, 0)
            assert dut.term_o.value.to_unsigned() == plain, (name, code)


@cocotb.test()
async def gives_nothing_outside(dut: Any) -> None:  # noqa: ANN401  as above
    """No term after a format's last step, and none for formats that do not exist."""
    names = pe_formats()
    for index in range(1 << len(dut.format_i.value)):
        steps = term_table(names[index]).steps if index < len(names) else 0
        for step in range(steps, 4):
            for code in (0, 1, 0x55, 0xFF):
                await drive(dut, index, 0, code, step)
                assert dut.term_o.value.to_unsigned() == 0
                assert dut.significance_o.value.to_unsigned() == 0
                assert dut.steps_o.value.to_unsigned() == steps


async def drive(dut: Any, index: int, selector: int, code: int, step: int) -> None:  # noqa: ANN401
    dut.format_i.value = index
    dut.selector_i.value = selector
    dut.code_i.value = code
    dut.step_i.value = step
    await Timer(1, "ns")
