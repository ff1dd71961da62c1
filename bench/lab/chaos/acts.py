"""What each kind of fault does: how it begins and ends. Inside of `with` it is the case; it says what was done."""

import random
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from testbed.errors import RunError
from testbed.faulty import FaultyUpstream
from testbed.network import Host
from testbed.registry import Registry

from .damage import DAMAGES
from .library import MOVING, Library
from .member import Member
from .schedule import UPSTREAM, Fault
from .timeline import BUSY, CUT, DOWN, FULL, LIMITED, LYING, Timeline

READY_S: Final = 40.0
"""How long an agent that starts may take to be ready, s, on a machine whose cores are all busy."""

_LIES: Final[Mapping[str, str]] = {
    "lie about bytes": "lying",
    "lie about sizes": "sizes",
    "lie about manifests": "manifests",
    "lie about tags": "tags={tag}",
}
"""By the kind of fault, how `odd_agent.py` calls it."""

_CLOCK_JUMPS_S: Final = (-86_400, -3_600, -45, 45, 600, 3_600, 86_400)
_LOSS_PERCENT: Final = (1, 2, 4)
_THIN_BITS: Final = (2_000_000, 5_000_000, 10_000_000)
_DEEP_MS: Final = 400
_DROP_AFTER_BYTES: Final = (1, 200_000, 1_100_000)


@dataclass(frozen=True, slots=True)
class Stage:
    """What faults happen to.

    Args:
        members: the nodes, by name.
        upstream: the host of upstream.
        registry: what runs there.
        answers: what stands before it, with an address for each node.
        library: whose tag moves.
        timeline: is told what is the case.
    """

    members: Mapping[str, Member]
    upstream: Host
    registry: Registry
    answers: FaultyUpstream
    library: Library
    timeline: Timeline


Act = Callable[[Stage, Fault], AbstractContextManager[str]]


# Processes


@contextmanager
def _kill(stage: Stage, fault: Fault) -> Iterator[str]:
    """The agent is gone without a word."""
    member = stage.members[fault.target]
    with stage.timeline.during(DOWN, member.name):
        member.kill()
        yield f"killed for {fault.seconds:.1f} s"
        _start(member)


@contextmanager
def _kill_and_damage(stage: Stage, fault: Fault) -> Iterator[str]:
    """The same, and something happens to one of its files, perhaps of an unfinished blob."""
    member, chance = stage.members[fault.target], random.Random(fault.chance)
    with stage.timeline.during(DOWN, member.name):
        member.kill()
        yield f"killed; {member.damage(chance.choice(list(DAMAGES)), chance, stopped=True)}"
        _start(member)


@contextmanager
def _kill_and_empty(stage: Stage, fault: Fault) -> Iterator[str]:
    """The same, and its cache is empty afterwards: what its clients read there was not fetched as a whole yet."""
    member = stage.members[fault.target]
    with stage.timeline.during(DOWN, member.name):
        member.kill()
        member.empty_cache()
        yield "killed; its cache is empty"
        _start(member)


@contextmanager
def _stop(stage: Stage, fault: Fault) -> Iterator[str]:
    """The agent, or upstream, stands still."""
    server = stage.registry if fault.target == UPSTREAM else stage.members[fault.target].agent
    with stage.timeline.during(DOWN, fault.target):
        server.send(signal.SIGSTOP)
        try:
            yield f"stands still for {fault.seconds:.1f} s"
        finally:
            server.send(signal.SIGCONT)
        server.until(server.is_ready, "ready", READY_S)


@contextmanager
def _restart(stage: Stage, fault: Fault) -> Iterator[str]:
    member = stage.members[fault.target]
    with stage.timeline.during(DOWN, member.name):
        status = member.agent.stop()
        yield f"stopped with status {status}"
        _start(member)
    _check(status)


@contextmanager
def _lie(stage: Stage, fault: Fault) -> Iterator[str]:
    """The agent starts anew as one that lies, and once more as an honest one."""
    member = stage.members[fault.target]
    with stage.timeline.during(LYING, member.name):
        _restart_as(stage, member, _LIES[fault.kind])
        yield f"lies for {fault.seconds:.1f} s"
        _restart_as(stage, member, "")


def _restart_as(stage: Stage, member: Member, odd: str) -> None:
    with stage.timeline.during(DOWN, member.name):
        status = member.agent.stop()
        member.become(odd)
        _start(member)
    _check(status)


def _check(status: int | None) -> None:
    """Look how an agent ended that was told to; it runs again by now.

    Raises:
        RunError: it did not end as it should.
    """
    if status != 0:
        raise RunError(f"the agent stopped with status {status}")


def _start(member: Member) -> None:
    """Start the agent; one that cannot start with the files that it finds gets an empty cache and is honest.

    Raises:
        RunError: it was not ready in time with the files that it found.
    """
    try:
        member.agent.launch()
        member.agent.until(member.agent.is_ready, "ready", READY_S)
    except RunError:
        member.kill()
        member.empty_cache()
        member.become("")
        member.agent.launch()
        member.agent.until(member.agent.is_ready, "ready", READY_S)
        raise


