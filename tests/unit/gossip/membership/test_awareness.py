"""How much a node doubts itself."""

from gossip.core.membership.awareness import Awareness


def test_awareness_goes_through_memberlists_table() -> None:
    awareness = Awareness(8)
    deltas = (0, -1, -10, 1, -1, 10, -1, -1, -1, -1, -1, -1, -1, -1)
    scores = []
    for delta in deltas:
        awareness.add(delta)
        scores.append((awareness.score, awareness.scale(1.0)))
    assert scores == [(score, score + 1.0) for score in (0, 0, 0, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0, 0)]


def test_awareness_stays_within_its_bounds_and_scales() -> None:
    awareness = Awareness(8)
    awareness.add(-1)
    assert (awareness.score, awareness.scale(0.5)) == (0, 0.5)
    awareness.add(100)
    assert (awareness.score, awareness.scale(0.5)) == (7, 4.0)
