"""The validation as text: errors of kernels and of servers, ideal beside calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quant.common.output import Report, stacked
from quant.common.tables import Table, table_of
from roofline.validation.validation import Validation

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Predictions beside measurements"
COMMAND = "roofline validate -o reports/roofline_validation.md"
NOTES = (
    "kernels: median relative error of the ideal roof, and of the calibrated law on measurements "
    "that its fit did not see (ten folds)",
    "servers: mean absolute relative error (MAPE) and mean error (bias) of TPOT; nothing is fitted "
    "to them; TTFT of these rows holds queueing and is not compared",
    "rows without a stated precision are taken as 16-bit; where all predictions of such a group "
    "are too slow by 40 % (SGLang), the servers may have run 8-bit weights",
)


def validation_report(validation: Validation) -> Report:
    """Return the report (``roofline.validation/1``)."""
    rows = {"kernels": _records(validation.kernels), "serving": _records(validation.serving)}
    return Report(
        TITLE,
        "roofline.validation/1",
        lambda: rows,
        lambda: tables(validation),
        lambda: stacked(rows),
    )


def tables(validation: Validation) -> list[Table]:
    """Return what the validation is, and the errors of kernels and of servers."""
    return [
        Table((), (), TITLE, "", (f"made by {COMMAND}", *NOTES)),
        kernel_table(validation.kernels),
        serving_table(validation.serving),
    ]


def kernel_table(frame: pd.DataFrame) -> Table:
    """Return the errors of kernels."""
    rows = [
        {
            "device": row["device"],
            "class": row["class"],
            "cases": row["cases"],
            "ideal": f"{row['ideal_median']:.1%}",
            "calibrated": f"{row['median']:.1%}",
            "p90": f"{row['p90']:.1%}",
        }
        for row in frame.to_dict("records")
    ]
    return table_of(rows, "Kernels")


def serving_table(frame: pd.DataFrame) -> Table:
    """Return the errors of servers."""
    rows = [
        {
            "device": row["device"],
            "model": str(row["model"]).rpartition("/")[2],
            "backend": row["backend"],
            "format": row["precision"],
            "tp": row["tp"],
            "rows": row["rows"],
            "ideal": f"{row['ideal_mape']:.1%}",
            "calibrated": f"{row['mape']:.1%}",
            "bias": f"{row['bias']:+.1%}",
        }
        for row in frame.to_dict("records")
    ]
    return table_of(rows, "Servers (TPOT)")


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
