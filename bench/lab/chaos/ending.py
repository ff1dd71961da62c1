"""The end of a run: when everything has healed, each node has to get everything right, and all have to agree."""

import time
from collections.abc import Sequence
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
    """Wait until all nodes know the same of each node that is not themselves."""
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
    """What the nodes know differently of others; empty if they agree.

    Of itself a node says how many keys it has now. What the others know may have keys that are gone until a minute is
    quiet: a filter cannot forget, so a new one is made then.
    """
    known: dict[str, dict[str, int]] = {member.name: {} for member in members}
    for member in members:
        with suppress(OSError):
            for row in member.agent.members():
                if row["name"] in known and not row["itself"]:
                    known[row["name"]][member.name] = row["keys"]
    return "; ".join(
        f"keys of {name}: " + ", ".join(f"{other} knows {keys}" for other, keys in views.items())
        for name, views in known.items()
        if len(views) < len(members) - 1 or len(set(views.values())) > 1
    )
