"""A node of the run: its agent, which may lie, its disk, its clock, and its containerd."""

import errno
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from testbed.agents import CLIENT_PORT, GOSSIP_PORT, PEER_PORT, Agent, Endpoints, odd
from testbed.clock import Clock
from testbed.containerd import Containerd, write_hosts
from testbed.network import Address, Host
from testbed.nodes import CONTAINERD_NAMESPACE
from testbed.processes import run

from .damage import DAMAGES
from .schedule import Traits
from .settings import ROOMY_CACHE_BYTES, TIGHT_CACHE_BYTES, TIGHT_DISK_BYTES


class Member:
    """A node.

    Args:
        host: where it runs.
        folder: for its files; made here.
        traits: what it is made of.
        flags: of its agent, beside those that follow from the traits.
        tag: the digest that its agent names when it lies about tags.
    """

    def __init__(self, host: Host, folder: Path, traits: Traits, flags: Sequence[str], tag: str) -> None:
        folder.mkdir()
        self.host = host
        self.name = host.name
        self.traits = traits
        self.damaged: set[str] = set()
        """Hex digests of the blobs that something has happened to."""
        self._folder = folder
        self._flags = list(flags)
        self._tag = tag
        self._clock = Clock(folder) if traits.clock else None
        self.containerd = Containerd(folder / "c", host.netns) if traits.containerd else None
        if self.containerd is not None:
            write_hosts(folder / "hosts", f"http://127.0.0.1:{CLIENT_PORT}")
            self._flags += ["--containerd", str(self.containerd.socket)]
            self._flags += ["--containerd-namespace", CONTAINERD_NAMESPACE]
        cache_bytes = 0 if traits.bare else TIGHT_CACHE_BYTES if traits.tight else ROOMY_CACHE_BYTES
        self._flags += ["--cache-size", str(cache_bytes)]
        self.agent = self._agent("")
        self.cache.mkdir(parents=True)

    @property
    def cache(self) -> Path:
        """The folder of its agent's cache."""
        return self._folder / "agent" / "cache"

    @property
    def hosts_dir(self) -> Path:
        """The folder that sends a container runtime to the agent."""
        return self._folder / "hosts"

    def start(self, stack: ExitStack) -> None:
        """Mount its disk, start its containerd, and launch its agent; all ends with the stack."""
        if self.traits.tight:
            run(["mount", "-t", "tmpfs", "-o", f"size={TIGHT_DISK_BYTES},mode=0700", "chaos", str(self.cache)])
            stack.callback(run, ["umount", "--lazy", str(self.cache)])
        if self.containerd is not None:
            stack.enter_context(self.containerd)
        stack.callback(self.kill)
        self.agent.launch()

    def kill(self) -> None:
        """Kill its agent."""
        self.agent.kill()

    def become(self, fault: str) -> None:
        """Let the agent, which does not run now, have a fault when it starts again; `odd_agent.py` lists them."""
        self.agent = self._agent(fault.format(tag=self._tag))

    def empty_cache(self) -> None:
        """Delete all files of the cache of an agent that does not run."""
        self.damaged |= self.blobs()
        for path in sorted(self.cache.rglob("*"), reverse=True):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()

    def move_clock(self, seconds: int) -> None:
        """Let the agent's clock be wrong from now on."""
        assert self._clock is not None
        self._clock.be_wrong_by(seconds)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave no space on its disk inside of `with`."""
        filler = self.cache / "filler"
        try:
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1024 * 1024))
            yield
        finally:
            filler.unlink(missing_ok=True)

    def holds(self, hex_digest: str, body: bytes, since: float) -> bool:
        """Whether it has had the right bytes of some content since a time, Unix time in seconds."""
        places = [self.cache / "blobs/sha256" / hex_digest[:2] / hex_digest]
        if self.containerd is not None:
            places.append(self.containerd.blob_path(f"sha256:{hex_digest}"))
        for place in places:
            with suppress(OSError):
                if place.stat().st_ctime <= since and place.read_bytes() == body:
                    return True
        return False

    def blobs(self) -> set[str]:
        """Hex digests of the complete blobs in its cache."""
        return {Path(path).name for path in (self.cache / "blobs/sha256").glob("??/*") if not path.name.startswith(".")}

    def damage(self, kind: str, chance: random.Random, *, stopped: bool) -> str:
        """Let something happen to one of the files of the cache, or to what the agent knew of members; return what.

        Args:
            kind: of damage.
            chance: chooses the file.
            stopped: whether the agent does not run. If it does, files that it is writing are left alone: no disk
                changes what was not written to it yet.
        """
        by_kind: dict[str, list[Path]] = {}
        for path in sorted(self.cache.rglob("*")):
            kept = path.relative_to(self.cache).parts[0]
            with suppress(OSError):
                if path.is_file() and path.name != "filler" and (stopped or kept != "spool"):
                    by_kind.setdefault(kept, []).append(path)
        snapshot = self._folder / "agent" / "members.json"
        if stopped and snapshot.exists():
            by_kind[snapshot.name] = [snapshot]
        if not by_kind:
            return "there is no file"
        path = chance.choice(by_kind[chance.choice(sorted(by_kind))])
        return self._damage(path, kind, chance)

    def damage_containerd(self, chance: random.Random, digests: Sequence[str]) -> str:
        """Let something happen to content in the containerd's store; return what."""
        assert self.containerd is not None
        paths = [path for digest in digests if (path := self.containerd.blob_path(digest)).exists()]
        if not paths:
            return "it has nothing"
        return self._damage(chance.choice(paths), chance.choice(["flip", "truncate"]), chance)

    def _damage(self, path: Path, kind: str, chance: random.Random) -> str:
        self.damaged.add(path.name)
        shown = path.relative_to(self._folder)
        try:
            return f"{shown}: {DAMAGES[kind](path, chance)}"
        except OSError as error:
            return f"{shown}: not possible: {errno.errorcode.get(error.errno or 0, error)}"

    def _agent(self, fault: str) -> Agent:
        endpoints = Endpoints(
            Address("127.0.0.1", CLIENT_PORT), Address("0.0.0.0", PEER_PORT), Address("0.0.0.0", GOSSIP_PORT)
        )
        program = odd(fault)
        if self._clock is not None:
            program = self._clock.command(program)
        return Agent(self._folder / "agent", self.name, endpoints, self._flags, netns=self.host.netns, program=program)
