"""Who lied, from who contradicts whom. Pure.

Bytes that one member sent and another sent otherwise say that one of the two lies, not which. But a liar is
contradicted by everybody, and an honest member by liars alone.
"""

from collections import Counter
from collections.abc import Collection, Iterable

from ..sources import UPSTREAM

Pair = tuple[str, str]


def accused(contradictions: Iterable[Pair], agreements: Iterable[Pair]) -> set[str]:
    """The few names that explain all contradictions; both of a pair where nothing tells which.

    Args:
        contradictions: who sent the same bytes differently; upstream is always right.
        agreements: who sent the same bytes alike.
    """
    left = set(contradictions)
    names = {name for pair in left for name in pair if UPSTREAM in pair} - {UPSTREAM}
    agreed = _count(agreements)
    while left := {pair for pair in left if not names.intersection(pair)}:
        count = _count(left)
        weight = {name: (count[name], -agreed[name]) for name in count}
        most = max(weight.values())
        names |= {name for name in weight if weight[name] == most}
    return names


def _count(pairs: Iterable[Collection[str]]) -> Counter[str]:
    return Counter(name for pair in pairs for name in pair)
