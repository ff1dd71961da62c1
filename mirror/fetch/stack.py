"""How the parts that fetch are put together; the agent does it once, with real sources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..cluster.health import PeerHealth
from ..cluster.slow import SlowNotifier
from ..cluster.throughput import Throughput
from ..cluster.view import ClusterView
from ..events import Tell, nobody
from ..metrics import Metrics
from ..oci.descriptors import Named
from ..routers import Discovery
from ..settings import Settings
from ..sources import UPSTREAM, MemberSources, SizedSource, Source, Witness
from ..sources.outages import Outages
from ..sources.words import Words
from ..stores import BlobCache
from .absences import Absences
from .ahead import ImageLayers
from .environment import Environment
from .fetches import Fetches
from .memory import MemoryBudget
from .second_opinion import SecondOpinion, StatedSizes
from .sizes import SizeQuery
from .turns import Turns


@dataclass(frozen=True, slots=True)
class FetchStack:
    """The parts of a node that fetch.

    Args:
        cluster: knows who may be asked.
        health: knows which members to leave alone.
        slow: tells homes that they are slow.
        throughput: knows how fast members and registries deliver.
        fetches: what is being fetched.
        sizes: finds out how large something is.
        memory: what passes through memory.
        stated: the sizes that manifests state.
        layers: which layers belong together.
        turns: lets one part of the node write a blob to the cache at a time.
    """

    cluster: ClusterView
    health: PeerHealth
    slow: SlowNotifier
    throughput: Throughput
    fetches: Fetches
    sizes: SizeQuery
    memory: MemoryBudget
    stated: StatedSizes
    layers: ImageLayers
    turns: Turns

    @classmethod
    def build(  # noqa: PLR0913 - what the agent has built before
        cls,
        me: str,
        discovery: Discovery,
        cache: BlobCache,
        *,
        peers: MemberSources,
        upstream: SizedSource,
        metrics: Metrics,
        settings: Settings,
        outages: Outages | None = None,
        words: Words | None = None,
        is_scarce: Callable[[str], bool] = lambda registry: False,
        on_event: Tell = nobody,
    ) -> "FetchStack":
        """Put the parts together for the node of a name.

        Args:
            me: its name.
            discovery: knows the members.
            cache: keeps what is fetched.
            peers: the members as sources.
            upstream: the registries as a source.
            metrics: counts.
            settings: bounds and durations.
            outages: what others find out of registries as well.
            words: what members say of registries.
            is_scarce: see `Environment`.
            on_event: told of members that are banned.
        """
        outages = outages or Outages(settings.outages)

        def source(name: str) -> Source | None:
            if name == UPSTREAM:
                return upstream
            peer = cluster.peer(name)
            return None if peer is None else peers.source(peer)

        def witness(name: str) -> Witness | None:
            peer = cluster.peer(name)
            return None if peer is None else peers.witness(peer)

        health = PeerHealth(
            lambda name: cluster.peer(name), peers.is_alive, peers.notify_wrong, metrics, settings.cluster, on_event
        )
        peers.follow(health.noticed)
        cluster = ClusterView(me, discovery, discovery, health, settings.cluster)
        throughput, memory = Throughput(settings.cluster), MemoryBudget(settings.fetch.in_memory_max)
        absences, stated = Absences(settings.fetch), StatedSizes(settings.fetch.stated_sizes_max)
        layers = ImageLayers(settings.fetch.layers_max)
        opinion = SecondOpinion(
            stated, cluster, health, ask_member=peers.size, ask_upstream=upstream.size, settings=settings.fetch
        )
        slow = SlowNotifier(discovery, throughput, peers.notify_slow, settings.cluster)
        env = Environment(
            cluster=cluster,
            health=health,
            throughput=throughput,
            slow=slow,
            source=source,
            witness=witness,
            cache=cache,
            metrics=metrics,
            settings=settings,
            memory=memory,
            absences=absences,
            opinion=opinion,
            layers=layers,
            outages=outages,
            words=words or Words(settings.outages),
            is_scarce=is_scarce,
        )
        fetches = Fetches(env)
        sizes = SizeQuery(
            fetches,
            cluster,
            health,
            peers.size,
            upstream.size,
            absences=absences,
            opinion=opinion,
            outages=outages,
            settings=settings.fetch,
        )
        return cls(cluster, health, slow, throughput, fetches, sizes, memory, stated, layers, env.turns)

    def note(self, named: Sequence[Named]) -> None:
        """Take note of what a manifest names that this node has verified."""
        self.stated.note((it.digest.hex, it.size) for it in named)
        self.layers.note(named)

    async def close(self) -> None:
        """Give up what is under way."""
        await self.fetches.close()
        await self.sizes.close()
        await self.slow.close()
        await self.health.close()
