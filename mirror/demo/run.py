"""The story of the demo: all nodes pull an image that none has at once, and then again without the registry."""

import asyncio
import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import uvloop
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column, Table
from rich.text import Text

from .cluster import Cluster
from .image import Blob, Image, make_image
from .interrupt import Interrupt
from .process import AgentProcess, ProcessError
from .registry import GET, HEAD, CountingRegistry

IMAGE_NAME = "library/skvaller-demo"
LAYERS = 4
TAG = "latest"
UPSTREAM, MEMBERS, OWN = KINDS = "upstream", "members", "itself"


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


_FAILURES: Final = (DemoError, ProcessError, aiohttp.ClientError, OSError)
"""What is no fault of the demo's own code: it is told in one line."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where one node's copy of one blob came from in one pull: bytes by source."""

    phase: str
    node: str
    blob: Blob
    sources: dict[str, int]


def run(nodes: int, size: int) -> int:
    """Run the demo.

    Args:
        nodes: number of agents at its start.
        size: bytes of all layers together.

    Returns:
        The exit status.
    """
    console = Console()
    with Interrupt() as interrupt:
        demo = _Demo(console, nodes, size)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(demo.run(interrupt))
            status = demo.report() if interrupt.status is None else 0
        except (*_FAILURES, ExceptionGroup) as error:
            failure = first_failure(error)
            if not isinstance(failure, _FAILURES):
                raise
            console.print(f"[red]the demo failed:[/red] {escape(str(failure))}")
            status = 1
        if interrupt.status is not None:
            console.print("stopped; nothing is left behind")
            return interrupt.status
        return status


