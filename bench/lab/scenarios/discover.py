"""One node has some content: when do the others find it, how long does a look take, how long is a dead one named?"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from testbed.images import Image
from testbed.network import Host

from ..asking import Asker
from ..clients import Client, Crowd
from ..finding import Finder, Look, blob_path
from ..scene import Outcome, Scene
from ..turns import AT_LEAST, bounded, last_named, spread, turns, until
from .scenario import Needs, Scenario

_CONTENT_BYTES: Final = 64 * 1024
_CONTENTS: Final = 16
"""Contents whose way to the other nodes is timed; the nodes take turns in bringing them."""

_LOOKUPS: Final = 200
"""Questions for one content, or for contents that nobody has."""

_FOUND_WITHIN_S: Final = 15.0
_PULL_AFTER_S: Final = 0.3
"""When a client asks for content of a holder that has just gone, seconds: nobody has noticed by then."""

_BRISK_S: Final = 0.5
_BRISK_LOOKS: Final = 6
_PATIENT_S: Final = 3.0
"""How long a question for content of a holder that is gone is waited for, seconds: the next one may see it gone.

The first ones are brisk, which is what the time is exact to. An agent goes on asking the holder for up to 10 s, and has
no more than 8 such questions under way, so those that follow are patient.
"""

_FORGOTTEN_S: Final = 6.0
"""How long a holder that is gone has to stay unnamed, seconds. Spegel keeps what it has looked up for 5 s."""

_SOON_MS: Final = (10, 20, 100)


@dataclass(frozen=True, slots=True)
class Timed:
    """What a part of the scenario found.

    Args:
        figures: by name.
        times_ms: all times behind a figure, milliseconds, by name.
    """

    figures: Mapping[str, float]
    times_ms: Mapping[str, Sequence[float]]


def _discover(scene: Scene, crowd: Crowd) -> Outcome:
    with ExitStack() as stack:
        held = {name: scene.image(name, [_CONTENT_BYTES]) for name in ("first", "after-kill", "after-vanish")}
        figures = dict(_alone(scene, list(held.values())))
        times_ms: dict[str, Sequence[float]] = {}
        finders = {node.name: stack.enter_context(scene.mode.finder(node)) for node in scene.nodes}
        if len(scene.nodes) > 1:
            figures |= _joining(scene, finders, held["first"])
            for part in (_present(scene, finders), _lookups(scene, held["first"])):
                figures |= part.figures
                times_ms |= part.times_ms
            figures |= _killed(scene, finders, held)
            if f"restart_found_s{AT_LEAST}" not in figures:
                figures |= _vanished(scene, finders, held)
        for part in (_misses(scene), _misses_without_upstream(scene)):
            figures |= part.figures
            times_ms |= part.times_ms
    return Outcome([], figures=figures, times_ms=times_ms)


# Starting


def _alone(scene: Scene, held: Sequence[Image]) -> Mapping[str, float]:
    """The first node is alone, and pulls what nobody else is to have."""
    first = scene.nodes[0]
    began_at = time.monotonic()
    scene.launch(first)
    ready = until(lambda: scene.mode.is_ready(first), scene.watch_s)
    figures = bounded("ready_alone_s", time.monotonic() - began_at, scene.watch_s, reached=ready)
    scene.start([first])
    for image in held:
        _pull(scene.client(first, image), scene)
    return figures


def _joining(scene: Scene, finders: Mapping[str, Finder], image: Image) -> Mapping[str, float]:
    """The second node joins the first, and then all the others at once join these."""
    first, second, *others = scene.nodes

    def launch() -> float:
        began_at = time.monotonic()
        scene.launch(second)
        return began_at

    began_at, seen = turns(_looks(finders, [second], image, first), _found, scene.watch_s, launch)
    figures = _last("join_s", began_at, seen, 1, scene.watch_s)
    if not others:
        scene.start([first, second])
        return figures

    def launch_others() -> float:
        began_at = time.monotonic()
        for other in others:
            scene.launch(other)
        return began_at

    looks = _looks(finders, scene.nodes[1:], image, first)
    began_at, seen = turns(looks, _found, scene.watch_s, launch_others)
    scene.start(scene.nodes)
    together = {"together_s": time.monotonic() - began_at}
    return {**figures, **_last("others_find_s", began_at, seen, len(looks), scene.watch_s), **together}


# Finding


def _present(scene: Scene, finders: Mapping[str, Finder]) -> Timed:
    """From the end of a pull, when a node has some content, to the first question of each other node that finds it."""
    taken_s: list[float] = []
    asking_s: list[float] = []
    missing = 0
    for number in range(_CONTENTS):
        holder = scene.nodes[number % len(scene.nodes)]
        image = scene.image(f"content-{number}", [_CONTENT_BYTES])
        client = scene.client(holder, image)
        others = [node for node in scene.nodes if node != holder]
        present_at, seen = turns(
            _looks(finders, others, image, holder),
            _found,
            _FOUND_WITHIN_S,
            partial(_pull, client, scene),
        )
        taken_s += [max(0.0, look.answer.asked_at - present_at) for look in seen.values()]
        asking_s += [look.answer.seconds for look in seen.values()]
        missing += len(others) - len(seen)
    total = len(taken_s) + missing
    soon = {f"found_within_{ms}_ms_percent": 100 * sum(s * 1000 <= ms for s in taken_s) / total for ms in _SOON_MS}
    found = spread("found", [*taken_s, *[_FOUND_WITHIN_S] * missing])
    open_ended = {f"{name}{AT_LEAST}": 1.0 for name, ms in found.items() if ms >= 1000 * _FOUND_WITHIN_S}
    figures = {**found, **open_ended, **soon, "found_never": float(missing), **spread("find", asking_s)}
    times_s = {"found_ms": taken_s, "find_ms": asking_s}
    return Timed(figures, {name: [1000 * seconds for seconds in times] for name, times in times_s.items()})


def _lookups(scene: Scene, image: Image) -> Timed:
    """A client asks for the head of what another node holds; each of the nodes that do not hold it takes its turn."""
    return _ask(scene, "hit", scene.nodes[1:], lambda: image.layers[0], 200)


def _misses(scene: Scene) -> Timed:
    """A client asks for the head of what nobody has, and upstream itself where what it asks does not."""
    upstream = None if scene.mode.asks_upstream else str(scene.mode.site.upstream_address)
    return _ask(scene, "miss", scene.nodes, lambda: f"sha256:{secrets.token_hex(32)}", 404, then=upstream)


def _misses_without_upstream(scene: Scene) -> Timed:
    """The same when upstream refuses connections; any answer counts but a success."""
    scene.upstream.kill()
    return _ask(scene, "miss_without_upstream", scene.nodes, lambda: f"sha256:{secrets.token_hex(32)}", None)


def _ask(
    scene: Scene,
    name: str,
    nodes: Sequence[Host],
    digest: Callable[[], str],
    expected: int | None,
    then: str | None = None,
) -> Timed:
    """Ask for heads, and time the answers.

    Args:
        scene: of the run.
        name: of the figures.
        nodes: on which clients ask, in turn.
        digest: of which content.
        expected: the status of the right answer; None for any error.
        then: HOST:PORT of whom a client asks next, whose answer then is the one that counts; None for nobody.
    """
    with ExitStack() as stack:
        asked = {node.name: [scene.mode.asked(node), *([then] if then else [])] for node in nodes}
        askers = [[Asker(node, address) for address in asked[node.name]] for node in nodes]
        for asker in chain.from_iterable(askers):
            stack.callback(asker.close)
        answers = []
        for number in range(_LOOKUPS):
            path = blob_path(digest())
            answers.append([asker.ask("HEAD", path) for asker in askers[number % len(askers)]])
    right = [it for it in answers if it[-1].status == expected or (expected is None and it[-1].status >= 400)]
    taken_s = [sum(answer.seconds for answer in each) for each in right]
    figures = {**spread(name, taken_s), f"{name}_wrong": float(_LOOKUPS - len(right))}
    return Timed(figures, {f"{name}_ms": [1000 * seconds for seconds in taken_s]})


# Losing


def _killed(scene: Scene, finders: Mapping[str, Finder], held: Mapping[str, Image]) -> Mapping[str, float]:
    """SIGKILL for the process of the only holder, which is started again afterwards."""
    holder = scene.nodes[0]

    def kill() -> float:
        scene.mode.kill(holder.name)
        return time.monotonic()

    figures = _gone(scene, held, "kill", kill)

    def launch() -> float:
        began_at = time.monotonic()
        scene.launch(holder)
        return began_at

    looks = _looks(finders, scene.nodes[1:], held["first"], holder)
    began_at, seen = turns(looks, _found, scene.watch_s, launch)
    return {**figures, **_last("restart_found_s", began_at, seen, len(looks), scene.watch_s)}


def _vanished(scene: Scene, finders: Mapping[str, Finder], held: Mapping[str, Image]) -> Mapping[str, float]:
    """The host of the only holder vanishes, and comes back afterwards."""
    holder = scene.nodes[0]
    with holder.away():
        figures = _gone(scene, held, "vanish", time.monotonic)
    looks = _looks(finders, scene.nodes[1:], held["first"], holder)
    began_at, seen = turns(looks, _found, scene.watch_s)
    return {**figures, **_last("return_found_s", began_at, seen, len(looks), scene.watch_s)}


def _gone(scene: Scene, held: Mapping[str, Image], how: str, begin: Callable[[], float]) -> Mapping[str, float]:
    """How long the others name a holder that has gone, and how long a pull takes that comes right after."""
    holder, asking = scene.nodes[:2]
    client = scene.client(asking, held[f"after-{how}"])
    pulling = threading.Timer(_PULL_AFTER_S, client.go)

    def begin_and_pull() -> float:
        gone_at = begin()
        pulling.start()
        return gone_at

    with ExitStack() as stack:
        digest = held["first"].layers[0]
        looks = {
            node.name: _brisk(
                stack.enter_context(scene.mode.finder(node, _BRISK_S)),
                stack.enter_context(scene.mode.finder(node, _PATIENT_S)),
                partial(_look, digest, holder),
            )
            for node in scene.nodes[1:]
        }
        gone_at, last_at = last_named(looks, _FORGOTTEN_S, scene.watch_s, begin_and_pull)
    pulling.join()
    scene.finish([client], allow_errors=True)
    offered_s = 0.0 if last_at is None else last_at - gone_at
    figures = bounded(f"offered_{how}_s", offered_s, scene.watch_s, reached=last_at is not None)
    pull = client.pull
    assert pull is not None
    return {**figures, f"pull_after_{how}_s": pull.seconds, f"pull_after_{how}_errors": float(len(pull.errors))}


def _brisk(brisk: Finder, patient: Finder, ask: Callable[[Finder], Look]) -> Callable[[], Look]:
    """A question that is not waited for long until so many had no answer."""
    left = _BRISK_LOOKS

    def look() -> Look:
        nonlocal left
        seen = ask(brisk if left else patient)
        if left and not seen.answered:
            left -= 1
        return seen

    return look


# What all of them need


def _looks(
    finders: Mapping[str, Finder], nodes: Sequence[Host], image: Image, holder: Host
) -> Mapping[str, Callable[[], Look]]:
    """The question of each node for an image's layer."""
    return {node.name: partial(_look, image.layers[0], holder, finders[node.name]) for node in nodes}


def _look(digest: str, holder: Host, finder: Finder) -> Look:
    return finder.look(digest, holder.name)


def _found(look: Look) -> bool:
    return look.found


def _pull(client: Client, scene: Scene) -> float:
    """Let a client pull; return the monotonic time when it had everything."""
    client.go()
    scene.finish([client])
    assert client.pull is not None
    return client.pull.finished_at


def _last(name: str, began_at: float, seen: Mapping[str, Look], wanted: int, within_s: float) -> Mapping[str, float]:
    """From the beginning to the last node's answer."""
    last = max((look.answer.answered_at - began_at for look in seen.values()), default=0.0)
    return bounded(name, last, within_s, reached=len(seen) == wanted)


DISCOVER: Final = Scenario(
    "discover", "who finds what, and when", _discover, starts=True, pulls=False, needs=Needs.DISCOVERY
)
