"""`python -m bench lab pins`: pinned images, two nodes that die for good, and no line to upstream."""

import json
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from testbed.agents import Agent, Endpoints, skvaller
from testbed.images import build_image
from testbed.network import Address, Host, Network, remove_orphans
from testbed.processes import in_namespace, wait_until
from testbed.registry import Registry

from ..machine import need, need_root, workplace
from ..report import Cell, Goal, Report, Table

NODES: Final = 5
DEAD: Final = 2
COPIES: Final = 2
_REPAIR_MOST_S: Final = 60.0
"""How long repair may take beside the time of the bytes, s."""
_WAIT_S: Final = 240.0
"""Bounds the wait for copies, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is to be run.

    Args:
        images: that are pinned.
        image: size of each, bytes.
        link: of each node, bits per second.
        folder: for all files; None for the machine's temporary one.
    """

    images: int
    image: int
    link: int
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What `skvaller verify` said at one moment.

    Args:
        when: in a few words.
        whole: images of which every byte is there.
        enough: images with the copies that are wanted.
        needed: images that one more death would break.
        status: its exit status.
        seconds: how long it took.
    """

    when: str
    whole: int
    enough: int
    needed: int
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Repair:
    """What came after a death.

    Args:
        seconds: from the death until all copies were there again.
        missing_bytes: that were to come, at most.
        moved: bytes that the others received meanwhile.
    """

    seconds: float
    missing_bytes: int
    moved: int

    def beside_bytes_s(self, link: int) -> float:
        """The time that does not follow from the bytes, s, if one link of so many bits per second carried them."""
        return self.seconds - 8 * self.missing_bytes / link


def measure(console: Console, settings: Settings) -> Report:
    """Run it all."""
    need_root("lab pins")
    need(tc="iproute2", nft="nftables", docker_registry="docker-registry", skopeo="skopeo", setpriv="util-linux")
    remove_orphans()
    needed_bytes = settings.image * settings.images * (2 + NODES)
    with workplace(settings.folder, needed_bytes) as place, ExitStack() as stack:
        network = Network(stack)
        hosts = [network.host(f"node{number}", settings.link) for number in range(1, NODES + 1)]
        outside = network.host("outside")
        names = _upstream(outside, place, settings, stack)
        agents = [_agent(host, hosts[0], outside, place, stack) for host in hosts]
        for agent in agents:
            agent.launch()
            stack.callback(agent.kill)
        for agent in agents:
            agent.until(agent.is_ready, "ready")
        first, last = agents[0], agents[-1]
        wait_until(lambda: len(first.homes()) == NODES, "all nodes to have settled", within_s=_WAIT_S)
        console.print(f"{settings.images} images are pinned", highlight=False)
        began_at = time.monotonic()
        status, answer = _told(first, "pin", *names, "--copies", str(COPIES), "--wait", "--timeout", str(int(_WAIT_S)))
        kept_s = time.monotonic() - began_at
        if status:
            raise SystemExit(f"the images were not pinned: {answer}")
        console.print(f"all copies are there after {kept_s:.0f} s", highlight=False)
        found = [_verified("pinned", last)]
        outside.cut()
        repairs = []
        for number, agent in enumerate(agents[:DEAD], 1):
            console.print(f"{agent.name} dies, and upstream is cut", highlight=False)
            before = network.traffic()
            agent.kill()
            died_at = time.monotonic()
            found.append(_verified(f"{number} dead", last))
            seconds, missing_bytes = _until_repaired(last, died_at, NODES - number)
            moved = sum((network.traffic()[host.name] - before[host.name]).received for host in hosts[number:])
            console.print(f"all copies are there again after {seconds:.0f} s", highlight=False)
            repairs.append(Repair(seconds, missing_bytes, moved))
            found.append(_verified(f"{number} dead, repaired", last))
        found.append(_verified("then, on disk", last, "--deep"))
        return _report(settings, found, kept_s, repairs)


def _upstream(outside: Host, place: Path, settings: Settings, stack: ExitStack) -> Sequence[str]:
    """A registry with all images; return their names."""
    registry = stack.enter_context(
        Registry(place / "registry", Address(outside.address, 5000), netns=outside.netns, access_log=False)
    )
    names = []
    for number in range(settings.images):
        name = f"lab/app{number}"
        image = build_image(place, f"docker.io/{name}:1", [settings.image], seed=secrets.randbits(64))
        registry.push(image, name, "1")
        names.append(f"{name}:1")
    return names


def _agent(host: Host, first: Host, outside: Host, place: Path, stack: ExitStack) -> Agent:
    flags = ["--upstream", f"docker.io=http://{outside.address}:5000"]
    if host is not first:
        flags += ["--join", first.address]
    return Agent(place / host.name, host.name, Endpoints.at(host.address, "127.0.0.1"), flags, netns=host.netns)


def _told(agent: Agent, *arguments: str) -> tuple[int, Any]:
    """What a command says about an agent, on its node: exit status, and its JSON."""
    command = in_namespace(agent.netns, skvaller(*arguments, "--json", SKVALLER_AGENT=agent.url))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=2 * _WAIT_S, check=False)
    try:
        return ended.returncode, json.loads(ended.stdout)
    except ValueError:
        return ended.returncode, ended.stderr


def _verified(when: str, agent: Agent, *flags: str) -> Verified:
    began_at = time.monotonic()
    status, answer = _told(agent, "verify", *flags)
    seconds = time.monotonic() - began_at
    rows = answer["images"]
    return Verified(
        when,
        sum(row["whole"] for row in rows),
        sum(row["enough"] for row in rows),
        sum(bool(row["needed_members"]) for row in rows),
        status,
        seconds,
    )


def _until_repaired(agent: Agent, died_at: float, left: int) -> tuple[float, int]:
    """How long it took until as many nodes as are left had all copies, s, and the most bytes that were to come."""
    most = 0

    def is_repaired() -> bool:
        nonlocal most
        _, answer = _told(agent, "pins")
        most = max(most, sum(row["bytes_to_go"] for row in answer["pins"]))
        is_known = len(answer["keepers"]) == left
        return is_known and not any(row["missing"] for row in answer["pins"])

    wait_until(is_repaired, "all copies to be there again", within_s=_WAIT_S)
    return time.monotonic() - died_at, most


def _report(settings: Settings, found: Sequence[Verified], kept_s: float, repairs: Sequence[Repair]) -> Report:
    title = (
        f"{settings.images} images of {settings.image / 2**20:g} MiB on {NODES} nodes of {settings.link / 1e6:g} "
        f"Mbit/s, {COPIES} copies each; {DEAD} nodes die, and there is no upstream"
    )
    rows: list[Mapping[str, Cell]] = [dict(asdict(each)) for each in found]
    figures = {"whole": ("whole", ".0f"), "enough": ("with all copies", ".0f")}
    figures |= {"needed": ("one death from loss", ".0f"), "status": ("exit status", ".0f"), "seconds": ("s", ".1f")}
    verified = Table.of(title, {"when": "verify, when"}, figures, rows)
    times: list[Mapping[str, Cell]] = [{"what": "pinned, until all copies were there", "seconds": kept_s}]
    times += [
        {
            "what": f"death {number}, until all copies were there",
            "seconds": each.seconds,
            "missing": float(each.missing_bytes),
            "moved": float(each.moved),
        }
        for number, each in enumerate(repairs, 1)
    ]
    columns = {"seconds": ("s", ".1f"), "missing": ("bytes missing", ",.0f"), "moved": ("bytes received", ",.0f")}
    took = Table.of("Copies", {"what": "what"}, columns, times)
    images = float(settings.images)
    goals = [
        Goal("images that are whole, whenever looked at", images, float(min(each.whole for each in found))),
        Goal("images with all copies in the end, as hashed on disk", images, float(found[-1].enough)),
        Goal(
            "s until repaired, beside the time of the bytes",
            _REPAIR_MOST_S,
            max(each.beside_bytes_s(settings.link) for each in repairs),
            most=True,
        ),
    ]
    details = {
        "settings": {**asdict(settings), "folder": None},
        "kept_s": kept_s,
        "repairs": [asdict(each) for each in repairs],
    }
    return Report("lab pins", [verified, took], goals, details)