@contextmanager
def _kill_other(stage: Stage, fault: Fault) -> Iterator[str]:
    """Upstream, or the node's containerd, is gone without a word."""
    is_upstream = fault.target == UPSTREAM
    server = stage.registry if is_upstream else stage.members[fault.target].containerd
    assert server is not None
    with stage.timeline.during(DOWN if is_upstream else BUSY, fault.target):
        server.kill()
        yield f"killed for {fault.seconds:.1f} s"
        server.start()


# Its link, files, clock and content


@contextmanager
def _cut(stage: Stage, fault: Fault) -> Iterator[str]:
    host = stage.upstream if fault.target == UPSTREAM else stage.members[fault.target].host
    with stage.timeline.during(CUT, fault.target):
        host.cut()
        try:
            yield f"cut off for {fault.seconds:.1f} s"
        finally:
            host.rejoin()


@contextmanager
def _loss(stage: Stage, fault: Fault) -> Iterator[str]:
    host, percent = stage.members[fault.target].host, random.Random(fault.chance).choice(_LOSS_PERCENT)
    host.lose(percent)
    try:
        yield f"loses {percent} % for {fault.seconds:.1f} s"
    finally:
        host.lose_nothing()


@contextmanager
def _delay(stage: Stage, fault: Fault) -> Iterator[str]:
    host, bits = stage.members[fault.target].host, random.Random(fault.chance).choice(_THIN_BITS)
    host.delay(bits, _DEEP_MS)
    try:
        yield f"{bits / 1e6:g} Mbit/s behind {_DEEP_MS} ms for {fault.seconds:.1f} s"
    finally:
        host.delay_nothing()


@contextmanager
def _damage(stage: Stage, fault: Fault) -> Iterator[str]:
    yield stage.members[fault.target].damage(fault.kind, random.Random(fault.chance), stopped=False)


@contextmanager
def _fill(stage: Stage, fault: Fault) -> Iterator[str]:
    with stage.timeline.during(FULL, fault.target), stage.members[fault.target].full_disk():
        yield f"no space for {fault.seconds:.1f} s"


@contextmanager
def _clock(stage: Stage, fault: Fault) -> Iterator[str]:
    member, seconds = stage.members[fault.target], random.Random(fault.chance).choice(_CLOCK_JUMPS_S)
    member.move_clock(seconds)
    try:
        yield f"{seconds:+d} s for {fault.seconds:.1f} s"
    finally:
        member.move_clock(0)


@contextmanager
def _damage_containerd(stage: Stage, fault: Fault) -> Iterator[str]:
    digests = stage.library.shared.digests
    yield stage.members[fault.target].damage_containerd(random.Random(fault.chance), digests)


# What upstream answers


@contextmanager
def _limit(stage: Stage, fault: Fault) -> Iterator[str]:
    """Some nodes, at least one, are told that they ask too much."""
    chance, names = random.Random(fault.chance), sorted(stage.members)
    limited = chance.sample(names, chance.randint(1, len(names)))
    with ExitStack() as stack:
        for name in limited:
            stack.enter_context(stage.timeline.during(LIMITED, name))
        stage.answers.limited = set(limited)
        try:
            yield f"{', '.join(limited)} get 429 for {fault.seconds:.1f} s"
        finally:
            stage.answers.limited = set()


@contextmanager
def _drop(stage: Stage, fault: Fault) -> Iterator[str]:
    chance = random.Random(fault.chance)
    every, after = chance.randint(2, 4), chance.choice(_DROP_AFTER_BYTES)
    stage.answers.drop_after, stage.answers.drop_every = after, every
    try:
        yield f"every {every}. answer with a blob ends after {after} bytes, for {fault.seconds:.1f} s"
    finally:
        stage.answers.drop_every = 0


@contextmanager
def _wrong_byte(stage: Stage, fault: Fault) -> Iterator[str]:
    stage.answers.wrong_answers += 1
    yield "its next answer has a wrong byte"


@contextmanager
def _move_tag(stage: Stage, fault: Fault) -> Iterator[str]:
    digest = random.Random(fault.chance).choice(stage.library.moving.possible)
    stage.library.moving.move(digest)  # before the registry says so: a client may hear of it at once
    stage.registry.move(MOVING, "latest", digest)
    yield f"{MOVING}:latest means {digest[:19]}"


ACTS: Final[Mapping[str, Act]] = {
    "kill": _kill,
    "kill and damage": _kill_and_damage,
    "kill and empty": _kill_and_empty,
    "stop": _stop,
    "restart": _restart,
    **dict.fromkeys(_LIES, _lie),
    "cut": _cut,
    "loss": _loss,
    "delay": _delay,
    **dict.fromkeys(DAMAGES, _damage),
    "fill": _fill,
    "clock": _clock,
    "kill containerd": _kill_other,
    "damage containerd": _damage_containerd,
    "kill upstream": _kill_other,
    "stop upstream": _stop,
    "cut upstream": _cut,
    "limit": _limit,
    "drop": _drop,
    "wrong byte": _wrong_byte,
    "move tag": _move_tag,
}
"""By the kind that the schedule names."""
