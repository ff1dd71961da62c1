"""Registries that do not answer: what this node has found out, and what other members say. Pure: told the time.

A registry that does not answer costs time once, and not each request again. So it is remembered until it answers, and
the other members are told (`words`). What a home says of a registry is its word alone, and holds for a while: whoever
cannot reach a registry either need not ask one home after the other.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from ..settings import OutageSettings


@dataclass(slots=True)
class _Registry:
    """What is known of one registry; all times are monotonic seconds.

    Args:
        why: why it is thought not to answer this node; None if nothing says so.
        since: since when it does not.
        wanted_at: when somebody last wanted something of it.
        signed_at: when it last gave a sign of life.
        told_until: a member said that it does not answer that one either: until when this counts.
        returned_at: when it last answered again.
    """

    why: str | None = None
    since: float = -math.inf
    wanted_at: float = -math.inf
    signed_at: float = -math.inf
    told_until: float = -math.inf
    returned_at: float = -math.inf


class Outages:
    """The registries that this node has asked.

    Args:
        settings: for how long what is known counts, and how many are remembered.
    """

    def __init__(self, settings: OutageSettings) -> None:
        self._settings = settings
        self._registries: OrderedDict[str, _Registry] = OrderedDict()

    def _of(self, registry: str) -> _Registry:
        known = self._registries.setdefault(registry, _Registry())
        self._registries.move_to_end(registry)
        if len(self._registries) > self._settings.registries_max:
            self._registries.popitem(last=False)
        return known

    # What happened.

    def began(self, registry: str, why: str, now: float) -> None:
        """Take note that a registry does not answer this node."""
        known = self._of(registry)
        if known.why is None:
            known.since = now
        known.why, known.wanted_at, known.signed_at = why, now, -math.inf

    def returned(self, registry: str, now: float) -> None:
        """Take note that a registry that did not answer does again."""
        self.ended(registry)
        self._of(registry).returned_at = now

    def ended(self, registry: str) -> None:
        """Forget that a registry does not answer: nobody asks any more whether it does."""
        known = self._of(registry)
        known.why, known.told_until = None, -math.inf

    def wanted(self, registry: str, now: float) -> None:
        """Take note that somebody wants something of a registry."""
        self._of(registry).wanted_at = now

    def signed(self, registry: str, now: float) -> None:
        """Take note of a sign of life: whatever members say, this node can ask it."""
        known = self._of(registry)
        known.signed_at, known.told_until = now, -math.inf

    def told(self, registry: str, now: float) -> None:
        """Take note that a registry does not answer a member, as that one says."""
        self._of(registry).told_until = now + self._settings.told_s

    # What follows.

    def why(self, registry: str, now: float) -> str | None:
        """What to say of a registry that does not answer; None if it may be asked."""
        known = self._registries.get(registry)
        if known is None or known.why is None:
            return None
        return f"{registry} has not answered for {now - known.since:.0f} s: {known.why}"

    def may_be_a_flap(self, registry: str, now: float) -> bool:
        """Whether a registry has not answered for so short a time that a pull should wait for its return."""
        known = self._registries.get(registry)
        return known is not None and known.why is not None and now - known.since < self._settings.flap_s

    def returned_at(self, registry: str) -> float:
        """When a registry last answered again, monotonic seconds; minus infinity if it never was out."""
        known = self._registries.get(registry)
        return -math.inf if known is None else known.returned_at

    def is_wanted(self, registry: str, now: float) -> bool:
        """Whether it is worth finding out when a registry that does not answer is back."""
        known = self._registries.get(registry)
        return known is not None and known.why is not None and now - known.wanted_at < self._settings.wanted_s

    def lives(self, registry: str, now: float, since: float = -math.inf) -> bool:
        """Whether a registry gave a sign of life a moment ago, and after `since`, monotonic seconds."""
        known = self._registries.get(registry)
        return known is not None and known.signed_at > max(since, now - self._settings.sign_of_life_s)

    def is_told(self, registry: str, now: float) -> bool:
        """Whether a member said lately that a registry does not answer that one."""
        known = self._registries.get(registry)
        return known is not None and now < known.told_until

    def shown(self, now: float) -> Mapping[str, float]:
        """The registries that do not answer this node, and for how long they have not, s."""
        return {name: now - known.since for name, known in self._registries.items() if known.why is not None}
