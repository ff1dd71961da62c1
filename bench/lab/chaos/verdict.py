"""Whose fault an error is that a client saw: that of what was done to the cluster, or that of the product.

An error is excused, and nothing else is, if

- the agent of the client's own node was down at any moment of the request: it did not run, stood still, or was not
  ready; for a pull by containerd, also the containerd;
- or no healthy source had the content, all the time from shortly before the request to its end. Upstream is one if it
  ran, and neither it nor the node was cut off, nor the node refused. A member is one if it has had the right bytes
  since then, its agent was never down, and neither it nor the asking node was cut off; nor had it lied in the ten
  minutes before, for then it is rightly shunned. The own node is one as well;
- or upstream was not there, and the disk of the client's node was full: what passes through memory is given to a client
  only if it comes from upstream, or several members vouch for it.

A tag that means what upstream never said, or says no more, is excused only by an upstream that was not there.

"Shortly before" is the time that agents take to notice: `SETTLING_S`, for tags `REGISTRY_AWAY_S`, and `REUNION_S` for
members that were cut off from each other.

A wrong byte is never excused, in a short read neither, with one exception that is counted by itself: the byte that
upstream itself had sent wrong to that very node, which every client of that registry would have got. A fetch that broke
off may leave it on the disk; the next one passes it on before it has the digest, and finds it then.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testbed.faulty import Wrong

from .library import Content
from .member import Member
from .question import PULL, STALE_TAG, WRONG_BYTES, WRONG_HEAD, WRONG_TAG, Failure, Question
from .schedule import UPSTREAM
from .settings import REGISTRY_AWAY_S, REUNION_S, SETTLING_S, SHUNNED_S
from .timeline import BUSY, CUT, DOWN, FULL, LIMITED, LYING, Timeline

OWN_DOWN = "own agent down"
CONTAINERD_DOWN = "own containerd down"
DISK_FULL = "own disk full, upstream away"
NO_SOURCE = "no healthy source"
FROM_UPSTREAM = "upstream's own wrong byte"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error is.

    Args:
        excuse: why it is excused; None: it is a defect.
        reason: why it is a defect: who could have given an answer.
    """

    excuse: str | None
    reason: str


class Judge:
    """Knows what was done, and to whom.

    Args:
        members: all nodes, by name.
        timeline: what was the case when.
        wrongs: the bytes that upstream has sent wrong.
    """

    def __init__(self, members: Mapping[str, Member], timeline: Timeline, wrongs: Sequence[Wrong]) -> None:
        self._members = members
        self._timeline = timeline
        self._wrongs = wrongs

    def judge(self, failure: Failure, node: str, question: Question, began: float, ended: float) -> Verdict:
        """Whether an error is excused.

        Args:
            failure: what was seen.
            node: whose client saw it.
            question: what was asked.
            began: monotonic time at which it asked.
            ended: monotonic time of the error.
        """
        if failure.kind == WRONG_BYTES:
            sent = {(wrong.node, wrong.what, wrong.offset) for wrong in list(self._wrongs)}
            mine = {(node, content.digest, failure.offset) for content in question.contents}
            return Verdict(FROM_UPSTREAM if sent & mine else None, "")
        if failure.kind == WRONG_HEAD:
            return Verdict(None, "")
        if self._timeline.was(DOWN, node, began, ended):
            return Verdict(OWN_DOWN, "")
        if question.kind == PULL and self._timeline.was(BUSY, node, began, ended):
            return Verdict(CONTAINERD_DOWN, "")
        since = began - (REGISTRY_AWAY_S if question.is_tag else SETTLING_S)
        if self._upstream_was_there(node, since, ended):
            return Verdict(None, "upstream was there")
        if failure.kind in (WRONG_TAG, STALE_TAG):
            return Verdict(NO_SOURCE, "")
        if self._timeline.was(FULL, node, since, ended):
            return Verdict(DISK_FULL, "")
        holders = [self._holder(node, content, since, ended) for content in question.contents]
        if None in holders:
            return Verdict(NO_SOURCE, "")
        return Verdict(None, f"{', '.join(sorted({holder for holder in holders if holder}))} had it")

    def _upstream_was_there(self, node: str, since: float, until: float) -> bool:
        away = ((DOWN, UPSTREAM), (CUT, UPSTREAM), (CUT, node), (LIMITED, node))
        return not any(self._timeline.was(state, of, since, until) for state, of in away)

    def _holder(self, node: str, content: Content, since: float, until: float) -> str | None:
        """A healthy member that the node could reach and that had some content, all the time."""
        was = self._timeline.was
        held_since = time.time() - (time.monotonic() - since)
        for name, member in self._members.items():
            bad = [(DOWN, name), (BUSY, name)]
            if name != node:
                apart = was(CUT, name, since - REUNION_S, until) or was(CUT, node, since - REUNION_S, until)
                if apart or was(LYING, name, since - SHUNNED_S, until):
                    continue
            if any(was(state, of, since, until) for state, of in bad):
                continue
            if member.holds(content.hex, content.body, held_since):
                return name
        return None
