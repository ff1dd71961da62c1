"""All microbenchmarks, one after the other."""

from pathlib import Path

from rich.console import Console

from ..report import Report
from . import codec, hashing, lookup, publish
from .amount import QUICK, Amount


def measure(console: Console, folder: Path | None, *, quick: bool) -> Report:
    """Run it all: two minutes, or some 20 s.

    Raises:
        BenchError: a program is missing, there is not enough space, or nodes do not do what they should.
    """
    amount = QUICK if quick else Amount()
    with console.status("looking keys up") as status:
        tables, goals = lookup.measure(amount)
        status.update("building and sending filters")
        tables.append(publish.measure(amount))
        status.update("making and reading packets")
        tables += codec.measure(amount)
        status.update("hashing")
        hashed, reached = hashing.measure(amount, folder)
    return Report("micro", [*tables, hashed], [*goals, *reached])
