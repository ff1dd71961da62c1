"""The doctor: is a node well, and if not, what mends it.

Facts are gathered first (`facts` has their values; an agent gathers them in `app.examination`, and this package those
of the machine). Then pure functions judge them, and give a `Finding` for each thing that they looked at: what was
found, what it means, and the command that mends it.
"""

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """What was found; the value is what people and scripts see. The order is that of severity."""

    OK = "ok"
    """It is as it should be."""
    SKIPPED = "skipped"
    """It was not looked at, and the finding says why; that is no fault."""
    WARNING = "warning"
    """It works, and somebody should look at it."""
    ERROR = "error"
    """It does not work."""

    @property
    def severity(self) -> int:
        """The greater, the worse."""
        return list(Verdict).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of one thing.

    Args:
        check: the name of the check.
        verdict: how bad it is.
        says: what was found, a sentence without its full stop.
        means: what follows from it, sentences; empty where all is well.
        command: what mends it, as nearly as this machine can know; empty where nothing does.
    """

    check: str
    verdict: Verdict
    says: str
    means: str = ""
    command: str = ""


def ok(check: str, says: str, means: str = "", command: str = "") -> Finding:
    """What is as it should be."""
    return Finding(check, Verdict.OK, says, means, command)


def skipped(check: str, says: str, means: str = "", command: str = "") -> Finding:
    """What was not looked at."""
    return Finding(check, Verdict.SKIPPED, says, means, command)


def warning(check: str, says: str, means: str = "", command: str = "") -> Finding:
    """What somebody should look at."""
    return Finding(check, Verdict.WARNING, says, means, command)


def error(check: str, says: str, means: str = "", command: str = "") -> Finding:
    """What does not work."""
    return Finding(check, Verdict.ERROR, says, means, command)


EXIT_STATUS = {Verdict.OK: 0, Verdict.SKIPPED: 0, Verdict.WARNING: 1, Verdict.ERROR: 2}
"""Exit status by the worst verdict: as the plugins of monitoring systems have it.
Source: Monitoring Plugins Development Guidelines, "Plugin Return Codes"."""


def worst(findings: "list[Finding]") -> Verdict:
    """The worst verdict of all; OK where there is none."""
    return max((it.verdict for it in findings), key=lambda verdict: verdict.severity, default=Verdict.OK)
