"""What is wrong, as this node sees it: each with what an operator can do about it, and the command for that. Pure."""

import enum
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..service import Service

_SHOWN_MAX: Final = 50
"""Bounds the pins that are shown to lack copies: who has more of them looks at `skvaller pins`."""
_LOW_SHARE: Final = 0.1
"""The share of a registry's budget, left over, at which an operator may want to do something."""


class Severity(enum.StrEnum):
    """How bad it is; the value stands in JSON."""

    ERROR = "error"
    """Something does not work, or is kept less safe than was ordered."""
    WARNING = "warning"
    """It may become worse, or mends itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        severity: how bad it is.
        what: a sentence.
        advice: what to do, in words that the command or the member's name may follow.
        command: what to type.
        on: the member on whose machine; empty for this one.
    """

    severity: Severity
    what: str
    advice: str
    command: str
    on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a node knows, as it stands on the status endpoint.

    Args:
        me: the name of this node.
        service: what starts the agents.
        is_ready: whether pulls can be served.
        alone: what was tried to reach others; empty if one is reached, or none is looked for.
        members: rows of members.
        budgets: rows of budgets of registries.
        outages: rows of registries that do not answer.
        pins: rows of what is pinned.
        keeps_nothing: why the cache keeps nothing that arrives; None if it does.
        unreadable: blobs of the cache that the disk does not give.
        without_room: pinned images for which this node's cache has no room.
    """

    me: str
    service: Service
    is_ready: bool
    alone: str
    members: Sequence[Mapping[str, Any]]
    budgets: Sequence[Mapping[str, Any]]
    outages: Sequence[Mapping[str, Any]]
    pins: Sequence[Mapping[str, Any]]
    keeps_nothing: str | None
    unreadable: int
    without_room: int

    def log(self, name: str) -> tuple[str, str]:
        """The command that says what became of the agent of a member, and the member on whose machine to give it."""
        return self.service.log(name), self._on(name)

    def restart(self, name: str) -> tuple[str, str]:
        """The command that starts it again, and the member on whose machine to give it."""
        return self.service.restart(name), self._on(name)

    def _on(self, name: str) -> str:
        return "" if name == self.me or self.service.is_asked_anywhere else name


def problems_of(facts: Facts) -> list[dict[str, Any]]:
    """What is wrong, the worst first, as rows of JSON."""
    found = [*_node(facts), *_members(facts), *_registries(facts), *_pins(facts.pins)]
    found.sort(key=lambda it: it.severity is not Severity.ERROR)
    return [asdict(it) for it in found]


def _node(facts: Facts) -> Iterator[Problem]:
    if not facts.is_ready:
        yield Problem(
            Severity.WARNING,
            "This agent is starting or leaving, and is not ready for pulls.",
            "It should be within seconds. If it is not, see why",
            *facts.log(facts.me),
        )
    if facts.alone:
        yield Problem(
            Severity.ERROR,
            f"This node reaches no other member. Tried {facts.alone}",
            "See what is in the way",
            "skvaller doctor",
        )
    if facts.keeps_nothing is not None:
        yield Problem(
            Severity.ERROR,
            f"The cache keeps nothing that arrives: {facts.keeps_nothing}.",
            "Pulls go on, through memory. Free what nobody used for a week",
            "skvaller prune --unused 7d",
        )
    if facts.unreadable:
        yield Problem(
            Severity.ERROR,
            f"The disk does not give {facts.unreadable} blobs of the cache; others are asked for them.",
            "Look for errors of the disk",
            "journalctl -k --since -1d | grep -i error",
        )
    if facts.without_room:
        yield Problem(
            Severity.ERROR,
            f"The cache has no room for {facts.without_room} of the images that are pinned to this node.",
            "Raise cache-size, or unpin what is not needed. What is pinned, and what lacks",
            "skvaller pins",
        )


def _members(facts: Facts) -> Iterator[Problem]:
    for row in facts.members:
        name = row["name"]
        if row["state"] == "dead":
            yield Problem(
                Severity.ERROR,
                f"{name} is dead: {row['means']}.",
                "Start it again; if it is gone for good, it is forgotten within a day. To start it",
                *facts.restart(name),
            )
        elif row["state"] == "suspect":
            yield Problem(Severity.WARNING, f"{name}: {row['means']}.", "If that lasts, see why",
                          "skvaller doctor")  # fmt: skip
        elif row["trouble"] == "banned":
            yield Problem(Severity.ERROR, f"{name}: {row['means']}.", "Have every copy there read and checked",
                          "skvaller verify --deep", name)  # fmt: skip
        elif row["trouble"] == "out of reach":
            yield Problem(Severity.ERROR, f"{name} gossips, but {row['means']} ({row['peer']}).",
                          "See whether something blocks the port", "skvaller doctor")  # fmt: skip
        if row["flapping"]:
            yield Problem(
                Severity.WARNING,
                f"{name} died and came back several times.",
                "See why",
                *facts.log(name),
            )
        if (said := row["contradicts"]) is not None:
            yield Problem(
                Severity.WARNING,
                f"{name} says that {said['tag']} is {said['says'][:19]}…, and upstream says "
                f"{said['upstream'][:19]}…: it lies, or its upstream is another registry.",
                "See who says what",
                f"skvaller why {shlex.quote(said['tag'])}",
            )


def _registries(facts: Facts) -> Iterator[Problem]:
    login = "Wait; or set upstream-auth, so that agents log in, and start them again one by one"
    for row in facts.budgets:
        left, limit, name = row["remaining"], row["limit"], row["registry"]
        if row["wait_s"] > 0:
            yield Problem(
                Severity.ERROR,
                f"{name} lets nobody pull for another {row['wait_s']:.0f} s. What members hold is served.",
                login,
                *facts.restart(facts.me),
            )
        elif left is not None and limit and left <= _LOW_SHARE * limit:
            yield Problem(
                Severity.WARNING,
                f"{name} lets this address pull {left} of {limit} times more.",
                login,
                *facts.restart(facts.me),
            )
    for row in facts.outages:
        name, whom = row["registry"], list(row["members"])
        if row["out_s"] is not None:
            yield Problem(
                Severity.ERROR,
                f"{name} has not answered this node for {row['out_s']:.0f} s. What members hold is served.",
                "See what it says",
                "skvaller doctor",
            )
        elif whom:
            yield Problem(
                Severity.WARNING,
                f"{name} does not answer {', '.join(whom)}.",
                "See what it says there",
                "skvaller doctor",
                whom[0],
            )


def _pins(rows: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    lacking = sorted((row for row in rows if row["missing"]), key=lambda row: not (row["problem"] or not row["held"]))
    for row in lacking[:_SHOWN_MAX]:
        why = f": {row['problem']}" if row["problem"] else ""
        yield Problem(
            Severity.ERROR if why or not row["held"] else Severity.WARNING,
            f"The pinned image {row['name']} is whole on {row['held']} of {row['wanted']} members{why}.",
            "The members fetch what lacks as soon as they can. To see what stops them, fetch it now",
            f"skvaller prefetch {shlex.quote(row['name'])}",
        )
    if len(lacking) > _SHOWN_MAX:
        yield Problem(
            Severity.WARNING,
            f"{len(lacking) - _SHOWN_MAX} more pinned images lack copies.",
            "See them all",
            "skvaller pins",
        )