def first_failure(error: Exception) -> Exception:
    """The first error of a group, which tasks that run side by side raise; an error that is no group is given back."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


class _Demo:
    """One run.

    Args:
        console: shows people what happens.
        nodes: number of agents at its start.
        size: bytes of all layers.
    """

    def __init__(self, console: Console, nodes: int, size: int) -> None:
        self._console = console
        self._count = nodes
        self._size = size
        self._rows: list[Row] = []
        self._registry: CountingRegistry | None = None
        self._seconds = 0.0

    async def run(self, interrupt: Interrupt) -> None:
        """Run it until it ends or is interrupted; whatever happens, it leaves nothing behind."""
        started = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            await interrupt.ends(self._tell(stack))
        self._seconds = time.monotonic() - started

    async def _tell(self, stack: contextlib.AsyncExitStack) -> None:
        """The story; `stack` takes what must end after it."""
        folder = stack.enter_context(_temporary_folder())
        image = await self._make(folder)
        registry = self._registry = CountingRegistry(image)
        stack.push_async_callback(registry.stop)
        url = await registry.start()
        http = await stack.enter_async_context(_http())
        cluster = Cluster(folder, url, http)
        stack.push_async_callback(cluster.stop)
        self._say(f"starting {self._count} agents, which find each other by gossip")
        first, *others = nodes = await cluster.start(self._count)

        title = "1. all pull at the same moment what no node has: upstream serves it once"
        await self._pull(cluster, http, title, image, nodes)
        first.kill()
        await first.process.wait()
        await registry.stop()
        (newcomer,) = await cluster.start(1)
        for blob in image.everything:
            await cluster.wait_for_holder(newcomer, str(blob.digest), others[0].name)
        title = f"2. {first.name} is killed, upstream is stopped, {newcomer.name} is new and empty: all pull again"
        await self._pull(cluster, http, title, image, [*others, newcomer])

    async def _make(self, folder: Path) -> Image:
        """Make the image; raise DemoError if the disk has no space for its copies."""
        needed = self._size * (self._count + 2)
        if shutil.disk_usage(folder).free < needed:
            raise DemoError(f"{folder} has no {_mib(needed)} free, which the copies take: give a smaller --size")
        wanted = True
        with _progress(self._console) as progress:
            task = progress.add_task(f"making an image of {LAYERS} random layers", total=self._size)

            def advance(count: int) -> None:
                if not wanted:
                    raise DemoError("nobody wants it any more")
                progress.advance(task, count)

            making = asyncio.create_task(asyncio.to_thread(make_image, folder, self._size, LAYERS, advance))
            try:
                return await asyncio.shield(making)
            except asyncio.CancelledError:
                wanted = False
                await asyncio.gather(making, return_exceptions=True)  # it writes into the folder, which goes next
                raise

    async def _pull(
        self, cluster: Cluster, http: aiohttp.ClientSession, title: str, image: Image, nodes: list[AgentProcess]
    ) -> None:
        """Pull the image through some nodes at the same time, and note where the bytes came from."""
        self._say(title)
        before = {node.name: await cluster.fetches(node) for node in nodes}
        with _progress(self._console) as progress:
            tasks = {node.name: progress.add_task(f"   {node.name}", total=image.size) for node in nodes}
            async with asyncio.TaskGroup() as pulls:
                for node in nodes:
                    pulls.create_task(_pull_image(http, node, image, progress, tasks[node.name]))
        for node in nodes:
            sources = await cluster.fetches(node)
            for blob in image.everything:
                digest = str(blob.digest)
                fetched = sources.get(digest, {}) if digest not in before[node.name] else {}
                self._rows.append(Row(title[:1], node.name, blob, fetched or {OWN: blob.size}))

    def report(self) -> int:
        """Show where every byte came from; return 0 only if upstream served each byte once for all nodes."""
        registry = self._registry
        assert registry is not None, "it has run"
        image = registry.image
        table = Table("pull", "through", *(Column(kind, justify="right") for kind in KINDS), box=SIMPLE_HEAD)
        for phase, node in dict.fromkeys((row.phase, row.node) for row in self._rows):
            table.add_row(phase, node, *_cells([row for row in self._rows if (row.phase, row.node) == (phase, node)]))
        self._console.print("\nwhere the bytes came from:")
        self._console.print(table)
        served = sum(registry.bytes_served.values())
        pulls = len({(row.phase, row.node) for row in self._rows})
        self._say(
            f"upstream served {_mib(served)} of an image of {_mib(image.size)}: {served / image.size:.3f} x\n"
            f"{pulls} pulls delivered {_mib(sum(row.blob.size for row in self._rows))}, in {self._seconds:.1f} s"
        )
        failures = list(_failures(image, registry, self._rows))
        for failure in failures:
            self._console.print(f"[red]not as it should be:[/red] {failure}", highlight=False)
        if not failures:
            self._console.print("[green]each byte left upstream once, and every pull had the right digests[/green]")
        return 1 if failures else 0

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)


def _failures(image: Image, registry: CountingRegistry, rows: list[Row]) -> Iterator[str]:
    """What is not as the demo should show it."""
    for blob in image.everything:
        digest = str(blob.digest)
        if registry.bytes_served[digest] != blob.size:
            yield f"upstream served {registry.bytes_served[digest]:,} bytes of the {blob.size:,} of {blob.label}"
    pullers = len({row.node for row in rows if row.phase == "1"})  # each checks what the tag means, if it is new to it
    for method, what, most in ((GET, str(image.manifest.digest), 1), (HEAD, TAG, pullers)):
        if not 1 <= registry.requests[method, what] <= most:
            yield f"upstream was asked {registry.requests[method, what]} times for {what} by {method}"
    for row in rows:
        if row.phase != "1" and UPSTREAM in row.sources:
            yield f"{row.node} took {row.blob.label} from upstream, which was stopped"
        if sum(row.sources.values()) < row.blob.size:
            yield f"{row.node} received {sum(row.sources.values()):,} bytes of {row.blob.label}, not {row.blob.size:,}"


async def _pull_image(
    http: aiohttp.ClientSession, node: AgentProcess, image: Image, progress: Progress, task: TaskID
) -> None:
    """Pull as a container runtime does: the tag, the manifest by digest, then configuration and layers at once."""
    base = f"{node.url}/v2/{IMAGE_NAME}"
    async with http.head(f"{base}/manifests/{TAG}?ns=docker.io") as head:
        if head.status != 200 or head.headers.get("Docker-Content-Digest") != str(image.manifest.digest):
            raise DemoError(f"{node.name} answered {head.status} to the tag")
    manifest = await _pull_blob(http, f"{base}/manifests/{image.manifest.digest}", image.manifest, progress, task)
    document = json.loads(manifest)
    wanted = {document["config"]["digest"], *(layer["digest"] for layer in document["layers"])}
    async with asyncio.TaskGroup() as pulls:
        for blob in image.blobs:
            if str(blob.digest) in wanted:
                pulls.create_task(_pull_blob(http, f"{base}/blobs/{blob.digest}", blob, progress, task))


async def _pull_blob(http: aiohttp.ClientSession, url: str, blob: Blob, progress: Progress, task: TaskID) -> bytes:
    """Download and verify; return the body of a small one."""
    hashed, small = hashlib.sha256(), bytearray()
    async with http.get(url, params={"ns": "docker.io"}) as answer:
        if answer.status != 200:
            raise DemoError(f"{url} answered {answer.status}: {(await answer.text())[:300]}")
        try:
            async for chunk in answer.content.iter_any():
                hashed.update(chunk)
                progress.advance(task, len(chunk))
                if blob.size <= 65536:
                    small += chunk
        except aiohttp.ClientError as error:
            raise DemoError(f"{url} broke off: {error}") from error
    if hashed.hexdigest() != blob.digest.hex:
        raise DemoError(f"{url} has another digest")
    return bytes(small)


class _Speed(ProgressColumn):
    """How fast something goes on, in the unit of all other figures."""

    def render(self, task: Task) -> Text:
        """A cell."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{_mib(speed)}/s", "progress.data.speed")


def _mib(count: float) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _cells(rows: list[Row]) -> Iterator[str]:
    """Bytes, and their share, of each kind of source."""
    counts: Counter[str] = Counter()
    for row in rows:
        for name, count in row.sources.items():
            counts[name if name in KINDS else MEMBERS] += count
    for kind in KINDS:
        yield f"{_mib(counts[kind])} {counts[kind] / counts.total():4.0%}" if counts[kind] else ""


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), _Speed(),
        console=console,
    )  # fmt: skip


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="skvaller-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def _http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=256 * 1024, auto_decompress=False) as session:
        yield session
