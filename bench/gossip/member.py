"""One node of gossip as a process of its own: it prints what it sees in lines, and does what lines of input ask.

prints: up | joined NAME | suspected NAME | recovered NAME | failed NAME | left NAME | holds KEY
reads:  advertise KEY | watch KEY | leave
"""

import argparse
import asyncio
import signal
import sys

import uvloop

import gossip
from gossip import Gossip, Listen

PROFILES = {"lan": gossip.lan, "fast": gossip.fast, "wan": gossip.wan, "local": gossip.local}
_WORDS = {
    gossip.MemberJoined: "joined",
    gossip.MemberSuspected: "suspected",
    gossip.MemberRecovered: "recovered",
    gossip.MemberFailed: "failed",
    gossip.MemberLeft: "left",
}


def main() -> None:
    """Take part until the line `leave`, or until the end of input."""
    parser = argparse.ArgumentParser(prog="python -m bench.gossip.member", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("host", help="IP address to listen on")
    parser.add_argument("--seed", action="append", default=[])
    parser.add_argument("--profile", choices=PROFILES, default="lan")
    parser.add_argument("--key", type=bytes.fromhex, action="append", default=[], help="64 hex digits: sealed with it")
    uvloop.run(_take_part(parser.parse_args()))


async def _take_part(arguments: argparse.Namespace) -> None:
    config = PROFILES[arguments.profile]()
    node = Gossip(arguments.name, config, listen=Listen(arguments.host, 7946), seeds=arguments.seed, keys=arguments.key)
    watched: set[bytes] = set()
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with node:
        loop.add_signal_handler(signal.SIGTERM, orders.feed_eof)
        watcher = asyncio.create_task(_watch(node, watched))
        _say("up")
        while line := await orders.readline():
            word, *rest = line.split()
            if word == b"leave":
                await node.leave()
                break
            key = bytes.fromhex(rest[0].decode())
            if word == b"advertise":
                node.advertise([key])
            else:
                watched.add(key)
                _look(node, watched)
        watcher.cancel()


async def _watch(node: Gossip, watched: set[bytes]) -> None:
    async for event in node.events():
        word = _WORDS.get(type(event))
        if word is not None:
            _say(f"{word} {event.member.name}")  # type: ignore[union-attr]
        elif watched:
            _look(node, watched)


def _look(node: Gossip, watched: set[bytes]) -> None:
    for key in [key for key in watched if node.view.holders(key)]:
        watched.discard(key)
        _say(f"holds {key.hex()}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
