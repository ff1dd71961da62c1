"""What is fuzzed, each a function of bytes that returns, or raises what nobody documented.

datagrams   a script of packets, raw and well-formed, plain or sealed, of time, pauses and intents
streams     a script of frames, raw and well-formed, into both halves of conversations
files       a snapshot, a key file, or an address as somebody typed it
registry    questions to a registry that answers anything
requests    packets, raw and well-formed, into a connection to an endpoint
heads       heads of requests, in parts of any length: what of them reaches an endpoint
answers     what members answer to questions for a piece
archives    archives of images in which anything was changed
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gossip.core.errors import ConfigError, StateError
from gossip.core.membership.member import PROTOCOL, Address, State
from gossip.core.messages import Done, FilterKind, KeyAction, Record
from gossip.net.keys import load_keys, save_keys
from gossip.net.snapshot_file import load_snapshot, save_snapshot
from gossip.net.sockets import parse_address

from . import grammar
from .archives import TARGETS as ARCHIVES
from .grammar import ADDRESSES, PEERS, Chooser, Script, address_of, pick
from .heads import TARGETS as HEADS
from .registry import registry
from .requests import requests
from .world import KEYS, BrokenRule, Talk, World, small_config

_PASSING_S: Final = (0.0, 0.001, 0.05, 0.3, 1.0, 5.0)
_STEPS_MAX: Final = 200
_MEMORY: Final = "/dev/shm" if os.path.isdir("/dev/shm") else None  # thousands of files a second need no disk


def datagrams(script: bytes) -> None:
    """A node hears packets, lets time pass, and is told to do things."""
    choose = Script(script)
    world = _world(choose)
    for _ in range(_STEPS_MAX):
        if not choose.more:
            break
        step(world, choose)
        world.check()


def _world(choose: Chooser) -> World:
    """A node of a cluster that is sealed or not, and of one kind of filters or the other."""
    seed = choose.below(4)
    filters = FilterKind.EXACT if seed == 3 else FilterKind.BLOOM  # of the seed, for recorded choices go on as they are
    return World(seed, sealed=bool(choose.below(2)), config=small_config(filters))


def step(world: World, choose: Chooser) -> None:
    """One thing happens to a node."""
    match choose.below(16):
        case 0:
            world.pass_time(pick(choose, _PASSING_S))
        case 1:
            world.pause(pick(choose, _PASSING_S) * 4)
        case 2:
            intend(world, choose)
        case 3:
            world.receive(choose.octets(choose.below(1500)), pick(choose, ADDRESSES))
        case 4 | 5:
            body = choose.octets(choose.below(300))
            world.receive(world.wrap(b"\0" + body, choose.below(3)), pick(choose, ADDRESSES))
        case _:
            hear(world, choose)


def hear(world: World, choose: Chooser) -> None:
    """A well-formed packet arrives, mostly from where its sender is."""
    messages = [grammar.message(choose, tuple(world.asked)) for _ in range(choose.below(5))]
    if messages and not choose.below(8):
        messages *= 1 + choose.below(200)
    sender = grammar.name(choose)
    source = address_of(sender) if choose.below(4) else pick(choose, ADDRESSES)
    world.receive(
        world.wrap(grammar.packet(choose, messages, world.node.view.fingerprint, sender), choose.below(3)), source
    )


def intend(world: World, choose: Chooser) -> None:  # noqa: C901 -- a case for each intent
    """The application, or the operator, wants something."""
    node, now, name = world.node, world.now, grammar.name(choose)
    held = [bytes((number, 7)) * 4 for number in range(choose.below(200))]
    try:
        match choose.below(12):
            case 0:
                node.join([pick(choose, ADDRESSES)], now)
            case 1:
                node.update(grammar.octets(choose, 513), now)
            case 2 | 3:
                node.advertise(held, now)
            case 4:
                node.withdraw(held, now)
            case 5:
                node.messaging.ping(name, now)
            case 6:
                node.messaging.send(name, grammar.octets(choose, 1500))
            case 7:
                node.messaging.broadcast(grammar.octets(choose, 513), now)
            case 8:
                node.note_late_loop()
            case 9:
                keys = (KEYS[0], KEYS[1], node.view.keyring.primary, b"")
                node.keys.change(pick(choose, (KeyAction.LIST, KeyAction.INSTALL, KeyAction.USE)), pick(choose, keys))
            case 10 if not choose.below(16):
                world.leave()
            case _:
                for talk in world.dialled():
                    talk.close()
    except (ConfigError, StateError):
        pass
    world.after_intent()


def streams(script: bytes) -> None:
    """Somebody speaks on streams that the node answers, or that it opened."""
    choose = Script(script)
    world = _world(choose)
    known = [Record(peer, 1, 0, State.ALIVE, address_of(peer), b"", PROTOCOL) for peer in PEERS[: choose.below(4)]]
    world.node.full_state.merge(known, world.now, stranger=False)
    world.introduce_peers()
    for _ in range(_STEPS_MAX):
        if not choose.more:
            break
        for talk in open_talks(world, choose):
            converse(world, choose, talk)
            world.check()


def open_talks(world: World, choose: Chooser) -> list[Talk]:
    """Conversations that somebody begins."""
    run, name = choose.below(3), pick(choose, PEERS[:3])
    try:
        match choose.below(6):
            case 0:
                world.node.join([pick(choose, ADDRESSES)], world.now)
                return world.dialled(run)
            case 1:
                world.pass_time(5.0)
                return world.dialled(run)
            case 2:
                return [world.talk(world.node.messaging.send_reliably(name, b"hello"), run)]
            case 3:
                return [world.talk(world.node.order_keys(name, KeyAction.LIST), run)]
    except (ConfigError, StateError):
        pass
    return [world.answer(run)]


def converse(world: World, choose: Chooser, talk: Talk) -> None:
    """Frames, and what is none, until somebody hangs up."""
    talk.hear()
    if choose.below(16):
        talk.greet()
    sender = grammar.name(choose)
    for _ in range(choose.below(12)):
        talk.hear()
        match choose.below(8):
            case 0:
                talk.feed(choose.octets(choose.below(300)))
            case 1:
                talk.say(b"\0" + choose.octets(choose.below(300)))
            case _:
                said = [grammar.stream_message(choose, tuple(world.asked)) for _ in range(choose.below(4))]
                said += [Done()] * (choose.below(3) > 0)
                talk.say(grammar.packet(choose, said, world.node.view.fingerprint, sender))
    talk.hear()
    talk.close()


def files(script: bytes) -> None:
    """Read what somebody wrote by hand, or a crash left over."""
    kind, text = script[:1], script[1:]
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        path = Path(folder, "file")
        path.touch(mode=0o600)
        path.write_bytes(text)
        try:
            match kind[0] % 3 if kind else 0:
                case 0:
                    snapshot = load_snapshot(path)
                    save_snapshot(path, snapshot.epoch, snapshot.addresses)
                    _hold(load_snapshot(path) == snapshot, "a snapshot is not read as it was written")
                case 1:
                    keys = load_keys(path)
                    save_keys(path, keys)
                    _hold(load_keys(path) == keys, "keys are not read as they were written")
                case _:
                    host, port = parse_address(text.decode("utf-8", "replace"))
                    _hold(parse_address(str(Address(host, port))) == (host, port), "an address is read in two ways")
        except ConfigError as error:
            _hold("\n" not in str(error), "an error is more than one line")


def _hold(rule: bool, what: str) -> None:
    if not rule:
        raise BrokenRule(what)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "datagrams": datagrams,
    "streams": streams,
    "files": files,
    "registry": registry,
    "requests": requests,
    **HEADS,
    **ARCHIVES,
}
