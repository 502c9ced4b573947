"""How tables of CSV are damaged: cells, columns, lines."""

from __future__ import annotations

from random import Random

from verification.reliability.mutations import EDGES_OF_INTEGERS, WRONG_TEXTS


def mutated_table(rng: Random, text: str) -> bytes:
    """Change cells, columns and lines of a CSV."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(rng.choice((1, 1, 2, 4))):
        line, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
        choice = rng.random()
        if choice < 0.6 and column < len(rows[line]):
            numbers = [str(value) for value in EDGES_OF_INTEGERS]
            words = (
                "nan",
                "inf",
                "-inf",
                "1e400",
                "-1",
                "0",
                "1e-320",
                "x",
                "True",
                '"',
                "9" * 400,
            )
            others = [rng.choice(rows)[-1], *(row[column] for row in rows if column < len(row))]
            rows[line][column] = rng.choice((*numbers, *words, *WRONG_TEXTS, *others))
        elif choice < 0.7:
            rows[line] = rows[line][:column]
        elif choice < 0.8:
            rows = [row[:column] + row[column + 1 :] for row in rows]
        elif choice < 0.9:
            rows[line:line] = [rows[line]] * rng.choice((1, 2, 30))
        else:
            del rows[line]
        if not rows:
            return b""
    return "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")
