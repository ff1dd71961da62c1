"""`python -m bench lab chaos`: the cluster is made, everything happens to it, it heals, and is asked for everything."""

import base64
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console

from testbed.clock import clocks_move
from testbed.faulty import FaultyUpstream
from testbed.network import Address, Network, remove_orphans
from testbed.nodes import CONTAINERD_NAMESPACE
from testbed.processes import missing, remove_folder, wait_until

from ...machine import need, need_root, workplace
from ...report import MIB, Report
from ..servers import REGISTRY_PORT, keep_logs, registry_on
from . import tables
from .acts import Stage
from .askers import Askers
from .director import Director
from .ending import ask_all, compare, heal, sees
from .ledger import Ledger
from .library import Library
from .member import Member
from .schedule import UPSTREAM, Traits, draw, lanes_of
from .settings import TIGHT_DISK_BYTES, TOGETHER_S, Settings
from .timeline import Timeline
from .verdict import Judge
from .watch import Watch

_NODE_DISK_BYTES: Final = 300 * MIB
_EVENTS: Final = "events.jsonl"


def measure(console: Console, settings: Settings) -> Report:
    """Run it. Logs are kept where something was wrong, or where somebody wants them."""
    need_root("lab chaos")
    need(tc="iproute2", nft="nftables", setpriv="util-linux", docker_registry="docker-registry")
    remove_orphans()
    needed_bytes = settings.nodes * _NODE_DISK_BYTES + 2 * TIGHT_DISK_BYTES
    with workplace(settings.folder, needed_bytes) as place, console.status("making the cluster") as status:
        found: Report | None = None
        try:
            found = Chaos(settings, place).run(status.update)
            return found
        finally:
            wrong = found is None or not all(goal.reached for goal in found.goals)
            if settings.keep_logs is not None or wrong:
                kept = settings.keep_logs or Path(tempfile.mkdtemp(prefix=f"chaos-{settings.seed}-"))
                keep_logs(place, kept)
                shutil.copyfile(place / _EVENTS, kept / _EVENTS)
                console.print(f"Logs are in {kept}; to run it again: {settings.command}", highlight=False)


class Chaos:
    """One run.

    Args:
        settings: what is to be run.
        place: folder for its files.
    """

    def __init__(self, settings: Settings, place: Path) -> None:
        self._settings = settings
        self._place = place
        images = place / "images"
        images.mkdir()
        self._library = Library(images, settings.seed)
        self._timeline = Timeline()
        self._ledger = Ledger(place / _EVENTS)
        self._members: list[Member] = []

    def run(self, say: Callable[[str], None]) -> Report:
        """All of it."""
        with ExitStack() as stack:
            stack.callback(self._ledger.close)
            stage = self._build(stack)
            wanted = self._settings
            schedule = draw(wanted.seed, lanes_of(self._traits()), wanted.seconds, wanted.without)
            judge = Judge(stage.members, self._timeline, stage.answers.wrongs)
            askers = Askers(self._library, judge, self._timeline, self._ledger, self._settings.seed)
            self._start(stack)
            self._timeline.started_at = time.monotonic()
            with Director(schedule, stage, self._ledger) as director:
                with Watch(self._members, self._timeline, self._ledger) as watch:
                    self._play(askers, director, say)
                for member in self._members:
                    member.kill()
            served = sum(stage.answers.served.values())
            return tables.report(self._settings, self._library, self._members, self._ledger, watch, served)

    def _play(self, askers: Askers, director: Director, say: Callable[[str], None]) -> None:
        """Chaos, and the end, when all has healed."""
        with ExitStack() as asking:
            askers.start(self._members, asking)
            say(f"chaos for {self._settings.seconds:g} s")
            director.until_over()
        say("healing")
        heal(self._members, self._timeline, self._ledger)
        say("asking each node for everything")
        ask_all(self._members, askers)
        compare(self._members, self._timeline, self._ledger)

    def _traits(self) -> dict[str, Traits]:
        """What each node is made of: of what there are few, the first nodes get some."""
        containerd = not missing("containerd", "ctr")
        return {
            f"node{number}": Traits(
                tight=number % 2 == 0,
                bare=number % 4 == 3 and self._settings.seed % 2 == 1,
                containerd=containerd and number % 3 == 1,
                clock=clocks_move() and number % 3 == 2,
            )
            for number in range(1, self._settings.nodes + 1)
        }

    def _build(self, stack: ExitStack) -> Stage:
        """Upstream, which runs, and the nodes, which do not run yet."""
        network = Network(stack)
        host = network.host(UPSTREAM)
        nodes = {name: network.host(name) for name in self._traits()}
        registry = registry_on(host, self._place / UPSTREAM)
        self._library.fill(registry)
        stack.enter_context(registry)
        answers = FaultyUpstream(Address(host.address, REGISTRY_PORT), list(nodes), host=host.address, netns=host.netns)
        stack.enter_context(answers.running())
        first = next(iter(nodes.values()))
        for name, traits in self._traits().items():
            flags = ["--advertise", nodes[name].address, "--upstream", f"docker.io={answers.urls[name]}"]
            flags += ["--join", first.address] if nodes[name] != first else []
            flags += self._key_flags()
            member = Member(nodes[name], self._place / name, traits, flags, self._library.evil.manifest)
            self._members.append(member)
            stack.callback(remove_folder, self._place / name / "c")
        members = {member.name: member for member in self._members}
        return Stage(members, host, registry, answers, self._library, self._timeline)

    def _key_flags(self) -> Sequence[str]:
        if not self._settings.key:
            return []
        file = self._place / "key"
        if not file.exists():
            file.touch(0o600)
            file.write_bytes(base64.b64encode(random.Random(self._settings.seed).randbytes(32)) + b"\n")
        return ["--key-file", str(file)]

    def _start(self, stack: ExitStack) -> None:
        names = {member.name for member in self._members}
        for member in self._members:
            member.start(stack)
        for member in self._members:
            wait_until(lambda each=member: sees(each) == names, f"{member.name} to see all others", TOGETHER_S)  # type: ignore[misc]
            if member.containerd is not None:
                member.containerd.import_image(self._library.shared, namespace=CONTAINERD_NAMESPACE)
