"""One node: its parts are built here, and know each other by what they are handed. Nothing of it runs yet.

This is the only module that builds routers, stores and sources, beside the demo. Each part gets what it needs as
arguments, and its section of `Settings`.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from . import __version__
from .app import (
    Backend,
    Find,
    KeysEndpoint,
    Members,
    NodeStatus,
    Operations,
    PeerEndpoint,
    RegistryStatus,
    Remembered,
    StatusEndpoint,
    StatusPage,
    api_app,
    client_app,
)
from .app.contents import local_platform
from .app.events import EventsEndpoint
from .app.examination.stack import Examination
from .app.left_out import LeftOut
from .app.pinning import Pinning
from .app.private import PrivateContent
from .app.pulls import Pulls
from .app.push import PushEndpoint, PushStack
from .app.servers import Served, make_servers
from .app.signing import Orders
from .app.tls import Acceptance
from .app.writers import Writers
from .channels import ChannelError, PeerTls
from .channels.certificates import KeyIssuer
from .channels.contexts import Channels, Issuer
from .channels.files import FileIssuer
from .cluster.homes import turned_key
from .cluster.serving import HomeService
from .cluster.throughput import SlowReports
from .config import AgentConfig, Routing, advertised_address
from .errors import ConfigError
from .events import Feed, Tell
from .fetch.stack import FetchStack
from .images.cluster_referrers import ClusterReferrers
from .images.completeness import Completeness
from .images.holdings import Holdings
from .images.listings import Listings
from .images.manifests import Manifests
from .images.member_tags import MemberTags
from .images.own_tags import OwnTags
from .images.pushed_referrers import PushedReferrers
from .images.referrer_index import ReferrerIndex
from .images.referrers import Referrers
from .images.tag_trust import TagTrust
from .images.tags import Tags
from .metrics import Metrics
from .oci.digest import Digest
from .oci.reference import DOCKER_HUB
from .pins.files import PinFiles
from .pins.following import KnownTags
from .pins.pinned_tags import PinnedTags
from .pins.stack import PinStack
from .registry_state import RegistryState
from .routers import Listener, Peer, Topic
from .routers.dht import DhtRouter, DhtSettings, KeysAreFixed
from .routers.swim import KeyRefusal, SwimRouter, SwimSettings, key_id, load_keys
from .service import Service
from .settings import ChannelSettings, ContainerdSettings, Settings
from .sources.chain import Chain
from .sources.peers.auth import PeerAuth
from .sources.peers.client import PeerClient
from .sources.peers.contents import delete_from, images_of
from .sources.peers.lists import PeerLists
from .sources.upstream import Upstream
from .sources.upstream.registries import known_registries
from .sources.watched import WatchedGuests
from .stores import Store
from .stores.cache import CacheStore
from .stores.marks import Marks

if TYPE_CHECKING:
    from .stores.containerd import ContainerdStore


class Node:
    """The parts of a node; who starts and stops them is the agent.

    Args:
        config: what the operator sets.
        settings: timings and bounds that no operator has to touch.
        is_serving: whether all parts run, and none is being stopped.

    Raises:
        ConfigError: the key file is not in order, or an extra is missing that the settings need.
    """

    def __init__(self, config: AgentConfig, settings: Settings, is_serving: Callable[[], bool]) -> None:
        self._config = config
        self._settings = settings
        self._is_serving = is_serving
        self._metrics = metrics = _metrics(config)
        self.events = Feed(settings.events)
        on_event = self.events.tell
        self.address = address = advertised_address(config)
        self.channels = _channels(config, address, settings.channels)
        self.router = router = _router(config, address, self.channels, settings, metrics, on_event)
        self._auth = _auth(config, router.keys(), settings)
        cache, runtimes, marks = _stores(config, settings, metrics, lambda names: self.private.offers(names), on_event)
        self._own = own = OwnTags(config.data_dir / "own-tags", partial(router.notes.tell, Topic.TAGS), settings.images)
        self.holdings = Holdings([cache, *runtimes, own, pinned := PinnedTags()], router)
        self.peers = peers = PeerClient(config.name, self._auth, settings.peers, self.channels, marks)
        self._chain = Chain(config.cluster, config.name, lambda: [seat.peer for seat in router.seats()])
        self._registries = registries = RegistryState(
            config,
            settings,
            router.notes.tell,
            passed_on=self._chain.passed_on,
            tally=metrics,
            marks=marks,
            on_event=on_event,
        )
        self.upstream, self.watched = registries.upstream, registries.watched
        outages, words = registries.outages, registries.words
        self.private = _private(config, settings, marks, registries, metrics, self._auth)
        self.fetching = fetching = self._make_fetching(cache)
        trust = TagTrust(metrics, settings.images)
        member_tags = MemberTags(
            fetching.cluster, fetching.health, self.peers.tag, trust.distrusted, settings.images, outages, words
        )
        self.tags = self._make_tags(cache, member_tags, trust)
        self.index = ReferrerIndex(self.holdings)
        manifests = Manifests(self.holdings, fetching.fetches, fetching.note, settings.images, self.index)
        reports = SlowReports(settings.cluster)
        self.home_service = HomeService(config.home, router, reports, lambda: len(router.members()), settings.serving)
        backend = self._make_backend(manifests, own, runtimes)
        find = self._find(manifests, member_tags)
        self._writers = Writers(config.push, Orders(self._auth))
        about = self._status(cache, trust)
        self.examination = self._examination(about)
        status = StatusEndpoint(about, find, metrics, settings.app)
        self.pinning = _pinning(
            config, settings, backend, cache, router, member_tags, peers, self._writers, pinned, on_event
        )
        self.push = self._make_push(cache, backend, self.pinning.stack)
        operations = self._operations(backend, find, [cache, *runtimes, own], cache)
        offers = self.private.access.offers
        others = [operations.for_members, *self.examination.for_members]
        peer = PeerEndpoint(backend, reports, self._auth, offers, self.pinning.questions, others)
        accept = Acceptance(self.channels, settings.channels)
        served = self._served(
            backend, status, peer, [*operations.routes, *self.pinning.routes, *self.examination.routes]
        )
        self.servers = make_servers(served, config, router.members, accept, metrics, settings.server)

    def use_keys(self, keys: Sequence[bytes]) -> None:
        """The cluster has these keys from now on."""
        self._auth.use(keys)
        self.channels.use(keys)

    def listeners(self) -> dict[Topic, Listener]:
        """Who cares about what members tell each other."""
        return {
            **self._registries.listeners(),
            Topic.TAGS: Listener(self._own.heard, self._own.state),
            Topic.PINS: self.pinning.stack.listener,
        }

    def _status(self, cache: CacheStore, trust: TagTrust) -> NodeStatus:
        """What this node says of itself."""
        router, fetching = self.router, self.fetching
        return NodeStatus(
            name=self._config.name,
            is_ready=lambda: self._is_serving() and router.ready(),
            statuses=router.statuses,
            alone=router.alone,
            distrusted=trust.distrusted,
            records=lambda: fetching.fetches.records,
            key_count=lambda: len(self.holdings),
            cache_bytes=lambda: cache.used_bytes,
            keeps_nothing=lambda: cache.keeps_nothing,
            withheld=lambda: cache.withheld,
            pinned=lambda: self.pinning.stack.keeper.counts,
            budgets=self._registries.shown_budgets,
            outages=self._registries.shown_outages,
            version=__version__,
            service=Service.of(os.environ),
            cache_limit_bytes=self._config.cache_size,
            troubles=fetching.health.troubles,
            pace=lambda source: fetching.throughput.recent_rate(source, time.monotonic()),
            fetches=fetching.fetches.progress,
            clients=lambda: self.pulls.now(),
            pins=lambda: self.pinning.stack.overview.rows(),
        )

    def _examination(self, about: NodeStatus) -> Examination:
        """What this node has to be examined."""
        router = self.router
        datagrams = router.datagrams if isinstance(router, SwimRouter) else None
        return Examination.build(
            self._config,
            self.address,
            about,
            router,
            datagrams,
            questions=self.peers,
            look=lambda name, within_s: self.upstream.registries.look(name, within_s),
            heard=lambda: router.datagrams.heard if isinstance(router, SwimRouter) else (0, 0),
            settings=self._settings.doctor,
        )

    def _make_fetching(self, cache: CacheStore) -> FetchStack:
        """What fetches content that this node does not hold."""
        registries = self._registries
        fetching = FetchStack.build(
            self._config.name,
            self.router,
            cache,
            peers=self.peers,
            upstream=self.watched,
            outages=registries.outages,
            words=registries.words,
            is_scarce=self.upstream.is_scarce,
            metrics=self._metrics,
            settings=self._settings,
            on_event=self.events.tell,
        )
        self.watched.follow(fetching.cluster.is_alone)
        return fetching

    def _make_tags(self, cache: CacheStore, member_tags: MemberTags, trust: TagTrust) -> Tags:
        """What tags mean."""
        return Tags(
            self.holdings,
            cache,
            member_tags,
            self.watched,
            trust,
            self._settings.images,
            how=self._config.tags,
            denied=self._config.denied_tags,
            policies=self._config.tag_policies,
        )

    def _make_push(self, cache: CacheStore, backend: Backend, pins: PinStack) -> PushStack:
        """What clients push."""
        return PushStack.build(
            self._writers,
            backend,
            cache.uploads,
            self._own,
            delete=cache.contents.delete,
            pushed=pins.pushed,
            published=self.private.published,
            must_be_sent=self.private.must_be_sent,
            settings=self._settings.push,
        )

    def _operations(self, backend: Backend, find: Find, stores: Sequence[Store], cache: CacheStore) -> Operations:
        """What an operator sees of content, and deletes."""
        config, settings = self._config, self._settings
        asked = self.upstream, self._registries.shown
        return Operations.build(
            backend,
            find,
            stores,
            cache.contents,
            self._own,
            remembered=_remembered(config, settings, backend, *asked, self.private.marks),
            members=_members(config, self.router, self.peers),
            writers=self._writers,
            pins=self.pinning.stack.pins.book.pins,
            protects=lambda digest: digest.hex in cache.protection.protected,
            settings=settings,
        )

    def _make_backend(self, manifests: Manifests, own: OwnTags, runtimes: "Sequence[ContainerdStore]") -> Backend:
        """What both endpoints answer from."""
        lists, fetching, tags = PeerLists(self.peers), self.fetching, self.tags
        listings = Listings(self.watched, self.holdings, self.router.members, lists.tags, own)
        may_name = self.private.access.gate.may_name
        held = ClusterReferrers(self.index, manifests, fetching.cluster.find_holders, lists.referrers, may_name)
        referrers = Referrers(self.watched, held, manifests, tags, PushedReferrers(own, manifests))
        metrics, settings = self._metrics, self._settings.app
        self.pulls = pulls = Pulls(settings, self.events.tell)
        made = Backend(self.holdings, fetching, manifests, tags, listings, referrers, metrics, settings, pulls=pulls)
        return replace(made, taking=runtimes[0].leases.taking) if runtimes else made

    def _find(self, manifests: Manifests, member_tags: MemberTags) -> Find:
        """Looks for images on this node and on the others."""
        peers, cluster = self.peers, self.fetching.cluster
        return Find(
            self._config.name,
            self.holdings,
            member_tags.known,
            cluster.find_holders,
            peers.size,
            parts=Completeness(manifests, self.holdings).parts,
            member_parts=lambda peer, content: peers.source(peer).parts(content),
        )

    def _served(
        self, backend: Backend, status: StatusEndpoint, peer: PeerEndpoint, others: Sequence[BaseRoute]
    ) -> list[Served]:
        """What is served: the setting that says where, the address, and the application; `others`: of the API."""
        config = self._config
        keys = KeysEndpoint(
            self.router.keyrings, Orders(self._auth), config.key_file, key_id, (KeyRefusal, KeysAreFixed)
        )
        events = EventsEndpoint(self.events)
        api = [*StatusPage().routes(), *status.routes(), *keys.routes(), *events.routes(), *others]

        def client(registry: str | None = None) -> ASGIApp:
            client = self.private.endpoint(backend, self._chain, registry)
            reader = LeftOut(client, config.leave_out, registry) if config.leave_out else client
            return self.examination.probes.endpoint(PushEndpoint(reader, self.push, registry), registry)

        app = client_app(client(), status, *(api if config.listen_api is None else ()))
        served: list[Served] = [("listen", address, app) for address in config.listen]
        served += [
            ("listen-for", each.address, client_app(client(each.registry), status)) for each in config.listen_for
        ]
        if config.listen_api is not None:
            served.append(("listen-api", config.listen_api, api_app(status, *api)))
        if config.metrics is not None:
            served.append(("metrics", config.metrics, api_app(status, status.figures())))
        return [*served, ("peer", config.peer, peer)]


def _metrics(config: AgentConfig) -> Metrics:
    """The metrics of a node that may contact some registries."""
    metrics = Metrics(known_registries(config.upstream), {DOCKER_HUB, *(registry.name for registry in config.upstream)})
    metrics.cache_limit_bytes.set(config.cache_size)
    return metrics


def _stores(
    config: AgentConfig,
    settings: Settings,
    metrics: Metrics,
    is_offered: Callable[[frozenset[str]], bool],
    on_event: Tell,
) -> "tuple[CacheStore, list[ContainerdStore], Marks]":
    """The cache, and the store of a runtime if the operator wants it; their troubles are counted. And their marks."""
    runtimes = _containerd(config, settings.containerd, metrics, is_offered)
    marks = Marks([runtime.sources.of for runtime in runtimes], is_offered)
    on_damaged, on_evicted = metrics.damaged_blobs.labels("cache").inc, metrics.cache_evictions.inc
    cache = CacheStore(
        config.data_dir / "cache",
        config.cache_size,
        settings.cache,
        on_damaged,
        on_evicted,
        PinFiles(config.data_dir / "pins").read_kept(),
        marks,
        on_event,
    )
    return cache, runtimes, marks


def _auth(config: AgentConfig, keys: Sequence[bytes], settings: Settings) -> PeerAuth:
    required = config.sealing == "require"
    return PeerAuth(keys, config.name, required=required, settings=settings.signatures)


def _private(
    config: AgentConfig,
    settings: Settings,
    marks: Marks,
    registries: RegistryState,
    metrics: Metrics,
    auth: PeerAuth,
) -> PrivateContent:
    """What the node has for private content."""
    return PrivateContent.build(
        config.name,
        config.private,
        marks,
        registries.watched,
        WatchedGuests(registries.upstream, registries.watched),
        metrics=metrics,
        settings=settings,
        outages=registries.outages,
        file=config.data_dir / "public.json",
        tags=config.tag_policies,
        is_member=auth.made,
    )


def _pinning(  # noqa: PLR0913, PLR0917 - what was built before
    config: AgentConfig,
    settings: Settings,
    backend: Backend,
    cache: CacheStore,
    router: SwimRouter | DhtRouter,
    member_tags: MemberTags,
    peers: PeerClient,
    writers: Writers,
    tags: PinnedTags,
    on_event: Tell,
) -> Pinning:
    """What keeps images whatever happens."""
    usual = settings.pins.copies
    stack = PinStack.build(
        config.name,
        config.data_dir / "pins",
        {name: usual if copies is None else copies for name, copies in config.pin},
        local_platform(),
        router=router,
        tell=partial(router.notes.tell, Topic.PINS),
        cache=cache,
        protection=cache.protection,
        holdings=backend.holdings,
        manifests=backend.manifests,
        fetching=backend.fetching,
        tags=backend.tags,
        member_tags=member_tags,
        known_tags=KnownTags(backend.holdings.references, backend.holdings.tags),
        ask=peers.source,
        settings=settings.pins,
        on_event=on_event,
    )
    tags.follow(stack.pins.book.record)
    return Pinning(config.name, stack, writers, settings.pins)


def _router(
    config: AgentConfig, address: str, channels: Channels, settings: Settings, metrics: Metrics, on_event: Tell
) -> SwimRouter | DhtRouter:
    """The node's discovery, whose figures are shown. This is the one place where an implementation is chosen.

    Another one has to be a `Discovery`, and what the agent calls beside that: start, leave, close, and the cluster's
    keys (keys, keyrings, follow_keys, superseded).
    """
    if config.router is Routing.DHT:
        dht = _dht(config, address, channels, settings)
        metrics.watch_dht(dht.figures)
        return dht
    swim = SwimRouter.of(
        SwimSettings(
            name=config.name,
            bind=(config.gossip.host, config.gossip.port),
            advertise=address,
            peer_port=config.peer.port,
            channels=channels,
            seeds=config.join,
            key_file=config.key_file,
            sealing=config.sealing,
            cluster=config.cluster,
            profile=config.gossip_profile,
            exact=config.router is Routing.EXACT,
            allow=config.gossip_allow,
            snapshot=config.data_dir / "members.json",
        ),
        settings.router,
        on_event,
    )
    metrics.watch_gossip(swim.figures)
    return swim


def _dht(config: AgentConfig, address: str, channels: Channels, settings: Settings) -> DhtRouter:
    """Discovery by a DHT, for comparison."""
    return DhtRouter(
        DhtSettings(
            me=Peer(config.name, address, config.peer.port, channels.step is not PeerTls.OFF),
            bind=(config.dht.host, config.dht.port),
            bootstrap=config.bootstrap,
            identity=config.data_dir / "dht.key",
            resolve_s=config.resolve_timeout,
            keys=tuple(load_keys(config.key_file)) if config.key_file else (),
        ),
        settings.dht,
    )


def _channels(config: AgentConfig, address: str, settings: ChannelSettings) -> Channels:
    """How this node and the others speak: in clear text, or by TLS with certificates of one kind or the other."""
    if config.peer_tls is PeerTls.OFF or config.key_file is None:
        return Channels()
    issuer: Issuer
    if config.tls_cert and config.tls_key and config.tls_ca:
        issuer = FileIssuer(config.tls_cert, config.tls_key, config.tls_ca, config.name)
    else:
        life_s, renewal_s = settings.certificate_life_s, settings.certificate_renewal_s
        issuer = KeyIssuer(config.name, address, load_keys(config.key_file), life_s, renewal_s)
    try:
        return Channels(config.peer_tls, issuer, config.tls_deny)
    except ChannelError as error:
        raise ConfigError(f"peer-tls: {error}") from None


def _containerd(
    config: AgentConfig,
    settings: ContainerdSettings,
    metrics: Metrics,
    is_offered: Callable[[frozenset[str]], bool],
) -> "list[ContainerdStore]":
    """The containerd store, if the operator wants it."""
    if config.containerd is None:
        return []
    # Not at the top: its libraries are an optional extra, and take 20 MiB of memory.
    from .stores.containerd import ContainerdStore

    on_damaged = metrics.damaged_blobs.labels("containerd").inc
    return [ContainerdStore(config.containerd, config.containerd_namespace, settings, on_damaged, is_offered)]


def _members(config: AgentConfig, router: SwimRouter | DhtRouter, peers: PeerClient) -> Members:
    """The others, as far as they are asked about all their content; only where there is a key, some may delete."""
    delete = None if config.key_file is None else partial(delete_from, peers)
    return Members(router.members, partial(images_of, peers), delete)


def _remembered(
    config: AgentConfig,
    settings: Settings,
    backend: Backend,
    upstream: Upstream,
    registry: Callable[[str], RegistryStatus],
    marks: Marks,
) -> Remembered:
    """What a node can tell of an image without asking anybody."""
    cluster, fetches, images = backend.fetching.cluster, backend.fetching.fetches, settings.images
    policies = replace(config.tag_policies, usual_s=images.tag_fresh_s)

    def private(digest: Digest) -> dict[str, list[str]] | None:
        if (mark := marks.of(digest)) is None:
            return None
        names = sorted(mark.names | mark.claimed)
        return {"names": names, "policies": sorted({config.private.of(name).sharing for name in names})}

    return Remembered(
        me=config.name,
        records=lambda: fetches.records,
        answers=upstream.said_of,
        resolution=backend.resolutions.of,
        policy=policies.shown,
        registry=registry,
        holders=lambda key: [peer.name for peer in cluster.holders(key)],
        homes=lambda key: list(cluster.ring(key).homes(0)),
        private=private,
        tag_key=lambda reference: turned_key(reference.key, time.time(), images.tag_window_s),
    )
