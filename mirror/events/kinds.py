"""The kinds of events. A kind's name begins with its group, so that a reader may ask for either."""

import enum
from collections.abc import Iterable


class Kind(enum.StrEnum):
    """What happened; the value stands in JSON."""

    AGENT_STARTED = "agent-started"
    """This agent began; numbers of events go on from a higher one."""

    PULL_BEGAN = "pull-began"
    PULL_ENDED = "pull-ended"

    MEMBER_JOINED = "member-joined"
    """It appeared, or came back after it was dead or had left."""
    MEMBER_SUSPECTED = "member-suspected"
    """It did not answer; it has some seconds to refute."""
    MEMBER_REFUTED = "member-refuted"
    """A suspect said that it lives; or this node did, of itself."""
    MEMBER_DIED = "member-died"
    """A suspect did not refute in time."""
    MEMBER_LEFT = "member-left"
    """It said goodbye."""

    BAN_BEGAN = "ban-began"
    """A member was proven to have sent wrong bytes: it is not asked for a while."""
    BAN_ENDED = "ban-ended"

    BUDGET_LOW = "budget-low"
    """A registry lets the members pull few more times: they spend what is left one by one."""
    BUDGET_SPENT = "budget-spent"
    """A registry lets nobody pull for a while."""
    BUDGET_BACK = "budget-back"
    """A registry may be asked as usual again."""

    OUTAGE_BEGAN = "outage-began"
    """A registry does not answer this node."""
    OUTAGE_ENDED = "outage-ended"

    CACHE_STOPPED = "cache-stopped"
    """Nothing that arrives is kept."""
    CACHE_WORKS = "cache-works"
    """What arrives is kept again."""
    CACHE_EVICTED = "cache-evicted"
    """Blobs left the cache to make room, all of a few seconds together."""

    KEYS_CHANGED = "keys-changed"

    PIN_LACKING = "pin-lacking"
    """A pinned image is not whole on this node, which is to keep it."""
    PIN_WHOLE = "pin-whole"

    @property
    def group(self) -> str:
        """The first word of its name, such as `pull` or `member`."""
        return self.value.partition("-")[0]


def kinds_of(names: Iterable[str]) -> frozenset[Kind]:
    """The kinds that somebody names, by their own names or by those of groups.

    Raises:
        ValueError: a name is neither; the message says what is allowed.
    """
    found: set[Kind] = set()
    for name in names:
        fitting = {kind for kind in Kind if name in (kind.value, kind.group)}
        if not fitting:
            groups = ", ".join(dict.fromkeys(kind.group for kind in Kind))
            raise ValueError(f"{name[:100]!r} is no kind of events: name {groups}, or one of {', '.join(Kind)}")
        found |= fitting
    return frozenset(found)
