"""What every fetch of a node is given: the same frozen bundle."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field

from ..cluster.health import PeerHealth
from ..cluster.slow import SlowNotifier
from ..cluster.throughput import Throughput
from ..cluster.view import ClusterView
from ..metrics import Metrics
from ..oci.content import Content
from ..settings import OutageSettings, Settings
from ..sources import Source, Witness
from ..sources.outages import Outages
from ..sources.words import Words
from ..stores import BlobCache
from .absences import Absences
from .ahead import ImageLayers
from .memory import MemoryBudget
from .second_opinion import SecondOpinion
from .turns import Turns


@dataclass(frozen=True, slots=True)
class Environment:
    """The parts of a node that a fetch uses.

    Args:
        cluster: knows who may be asked.
        health: knows which members to leave alone; failures are reported to it.
        throughput: knows how fast members deliver; deliveries are reported to it.
        slow: tells homes that they are slow.
        source: gives the source of a name, a member's or `UPSTREAM`; None if there is no such member any more.
        witness: gives the member of a name as a holder that vouches; None if there is no such member any more.
        cache: where content is kept.
        metrics: counts.
        settings: bounds and durations.
        memory: bounds the blobs that pass through memory.
        absences: remembers what nobody has.
        opinion: confirms the sizes that members state.
        layers: knows which layers belong together.
        outages: knows the registries that do not answer.
        words: what members say of registries.
        is_scarce: whether a registry lets the members pull so little more that one of them asks for all manifests.
        turns: lets one fetch of a blob write to the cache at a time.
    """

    cluster: ClusterView
    health: PeerHealth
    throughput: Throughput
    slow: SlowNotifier
    source: Callable[[str], Source | None]
    witness: Callable[[str], Witness | None]
    cache: BlobCache
    metrics: Metrics
    settings: Settings
    memory: MemoryBudget
    absences: Absences
    opinion: SecondOpinion
    layers: ImageLayers
    outages: Outages
    words: Words = field(default_factory=lambda: Words(OutageSettings()))
    is_scarce: Callable[[str], bool] = lambda registry: False
    turns: Turns = field(default_factory=Turns)

    def serving(self, registry: str, now: float) -> Set[str]:
        """Members that serve as homes. Those whom the registry does not answer, as they say, are passed over.

        None is for a moment after it answers this node again: they see that now, and all nodes ask the same homes.
        """
        serving, me = self.cluster.serving(), self.cluster.me
        is_just_back = now - self.outages.returned_at(registry) < self.settings.outages.return_s
        able = serving - (set() if is_just_back else self.words.passed_over(registry, now))
        return able if able - {me} else serving

    def awaits_registry(self, content: Content, now: float) -> bool:
        """Whether who asks for content of which nothing has come waits for a registry that is out.

        Who asks for a blob has its manifest, so a pull is under way, and a link that flaps should not end it. All else
        is refused at once.
        """
        return content.kind == "blobs" and self.outages.may_be_a_flap(content.repository.registry, now)
