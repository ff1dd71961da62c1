"""The end of a run: when everything has healed, each node has to get everything right, and all have to agree."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from .askers import Askers
from .ledger import Error, Ledger
from .member import Member
from .settings import TOGETHER_S
from .timeline import Timeline


def heal(members: Sequence[Member], timeline: Timeline, ledger: Ledger) -> None:
    """Wait until all nodes see each other."""
    names = {member.name for member in members}
    deadline = time.monotonic() + TOGETHER_S
    while (apart := [member for member in members if sees(member) != names]) and time.monotonic() < deadline:
        time.sleep(0.2)
    for member in apart:
        detail = f"it sees {', '.join(sorted(sees(member))) or 'nobody'} after {TOGETHER_S:g} s"
        ledger.error(Error(timeline.now(), member.name, "not together", "at the end", detail, TOGETHER_S, None))


def ask_all(members: Sequence[Member], askers: Askers) -> None:
    """Let a client of each node ask for everything."""
    for member in members:
        askers.ask_everything(member)


def compare(members: Sequence[Member], timeline: Timeline, ledger: Ledger) -> None:
    """Wait until all nodes know as many keys of each node as that one has."""
    deadline = time.monotonic() + TOGETHER_S
    while (different := _different(members)) and time.monotonic() < deadline:
        time.sleep(0.5)
    if different:
        ledger.error(Error(timeline.now(), "all", "filters differ", "at the end", different, TOGETHER_S, None))


def sees(member: Member) -> set[str]:
    """The members that a node sees alive; empty while its agent does not answer."""
    with suppress(OSError):
        return member.agent.alive()
    return set()


def _different(members: Sequence[Member]) -> str:
    """What the nodes know differently of each other; empty if they agree."""
    known: dict[str, Mapping[str, int]] = {}
    for member in members:
        with suppress(OSError):
            known[member.name] = {row["name"]: row["keys"] for row in member.agent.members()}
    differences = [
        f"{one} knows {keys.get(other)} keys of {other}, which has {known.get(other, {}).get(other)}"
        for one, keys in known.items()
        for other in (member.name for member in members)
        if keys.get(other) != known.get(other, {}).get(other)
    ]
    return "; ".join(differences[:10])
