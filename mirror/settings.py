"""Settings of the mirror that no operator has to touch: timings, bounds, windows.

One frozen value, built by the agent and handed to the parts, a section for each package. Each field says what it
bounds, its unit, and why it has this value. Tests pass their own. What operators set is in `config`.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Of `routers.swim`: who has a place on the rings of homes."""

    new_for_s: float = 30.0
    """Time that a member has to be up before it serves as a home, s: a node that crashes at its start does so within
    that time, and each change of the rings moves pieces to other homes."""
    seat_kept_s: float = 60.0
    """Time for which a member that failed keeps its place, s: one that restarts is back by then, and rings that are
    made meanwhile agree with those made before."""


@dataclass(frozen=True, slots=True)
class DhtTiming:
    """Of `routers.dht`: Spegel's values where it has one, so that the two can be compared.

    Source: Spegel and go-libp2p-kad-dht, constants and defaults of 2026. k is 20 and alpha is 10 in libp2p's own code.
    """

    providers_wanted: int = 3
    """Holders after which a lookup ends."""
    record_s: float = 19 * 60.0
    """Time after which a provider record expires, s."""
    provide_again_s: float = 15 * 60.0
    """Time after which a node tells a key again, s: its record must not expire meanwhile."""
    provide_failed_s: float = 5 * 60.0
    """Time after which it tells a key again that nobody took, s."""
    provide_workers: int = 4
    """Keys that are told at once."""
    lookup_kept_s: float = 5.0
    """Time for which a lookup that has found enough holders is used, s."""
    lookup_again_s: float = 2.5
    """Time for which one that has found fewer, or none, is used, s."""
    bootstrap_retry_s: float = 10.0
    """Bounds the time between two attempts to reach the first other node, s; it begins with a twentieth of it."""
    bootstrap_again_s: float = 30 * 60.0
    """Time after which the nodes to begin with are asked again although others are known, s."""

    dial_s: float = 5.0
    """Bounds a connection to a peer with its handshakes, s; as in go-libp2p for private addresses."""
    query_s: float = 10.0
    """Bounds one question to a peer, s; as in go-libp2p."""
    lookup_s: float = 30.0
    """Bounds a whole lookup, s: three questions one after the other that are not answered."""
    queries_max: int = 10
    """Questions of one lookup, or for one key that is told, that are under way at once: Kademlia's alpha."""
    lookups_max: int = 64
    """Bounds the lookups that are under way. A runtime pulls three layers of an image at a time."""
    lookups_kept_max: int = 4096
    """Bounds the lookups that are remembered: 1 KiB each."""
    streams_max: int = 256
    """Bounds the streams of others that are answered at once: 20 nodes that tell 4 keys each, with a margin of 3. The
    library has 12, and resets all others."""
    records_max: int = 200_000
    """Bounds the provider records of others that are kept, about 300 bytes each: 20 nodes with 10,000 keys each."""
    keys_max: int = 50_000
    """Bounds the keys that this node tells others. Beyond that the newest are not told."""
    peers_max: int = 1024
    """Bounds the peers whose endpoints are remembered: 500 bytes each."""
    look_s: float = 1.0
    """Time between two looks for changes of the routing table, s."""
    start_s: float = 30.0
    """Bounds the start of the thread until it listens, s. It takes 0.2 s, and on a machine
    that starts twenty of them at once a hundred times as long."""
    stop_s: float = 5.0
    """Bounds the wait for the thread's end, s. It takes milliseconds; beyond that the thread ends with the process."""


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Of `sources.answers`: what a server may send in answer to one request."""

    head_max_bytes: int = 32 * 1024
    """Bounds what comes before the end of an answer's head, in bytes, interim answers (1xx) included. Registries send
    one or two thousand, signed URLs included. It is passed by one read at most."""
    read_bytes: int = 16 * 1024
    """Bounds one read of heads or chunks, in bytes; the event loop has a turn after each. The worst, chunks of one
    byte, take 25 ms to parse."""
    body_read_bytes: int = 256 * 1024
    """Bounds one read of a body of known length, in bytes: as much as a fast connection has ready."""
    framing_bytes: int = 64 * 1024
    """Bounds what surrounds the chunks of a short body, in bytes. 10,000 chunks are more than any token or manifest is
    sent in."""
    framing_share: float = 1 / 16
    """Bounds what surrounds the chunks of a long body, as a share of the body: chunks of 100 bytes pass. Servers send
    2 KiB and more in each."""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Of `sources.peers`."""

    answers: AnswerSettings = field(default_factory=AnswerSettings)
    """Bounds answers to small questions."""

    connect_s: float = 2.0
    """Bounds how long a connection to a member takes to open, s. A cluster's network answers within milliseconds; this
    is one lost SYN and its first retransmission after 1 s, with a second to spare."""

    head_s: float = 10.0
    """Bounds a small question (a size, a tag) from the connection to the end of its answer, s. A home may ask upstream
    before it answers, which takes seconds where upstream is slow."""

    silent_s: float = 0.15
    """A member that has sent nothing of an answer for this time, s, is asked for a sign of life. On a cluster's network
    answers begin within milliseconds, so only members that wait for somebody else are asked, and those that are gone.
    With `knock_s` and `hedge_s` it is what a host that vanishes costs: 0.4 s."""

    silent_max_s: float = 0.8
    """Bounds the time that doubles with each sign of life, from `silent_s` on, s: one that waits for upstream is asked
    about once a second."""

    knock_s: float = 0.05
    """Time without an answer to that question, s, after which a connection is opened as well: most members answer
    sooner, and need not take one."""

    knocks: int = 3
    """Connections that are tried, one after the other: of the packets of one, a full link may lose one, and then it
    takes a second longer. Links that lose 4 % of all packets lose one of three in a row once in 2,000 times."""
    knock_again_s: float = 0.05
    """Time between two of them, s: all have been tried when `hedge_s` is over."""

    hedge_s: float = 0.15
    """Bounds from below the time that this connection may take, s, before others are asked for the same as well. It is
    the time that it usually took at most, or that a packet takes now as the kernel sees it, by the rule of TCP's
    retransmissions, if that is more, up to `sign_of_life_s`: a member behind a long queue is waited for."""

    sign_of_life_s: float = 1.0
    """Bounds how long a member takes to give a sign of life when it is asked for one, s. An event loop that serves at
    full speed is late by tens of milliseconds, so a member that takes longer is taken for dead."""

    stall_s: float = 30.0
    """Bounds the time in which a download receives no byte, s, although its member gives signs of life. It is the time
    that upstream is given for the head of an answer, which a home may wait for; after it every request ends."""

    watch_interval_s: float = 0.05
    """Time between two looks at all that members owe, s: by this much a silent member is noticed late at most. A look
    at a hundred downloads takes 0.1 ms, and there is none while nothing is owed."""

    members_remembered: int = 1024
    """Bounds the members of which it is remembered how long their signs of life take; the one asked longest ago is
    forgotten first."""

    read_s: float = 60.0
    """Bounds one wait of a thread for a member's bytes, s. It is the last resort: `silent_s` and `stall_s` end a
    download much sooner, unless the task that watches over them has failed."""

    direct_threads: int = 64
    """Bounds the downloads at once from members that send what they hold: more than several fetches ask for at once.
    Threads start when they are needed."""

    waiting_threads: int = 160
    """Bounds the downloads at once from members that may wait for another node's download themselves: the 32 pieces of
    each of three blobs, and what is read ahead. They have threads of their own: if they took those of `direct_threads`,
    nodes could wait for each other in a circle."""

    idle_connections_max: int = 16
    """Bounds the unused connections that are kept open to one member: half the pieces that a fetch has under way at
    most, for hardly ever do all of them end at once."""

    idle_connection_s: float = 20.0
    """Bounds how long an unused connection is kept open, s. A member's server closes it after 75 s; a much shorter time
    opens new ones between two layers of an image."""

    question_connections_max: int = 512
    """Bounds the connections at once for small questions, to all members: several to each of 100 members."""

    question_idle_s: float = 30.0
    """Bounds how long an unused connection for small questions is kept open, s: less than the 75 s after which a
    member's server closes it."""

    read_bytes: int = 1024 * 1024
    """Bounds what is read from a connection in one go, in bytes: twice what one read waits for. More gains nothing, and
    is memory for every thread."""

    read_min_bytes: int = 64 * 1024
    """The least space that one read offers, in bytes: what a kernel commonly has ready of a fast connection."""

    gather_s: float = 0.05
    """Bytes of a slow download are collected for this time at least, s, before they are read: each read wakes a thread,
    writes to a file and wakes readers, so it should not happen for every packet."""

    gather_max_s: float = 0.5
    """Bounds how long a byte waits for others to be collected with, s: readers must not notice."""

    gather_parts: int = 8
    """A download is read in about this many parts, if each takes between `gather_s` and `gather_max_s`: few reads,
    while readers still see progress."""

    head_max_bytes: int = 16 * 1024
    """Bounds the head of an answer, in bytes: a member's own heads have a few hundred."""

    drained_max_bytes: int = 16 * 1024
    """Bounds the body of a refusal that is read so that the connection can be used again, in bytes. A new connection
    costs less than to read more."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Of `channels` and of `app.tls`."""

    certificate_life_s: float = 7 * 86400.0
    """Time for which a certificate made from the cluster's key is valid, before and after the moment it was made, s. So
    the clocks of two nodes may differ by some days, and what was stolen from a node's memory is soon worth nothing."""
    certificate_renewal_s: float = 86400.0
    """Age at which such a certificate is made anew, s. So six days of its life are always left for others' clocks."""
    look_s: float = 30.0
    """Time between two looks whether a certificate is due, s: the clock may have been set, or a file replaced."""
    handshake_s: float = 5.0
    """Bounds the time from the acceptance of a connection to the end of its handshake, s. It takes one round trip and
    2 ms; this is a lost packet's retransmission twice."""


@dataclass(frozen=True, slots=True)
class SignatureSettings:
    """Of `sources.peers.auth`."""

    window_s: float = 30.0
    """Time for which a signed request is good, before and after its time, s. It has to cover what a request takes on
    its way, and how far two clocks drift apart between two requests; where they differ more, one more round trip tells
    the difference."""
    nonces_max: int = 65536
    """Bounds the requests that are remembered so that none is answered twice; some 10 MiB. 1,000 a second are 60,000
    within the window. Where more come, those signed before the oldest one that is remembered are refused, and signed
    anew."""
    members_max: int = 1024
    """Bounds the members whose clocks are known to differ from this node's: more than a cluster has."""


@dataclass(frozen=True, slots=True)
class NameSettings:
    """Of `sources.upstream.names`."""

    wait_s: float = 4.0
    """Bounds the wait for a name that is not known yet, s, from the start of its lookup. It leaves a second of
    `connect_s` for the connection. Whoever comes while a lookup is older than that does not wait at all."""
    renewal_s: float = 1.0
    """Bounds the wait for a new answer where there is an old one, s: a name server that is up takes some 10 ms."""
    fresh_s: float = 60.0
    """Time for which an answer is used without asking again, s. The C library does not say for how long it is good;
    registries that move give a minute and more."""
    kept_s: float = 86_400.0
    """Age up to which an answer is used where no name server gives another one, s: a day (RFC 8767 allows up to 7)."""
    failed_s: float = 5.0
    """Time for which a failure is repeated without asking again, s: one pull asks ten times for the same name."""
    lookups_max: int = 32
    """Bounds the lookups under way of names that are no registry's: each has a thread. Registries name few hosts."""
    names_max: int = 1024
    """Bounds the names that are remembered; the oldest is forgotten first. Each takes some 500 bytes."""


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """Of `sources.upstream.credentials`."""

    look_s: float = 1.0
    """Shortest time between two looks at the file of credentials, s: it is looked at when a registry wants one."""
    program_s: float = 5.0
    """Bounds one question to a credential program, s. A cloud's asks a service; a client waits for it, and all of its
    question has `UpstreamSettings.question_s`."""
    kept_s: float = 60.0
    """Time for which a program's answer is used, s. What it knows of, such as a login that ends, it renews itself."""
    failure_kept_s: float = 10.0
    """Time after which a program that failed is asked again, s."""
    hosts_max: int = 256
    """Bounds the answers of programs that are kept; the oldest goes first. One for each registry is needed."""


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """Of `sources.upstream.budgets`."""

    budgets_max: int = 256
    """Bounds the budgets that are remembered; the one of which nothing was heard for longest goes first. A site has one
    for each registry and address."""
    blocked_max_s: float = 3600.0
    """Bounds the time for which one note of another member keeps this node from asking, s: for longer than that, nobody
    believes a member that has left. One that is there says it again."""
    window_s: float = 86400.0
    """Time after which a note says nothing any more, s, where the registry does not say. Windows have some hours."""
    told_s: float = 60.0
    """Shortest time between two notes of one budget that has changed a little, s."""
    told_part: float = 0.05
    """The part of a limit by which what is left has to change to be told at once."""
    scarce_min: int = 10
    """Pulls that are left at and below which one member asks for all manifests of the registry: as many members may ask
    at the same moment before they have heard of each other."""
    scarce_part: float = 0.1
    """The same as a part of the limit."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Of `sources.upstream`."""

    answers: AnswerSettings = field(default_factory=AnswerSettings)
    """Bounds all answers of registries."""
    names: NameSettings = field(default_factory=NameSettings)
    """How the names of registries are looked up."""
    credentials: CredentialSettings = field(default_factory=CredentialSettings)
    """Who this node is to registries."""
    budgets: BudgetSettings = field(default_factory=BudgetSettings)
    """What registries still let the members ask."""
    complaint_s: float = 60.0
    """Time between two warnings that one registry does not accept its password, s: each pull meets it many times."""

    connect_s: float = 5.0
    """Bounds the opening of one connection, s: the lookup of its name, all its addresses, and the TLS handshake. A
    server that is up answers within three round trips. A registry to which no packet gets costs that much."""
    question_s: float = 8.0
    """Bounds one try of a question whose answer is small, s, from its start to the head of the answer: a tag, or a
    manifest. All is in it: redirects, tokens, the wait for a free connection. A client waits for it, and a home that
    asks on behalf of others answers before they give it up (`PeerSettings.head_s`)."""
    head_s: float = 20.0
    """Bounds one try of a blob, s, from its start to the head of the answer, with all of the same in it. Registries
    that fetch from elsewhere, or wake storage up, take seconds. Members who wait for a home's try give it up later
    (`PeerSettings.stall_s`)."""
    stall_s: float = 20.0
    """Bounds the time between two reads of a body, s. A link that failed and came back resumes within it (TCP
    retransmits at growing distances); what is dead longer is asked for anew, by range."""
    whole_s: float = 30.0
    """Bounds reading a whole body into memory, s: a token, or a manifest of unknown length, so a few megabytes."""
    connections_max: int = 64
    """Bounds open connections for one registry. A request beyond it waits, within the bound of its try. A node asks for
    at most 32 pieces of a blob at once, so this serves several blobs. Registries have connections of their own, so that
    one that does not answer is in no other one's way."""
    turn_rest_s: float = 30.0
    """Time for which a URL of a registry that failed is asked after its other URLs, s."""
    redirects_max: int = 5
    """Bounds redirects of one request. Registries send to an object store at once or over one more host; the limit
    ends loops."""
    read_buffer_bytes: int = 256 * 1024
    """Bounds what aiohttp buffers of one body before it stops reading: about as much as one read gives."""

    gather_bytes: int = 64 * 1024
    """Size of a chunk at and above which the beginning of a body is written at once, in bytes. Below it each write and
    each wake-up of readers would cost more than the bytes are worth. With more a home lags behind what it gets: with
    128 KiB, and 15 pieces under way over 50 Mbit/s, the links of the others are a third empty for the first second."""
    gather_max_bytes: int = 128 * 1024
    """The same for what follows the beginning, in bytes: by then links are full, and half as many wake-ups cost a node
    a fourteenth of its CPU less."""
    gather_min_s: float = 0.02
    """Shortest time for which small chunks are gathered, s: what readers do not notice."""
    gather_max_s: float = 0.2
    """Longest time for which small chunks are gathered, s: bounds the delay that a slow connection adds."""

    token_bytes_max: int = 64 * 1024
    """Bounds a token service's answer. Real ones have a few KiB."""
    token_min_s: float = 60.0
    """Shortest life that a token is given, s, and the life of one whose answer does not say. It is the least that the
    token specification lets a server grant."""
    token_max_s: float = 3600.0
    """Longest life that a token is given, s, whatever the server says: a permission that was taken away shows within
    the hour."""
    token_margin_s: float = 30.0
    """Time before its end from which on a token is not used, s: requests take time, and clocks differ."""
    basic_s: float = 3600.0
    """Life of a Basic authorization, s: after it the registry is asked again whether it wants one."""
    authorizations_max: int = 1024
    """Bounds remembered authorizations; the least recently used goes first. Each repository has one, of a few KiB."""

    retry_after_min_s: float = 1.0
    """Shortest time for which a registry that answered 429 is left alone, s, also if it says less."""
    retry_after_max_s: float = 21_600.0
    """Longest time for which a registry that answered 429 is left alone, s, also if it says more: the window of Docker
    Hub. An error of its clock must not cut it off for days."""
    retry_after_default_s: float = 60.0
    """Time for which a registry is left alone that answers 429 without a readable Retry-After, s."""
    nearly_over_s: float = 0.2
    """A wait of this length or less is waited for before a registry is asked, s: members learn of it at moments that
    far apart, and who refuses sends the question on to a member that takes the wait to be over already."""

    counted_known_s: float = 3600.0
    """Time for which it is believed of a repository that the registry counts its pulls, or that it does not, s."""
    counted_max: int = 1024
    """Bounds the repositories of which that is remembered; the oldest answer is forgotten first."""
    head_known_s: float = 3600.0
    """Time for which it is believed of a registry that HEAD works there, or that it does not, s. One that was set right
    is asked by HEAD again within that time."""
    lengths_max: int = 1024
    """Bounds the blobs of which the size is remembered because the registry does not say it; the oldest goes first."""
    measured_s: float = 60.0
    """Bounds how long a blob is read for its length alone, s: clients give a pull up that makes no progress for a
    minute."""

    redirect_s: float = 60.0
    """Time for which a redirect is used again without asking the registry, s. The signed URLs of object stores are
    good for some minutes at least."""
    last_answers_max: int = 1024
    """Answers of registries that are remembered for people; some 500 bytes each."""
    redirects_cached_max: int = 256
    """Bounds remembered redirects; the oldest goes first. Each is a URL of one or two kilobytes."""


@dataclass(frozen=True, slots=True)
class OutageSettings:
    """Of `sources.outages` and `sources.watched`: registries that do not answer."""

    silent_s: float = 0.8
    """Time in which an answer brought nothing, s, neither its head nor more of its body, after which a registry is
    asked for a sign of life. Most heads come sooner, and bodies stop for less, also when a packet is lost; a registry
    that fetches from elsewhere takes seconds, and answers this question beside it."""
    sign_of_life_s: float = 1.7
    """Bounds how long a registry takes to give a sign of life, s: a connection with TLS and one answer, of four round
    trips, with one lost packet, which is sent again after 1 s. With `silent_s`, a client waits 5 s where both this node
    and a home find out that a registry is out."""
    alone_silent_s: float = 0.3
    """The same as `silent_s` while members that were in reach are so no more, s: this node's own line is cut, it seems.
    What members held back is asked of the registry then, and TCP would have it sent when the line is back."""
    alone_sign_of_life_s: float = 0.8
    """The same as `sign_of_life_s` then, s: less than the time after which a lost packet is sent again."""
    probe_s: float = 1.0
    """Time between two questions whether a registry that is out is back, s: the first request after its return should
    succeed. The question needs no authorization, and no registry counts it."""
    wanted_s: float = 60.0
    """Time after the last request for which these questions go on, s. Then the outage is forgotten, and who asks next
    finds out anew."""
    grace_s: float = 0.05
    """Time for which a request to a registry that is out waits whether it is back, s: little enough that nobody
    notices, and enough for a registry nearby."""
    told_s: float = 30.0
    """Time for which the word of a member that a registry is out counts, s. A node that cannot reach the registry
    itself asks homes again after it."""
    registries_max: int = 256
    """Bounds the registries of which something is known; the one used longest ago is forgotten first."""
    others_probe_s: float = 5.0
    """The same as `probe_s` for members of which another one asks, s: if that one lies, dies, or has a line of its own,
    the others see the return that much later."""
    return_s: float = 2.5
    """Time after the word of a member that a registry is back for which those that have not said so count as homes, s:
    the word comes, and the registry gives them a sign of life, within it."""
    say_again_s: float = 10.0
    """Time after which a member repeats that a registry is out, s: thrice within `told_s`."""
    tellers_max: int = 8
    """Members that say that a registry is out, after which others do not: hundreds would say the same at once."""
    words_max: int = 512
    """Bounds the words of members that are kept: eight for each of 64 registries."""
    flap_s: float = 15.0
    """Age of an outage, s, up to which a client that asks for a blob waits for its end: its pull is under way, and no
    other place than that registry is likely to have what is missing. A link that comes back within it fails no pull;
    containerd gives an answer up whose head has not come after 30 s."""
    retry_after_s: float = 2.0
    """What a client is told to wait before it asks again, s: by then a registry that is back is known to be."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """Of `stores.checking`: how files are checked before their bytes leave."""

    warm_bytes: int = 256 * 1024 * 1024
    """Bytes that may leave after one look whether they are in memory, for a reader that takes them within a second; a
    slower one, and one that has just begun, gets less. Four looks instead of one cost 7 % of serving eight clients."""
    cold_bytes: int = 4 * 1024 * 1024
    """Bytes that are read from the disk and checked at once: a client waits for the first, 30 ms on a slow disk."""
    read_bytes: int = 256 * 1024
    """Bounds the buffer that files are read through, in bytes: within a core's second-level cache."""
    memory_bytes: int = 16 * 1024 * 1024
    """Bounds the proofs in memory, in bytes; the least recently used goes first, and is read from disk again. A cache
    of 100 GB has 7 MB of them."""


@dataclass(frozen=True, slots=True)
class UpkeepSettings:
    """Of `stores.cache.upkeep`: how the cache's files are read in the background."""

    bytes_per_s: float = 8 * 1024 * 1024
    """Bounds the rate, in bytes per second: a tenth of what a slow disk gives. 100 GB take three and a half hours."""
    round_s: float = 86_400.0
    """Time between the starts of two rounds, s: disks rot over months, and a day is soon enough."""
    pause_s: float = 3600.0
    """Time between two rounds, s, at least, where a round takes longer than a day."""
    first_after_s: float = 600.0
    """Time from the start of an agent to its first round, s: a node that starts has better things to read."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Of `stores.cache`."""

    checks: CheckSettings = field(default_factory=CheckSettings)
    """How blobs are checked before their bytes leave."""
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)
    """How they are checked when nobody asks."""

    room_s: float = 30.0
    """Bounds how long bytes that arrive wait for space, s: deleting takes seconds on slow disks."""
    others_part: float = 0.25
    """The part of the cache up to which blobs of clients of this node give way to what only other members asked for, if
    they were not used lately. Beyond it that takes what is free or spare; what does not fit passes through memory."""
    lately_s: float = 7 * 86_400.0
    """Time for which a blob that a client of this node used gives no way to what only other members ask for, s: what
    a node ran in the last week it may run again."""
    start_batch: int = 512
    """Blobs that are reported in one turn of the event loop when the cache starts: some ms of gossip's work."""

    tags_max: int = 10_000
    """Bounds the tags that are remembered; the least recently checked is forgotten first. Each takes one small file
    on disk and some 500 bytes of memory: 5 MB in all, for more tags than a cluster's nodes run."""

    look_s: float = 10.0
    """Time between two looks whether the cache's folder is there and takes files, s; each costs a thread some 0.1 ms. A
    fetch that finds the folder gone looks at once."""
    settle_s: float = 30.0
    """Time from the last failure to keep a blob until one that was kept counts, s: a disk that takes some and refuses
    others must not flood the log."""

    sync_after_s: float = 40.0
    """Time from a blob's arrival until its bytes are forced to the disk, s. Linux writes what is older than 30 s by
    itself, looking every 5 s: so this costs next to nothing, where at once it would take the disk from the runtime,
    which unpacks then. What a power failure catches before is hashed at the next start."""
    sync_at_stop_s: float = 5.0
    """Bounds how long a stop forces bytes to the disk, s; what is not there by then goes on with the next start."""

    touch_interval_s: float = 60.0
    """Seconds between two writes of a blob's time of last use. The time on disk only decides the order of eviction
    after a restart: a minute is exact enough, and spares a busy blob a write for every request."""

    evicted_s: float = 10.0
    """Time within which blobs that leave to make room are one event for people, s: a pull can evict hundreds."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Of `stores.containerd.leases`: for how long containerd keeps what is being pulled from it, but was removed."""

    idle_s: float = 60.0
    """Time from the last request for any content of an image to the end of its lease, s. A pull asks for something new
    every few seconds; a minute lets it try again, or wait for its turn behind others."""
    lasts_s: float = 900.0
    """Time after which a lease ends even where nobody deletes it, s: after a crash, or where members never stop asking
    for an image that was removed. It is the longest time that the kubelet waits for space that it freed; 1 GB over
    10 Mbit/s takes as long."""
    renew_s: float = 450.0
    """Age of a lease from which it is renewed, s, while somebody asks and its image was not removed: when the image is
    removed, a pull that is under way has at least the difference to `lasts_s` left."""
    look_s: float = 15.0
    """Time between two looks at which leases are to end, s: they end later by up to that."""
    images_max: int = 64
    """Bounds the images that have a lease; of more no lease is taken. The largest node of Kubernetes' defaults, 110
    pods, starts with a third of them."""
    sharing_max: int = 8
    """Bounds the images that get a lease because somebody asked for a layer that they share."""
    contents_max: int = 256
    """Bounds what one lease keeps, manifests and layers; each costs containerd a write. An image has 127 layers at
    most."""
    retry_s: float = 30.0
    """Time to the next attempt after containerd refused a lease, s."""
    release_s: float = 2.0
    """Bounds the time in which the agent ends its leases when it stops, s; those that are left end by themselves."""


@dataclass(frozen=True, slots=True)
class ContainerdSettings:
    """Of `stores.containerd`."""

    leases: LeaseSettings = field(default_factory=LeaseSettings)
    """What keeps content in containerd while it is taken."""

    checks: CheckSettings = field(default_factory=CheckSettings)
    """How blobs are checked before their bytes leave."""

    start_patience_s: float = 2.0
    """Time that the start of the store waits for containerd's first listing, s, so that an agent begins with what is
    there. It goes on without it then: containerd may start later than the agent."""
    backoff_min_s: float = 0.1
    """Shortest time between two attempts to connect, s: nobody should notice a quick restart of containerd."""
    backoff_max_s: float = 5.0
    """Longest time between two attempts to connect, s. The waits double up to it. A connection that lasted longer
    begins again with the shortest."""
    call_timeout_s: float = 20.0
    """Bounds one call, s, the stream of events excepted. Long enough to list a large store on a slow disk."""
    answer_bytes_max: int = 16 * 1024 * 1024
    """Bounds one message of containerd. It is the bound of containerd's own clients; the list of images comes in
    one message."""

    burst_s: float = 0.05
    """Time from the first event of a burst to the listing, s: an import sends dozens of events within it."""
    spacing_s: float = 1.0
    """Shortest time between the starts of two listings, s: bounds what listings cost while events never end."""
    collect_s: float = 2.0
    """Time from the last event to one more listing, s. containerd collects garbage soon after an image is removed, and
    old versions send no event for it. What it collects later, the regular listing sees."""
    regardless_s: float = 30.0
    """Longest time between the starts of two listings, s. containerd before 2.1 does not tell when content appears or
    is collected; lookups of what is gone cost one fast 404 until then. As often all files are looked at: whether they
    open, and have the size that containerd says."""
    failing_s: float = 600.0
    """Time for which a file that the disk did not give is not offered again, s: each try costs another member one, and
    a disk that fails rarely heals."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Of `cluster`: what is known of members, and for how long it holds."""

    view_s: float = 0.05
    """Age up to which the answer to "who is up" is used again, s: every step of every fetch asks."""
    probe_s: float = 0.5
    """Time between two questions to a member that is out of reach whether it is alive, s."""
    out_of_reach_max_s: float = 30.0
    """Time after which a member that gave no sign of life is tried like all others, s: gossip has judged it by then."""
    corrupt_ban_s: float = 600.0
    """Time for which a member that sent corrupt bytes is not asked, s: its disk or memory will not heal sooner."""
    doubt_s: float = 10.0
    """Time for which a member that sent wrong bytes, perhaps another's, is the last resort, s: it is asked only where
    nobody else can be. It doubles with each time, up to `corrupt_ban_s`, and is forgotten that long after the last
    one."""
    slow_notice_s: float = 0.5
    """Time between two rounds of notices to slow homes, s: a few of them make a home decline, within some seconds."""
    slow_rate: float = 0.25
    """A member is slow if it delivers less than this share of what the others deliver. A ring with one member at a
    tenth of a link is 8.8 times slower (simulated, 8 members); one at a quarter costs no more than leaving it out."""
    sample_weight: float = 0.3
    """Weight of the newest sample in a moving average: the last three samples have two thirds of the weight."""
    samples_min: int = 3
    """Samples of a home before it is judged: one alone may have met a busy moment."""
    sample_age_max_s: float = 30.0
    """Age up to which a sample or a report counts, s: a link that was slow a minute ago may be idle now."""
    recent_s: float = 2.0
    """Time over which it is counted what comes from a source, s: two of the shortest times after which a request is
    late. Also bounds the time between samples of homes that are compared: links are as busy then as now."""
    recent_slots: int = 8
    """Slots into which that time is divided: what is older than it by less than one of them counts, too."""
    others_min: int = 2
    """Others to compare with, and reports, at least: with one other it cannot be told which of two is slow."""
    remembered_max: int = 1024
    """Members whose throughput is remembered, the least recently heard forgotten first: ten times the largest cluster
    that this is made for."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Of `fetch.spool`."""

    window_bytes: int = 32 * 1024 * 1024
    """Bounds what one blob holds in memory, in bytes, where the cache has no space for it. Enough for 32 pieces in
    flight of a blob up to 256 MiB; 32 such blobs at once take 1 GiB."""

    window_pieces: int = 8
    """The same bound in pieces, for blobs whose pieces are large: the larger of the two holds. With fewer, the hash, a
    reader and what arrives ahead of them would not find space for a piece each."""

    reserve_bytes: int = 16 * 1024 * 1024
    """Space that is taken at once for a blob that arrives, in bytes. More would let others go for bytes that may never
    come; less would ask the disk and the event loop more often than once in some 20 ms at full speed."""

    lazy_reserve_bytes: int = 256 * 1024
    """The same for a blob of which clients only read ranges, in bytes: they read some 50 KB at once, here and there."""

    hash_step_bytes: int = 4 * 1024 * 1024
    """Bytes that must have arrived before a thread hashes them, up to twice as many at a time. A turn of a thread costs
    some 0.1 ms, hashing 4 MiB some 2 to 10 ms."""

    memory_hash_step_bytes: int = 1024 * 1024
    """The same for a blob in memory: less, since readers may wait until the hash has moved on."""

    hash_read_bytes: int = 1024 * 1024
    """Bounds the buffer, in bytes, through which a thread reads what it hashes: within a core's second-level cache."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Of `fetch.plan`: how the pieces of one blob are asked for."""

    holder_lanes: int = 2
    """Requests under way at once to one holder for one audience: one arrives while the next is being asked for."""
    home_lanes: int = 4
    """Requests under way at once to one home: the ring gives each home about one in a window, and some move on."""
    upstream_lanes: int = 8
    """Requests under way at once to upstream for one blob; most are made for other members, one for each piece."""
    lazy_lanes: int = 8
    """Requests under way at once to upstream for what clients read by themselves of one blob: they wait for no lane."""
    lazy_bridge_share: float = 1 / 16
    """What is fetched between such ranges, so that one request has several, as a share of them. Clients of the form
    zstd:chunked read hundreds that lie close together; a tenth more than they read is what they may cost."""
    lazy_patience_s: float = 2.0
    """Time for which such a range waits for upstream's first byte, s, before the whole is asked of holders as well."""
    window_min: int = 2
    """Pieces asked for at once, at least: with one under way a node would wait for every answer."""
    window_homes_alone: float = 1.5
    """Pieces asked for at once for each home, where the node fetches one blob. With one, a node whose piece is at a
    busy home leaves its own link idle: five nodes at once take 1.14 times as long as one does alone, and with this 1.10
    times. Two gain no more, and cost a tenth more CPU."""
    window_homes: int = 1
    """The same of each blob, where the node fetches several: these keep its link busy together. With more, homes fetch
    what some nodes do not ask for yet. Four layers take five nodes 1.26 times as long with this, and 1.28 times with
    one and a half, for an eighth more CPU. It is a whole number, so that all homes have as much to send."""
    window_max: int = 32
    """Pieces asked for at once, at most: beyond 32 nothing is gained."""
    look_s: float = 0.2
    """Time between two looks for late requests, s: each costs a pass over all requests of the fetch."""
    upstream_tries: int = 3
    """Failures of upstream in a row, without a byte in between, after which the fetch asks it no more; 0: never ask."""
    busy_s: float = 2.0
    """Time for which a holder that said that it is busy is asked only on behalf of other members, s."""
    unable_s: float = 5.0
    """Time since a home last delivered, s, after which homes that could not fetch a piece count: a home that is unable
    beside others that deliver has a trouble of its own."""
    unable_max: int = 2
    """Homes that could not fetch a piece since one last delivered, after which this node asks upstream itself instead
    of one home after the other; and if it cannot either, nobody."""
    upstream_rest_s: float = 1.0
    """Time for which a fetch does not ask a registry that gave no sign of life, s: whether it is back is found out
    about as often. So too where another member asks it for the whole: that costs no try."""
    settle_s: float = 1.0
    """Time after a registry is back for which a piece waits for its home, s, though that is out of reach, or finds the
    registry out: it sees the return in the same moment. Without it whoever sees it first would go on alone. A home is
    told, and is asked for a sign of life twice, within that time."""
    again_s: float = 0.2
    """Time after which such a home is asked again, s: it needs some tenths of a second to see that."""
    barren_s: float = 30.0
    """Time for which a fetch makes new requests although next to nothing comes, s; then it ends with those that are
    under way. It is the time that upstream is given for the head of an answer: who has waited as long is not helped by
    a second try."""
    progress_bytes: int = 64 * 1024
    """Bytes that count as progress: of a source that goes on breaking off, and for `barren_s`. With less, a blob would
    take days."""
    trickle_after_s: float = 10.0
    """Age of a request to a holder, s, from which its rate is judged by itself: a lone holder has none beside it."""
    trickle_bytes_per_s: float = 64 * 1024
    """Rate under which a holder trickles: a 100 MB layer would take 26 minutes."""
    trickle_factor: float = 6.0
    """A holder trickles as well if upstream was so many times as fast with the same blob. It is less for a holder that
    sends to several homes: what one of them gets is slower than its link, and costs upstream nothing."""
    trickle_known_s: float = 2.0
    """Age of a request to a holder, s, from which it is compared with upstream: under load one may pause a second."""
    trickle_ban_s: float = 60.0
    """Time for which a holder that trickles, or a home whose pieces came much too late, is not asked as a holder while
    upstream can be, s."""
    late_s: float = 1.0
    """Age before which no request is late, s: under load, shorter delays say nothing."""
    late_factor: float = 3.0
    """A request is late if others in its role are this many times as fast; with less, bytes come twice for nothing."""
    late_factor_at_end: float = 2.0
    """The same where nothing else is left to ask for: then a second copy costs idle links only."""
    late_grace: float = 1.5
    """A request is late only after this many times the time that others in its role take for as many bytes; to a source
    that is slow in everything after the time over which that is counted, if this is sooner."""
    very_late_factor: float = 2.0
    """A piece that is this many times later still is fetched by another home, at the cost of its bytes once more, if
    all that its home sends is as slow. Otherwise the bytes are as slow to come to the home."""
    still_s: float = 5.0
    """Time in which nothing has come of a piece, s, after which it is fetched by another home, whatever its home sends
    of others: upstream may have forgotten one request among many."""
    mute_s: float = 15.0
    """The same as `still_s` where no other piece tells how fast it should come, s: half of `barren_s`, so that another
    home has as long. Upstream may pause for seconds, and then all that is asked for by itself is still."""
    partial_tries: int = 3
    """Members asked whether they have a late piece already, before another home is to fetch it."""
    partial_again_s: float = 2.0
    """Time after which they are asked again, s, if the piece is late still: it comes to others meanwhile."""
    measured_bytes: int = 256 * 1024
    """Requests for fewer bytes say nothing about a member's throughput: asking takes longer than sending."""
    rates_remembered: int = 16
    """Finished requests by which those under way are judged, for each role: a window's worth."""


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """Of `fetch.evidence`: whom else a node asks about what members sent, for the sake of its clients."""

    holders_max: int = 3
    """Holders that are asked for their prefixes: two that agree are needed, and one may be slow, or wrong."""
    small_range_bytes: int = 4 * 1024 * 1024
    """Bounds the range about which others are asked at once, in bytes, for a client that reads it by itself, as lazily
    pulling runtimes do: such a client does not wait for the front. Holders hash no more in one go."""
    upstream_bytes_max: int = 16 * 1024 * 1024
    """Bytes that one fetch asks of upstream beside the download to have such ranges vouched for. Then they wait for the
    whole: a node that reads a whole layer in small ranges must not fetch it twice."""
    sample_after_s: float = 20.0
    """Time for which a client waits for bytes that are here and that nobody vouches for, s, before upstream checks a
    few: containerd 1.6 gives a pull up that made no progress for 60 s, later releases after 5 minutes."""
    sample_bytes: int = 8 * 1024
    """Size of such a sample, in bytes: any progress counts, and each node that waits asks it of upstream. With 10 nodes
    on links of 10 Mbit/s that is 0.3 % of what a link sends; 64 KiB would be 2.6 %."""
    tries: int = 3
    """Failures of upstream in a row after which a client that waits for its word is told that nobody can vouch. That is
    so where only a part of the blob is held; elsewhere the client waits for the digest of the whole."""
    again_s: float = 5.0
    """Time after which a question that nobody could answer is asked again, s: as long as one try of upstream takes."""
    asked_max: int = 2
    """How often a holder is asked for its prefixes: once more if it did not say them, for it may have been busy."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Of `fetch`."""

    idle_s: float = 30.0
    """Time for which a fetch without readers goes on, s: a client that lost its connection comes back."""
    in_memory_max: int = 32
    """Blobs that pass through memory at once, where the cache has no space; each holds a window of 32 MiB or more."""
    short_replies_max: int = 8
    """Replies in a row by which one source sends less than it was asked for. A home may do so where the rest is another
    member's word, but that happens once a piece at most."""
    names_max: int = 8
    """Repositories by which one blob is asked of upstream, one after the other; clients name about as many."""
    look_s: float = 0.25
    """Time after which the plan is asked again though nothing happened, holders are looked up anew, and whoever waits
    for bytes looks whether they are there, s."""
    patience_s: float = 20.0
    """Time for which a fetch waits without any request under way, for members that may be back, s."""
    notice_s: float = 0.004
    """Time between two reports of a worker thread about what it received, s: each wakes the readers."""
    records_max: int = 512
    """Records of fetches kept for people; some 1 KiB each."""
    absent_s: float = 5.0
    """Time for which it is remembered that nobody has some content, s: whoever asks again and again costs upstream one
    question in that time. An image that is pushed a moment after somebody asked for it is found that much later."""
    absent_max: int = 4096
    """Bounds what is remembered as absent; the oldest is forgotten first. Each takes some 1 KiB."""
    opinion_s: float = 1.0
    """Bounds how long another holder, and then upstream, is asked to confirm a size, s: a client waits for that."""
    opinions_max: int = 2
    """Other holders that are asked to confirm a size, at once: with two of them nobody's word stands alone."""
    stated_sizes_max: int = 16384
    """Bounds the sizes that are remembered from manifests: those of some hundred images, in 3 MiB."""
    layers_max: int = 4096
    """Bounds the layers of which it is remembered which belong together: those of some hundred images, in 1 MiB."""
    ahead_requests_max: int = 64
    """Bounds the requests at once for layers that clients have not asked for yet. A layer takes as many as one that a
    client waits for: so many do for twelve layers with five nodes, and for three with twenty."""
    size_s: float = 5.0
    """Time for which members are asked for a size, s, before upstream is: a client waits for a mere head."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Of `images`."""

    tag_fresh_s: float = 60.0
    """Time for which upstream's word about a tag is believed without asking again, s: a tag that was pushed a moment
    ago may be seen late by that much, and a home asks for one tag once in that time."""
    tag_known_s: float = 1.0
    """Bounds how long a client waits, s, for upstream or a home to say what a tag means that this node or a member
    knows already. A registry that is up answers within a second; after it, the client gets what is known, with a
    warning, and upstream is waited for behind its back."""
    tag_doubted_s: float = 0.01
    """Bounds how long it waits for a home while it is being found out whether the registry gives a sign of life, s: a
    home that knows answers sooner. The registry itself is not waited for then, nor while it is known to be out."""
    tag_denied_s: float = 5.0
    """Time for which it is remembered that upstream has no such tag, s: clients ask for signatures and the like that do
    not exist, of every image. One that is pushed meanwhile is found that much later."""
    tag_denied_out_s: float = 3600.0
    """The same while the registry gives no sign of life, s: what did not exist an hour ago most likely does not
    exist."""
    tag_denied_max: int = 4096
    """Bounds the tags of which that is remembered; the oldest answer is forgotten first. Each takes some 500 bytes."""
    tag_members_max: int = 8
    """Members asked about one tag, at most: they are asked at the same moment."""
    tag_homes_max: int = 3
    """Homes asked about one tag, at most, one after the other, before this node asks upstream itself. Those that may
    not ask, because the registry limits their address, say so at once and do not count."""
    tag_window_s: float = 600.0
    """Time after which the ring of a tag turns, s: for that long a member can be the first home of a tag because it
    chose its name well. Each turn costs upstream one question a tag."""
    tag_check_s: float = 5.0
    """Bounds how long a client waits, s, until upstream confirms to this node what a home says, where the tag is new
    here or has changed. A registry that is up answers within a second or two; then the client gets a warning."""
    tag_sample: int = 16
    """Of the answers by which homes only repeat what upstream said before, this node checks one in so many, after the
    client has its answer. An old meaning that one member goes on telling is found by the cluster within minutes, for a
    sixteenth of the requests that all checks would cost. Docker Hub counts no HEAD as a pull, but it limits requests a
    minute as well."""
    tag_recheck_s: float = 3.0
    """Time after which a member that contradicts upstream is asked again, s. By then a tag that has just moved has
    moved everywhere. A home does not ask upstream more often than that for the same tag, whoever wants it."""
    tag_audits_max: int = 16
    """Bounds the checks behind clients' backs that are under way at once; what comes beyond is not checked."""
    tag_distrust_s: float = 3600.0
    """Time for which a member that twice contradicted upstream is not asked about tags, s: long enough to be seen by
    a person; short enough for a registry that was set wrong on one node, and was mended."""
    tag_own_max: int = 1024
    """Bounds the tags of which a home remembers that it asked upstream itself; the oldest check is forgotten first."""
    survey_s: float = 2.0
    """Time for which one look through all that this node holds serves all who ask for it, s: it takes some
    microseconds a blob, and each member may ask."""
    trees_max: int = 16384
    """Bounds the blobs of which it is remembered what they name, or that they are no manifests: as many as a large
    cache holds, in some 10 MiB. The rest is read again with each look."""
    resolutions_max: int = 1024
    """Tags of which it is remembered what a client was last told, for people; some 300 bytes each."""
    manifest_memory_bytes: int = 8 * 1024 * 1024
    """Bounds the manifests that stay in memory, in bytes; the least recently used goes first. A manifest has 1 to 10
    KiB: this is about a thousand of them, more than a node runs."""

    own_tags_max: int = 5000
    """Bounds the tags that were pushed or loaded here, of the whole cluster: a file of some 200 bytes each on every
    member. Full exchanges of two members carry about 2,000 of them at a time."""
    own_tags_gone_max: int = 1000
    """Bounds the records of such tags that were deleted. A member that was away while more than so many were deleted
    brings the oldest of them back."""


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Of `access`."""

    public_s: float = 3600.0
    """Time for which a repository counts as public without asking again, s: one that became private is given to
    anybody for that long, and each public repository costs one question in that time."""
    private_s: float = 300.0
    """The same for a private one, s: one that became public is found that much later."""
    refused_s: float = 10.0
    """Time for which refused credentials are refused without asking again, s: a client that tries again and again
    must not have the registry lock its account, or this node."""
    repositories_max: int = 4096
    """Bounds the repositories of which it is remembered whether they are public; some 200 bytes each."""
    verdicts_max: int = 4096
    """Bounds the credentials of which it is remembered what the registry said, some 150 bytes each; who comes back
    after that is checked once more."""
    checks_max: int = 16
    """Bounds the credentials that are being checked at once; others wait."""
    authorization_max: int = 8192
    """Bounds what a client may present, in characters: tokens have up to some 4 KiB."""
    absent_s: float = 5.0
    """Time for which it is remembered that a repository does not have some content of others, s."""
    absent_max: int = 4096
    """Bounds what of that is remembered, some 200 bytes each."""
    staged_s: float = 86400.0
    """Time for which content that was loaded from a pipe may be mounted by its digest alone, s: an archive of 100 GiB
    takes as long at 10 Mbit/s, and names its images at its end."""
    staged_max: int = 32_768
    """Bounds what of that is remembered, some 250 bytes each: a thousand images have as many blobs."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Of `app`."""

    admission_window_s: float = 1.0
    """A member counts as wanting a blob for this time after it has asked for some of it, or got it, s. A member that
    downloads asks again within a few 100 ms, for it takes one piece after the other."""

    transfers_max: int = 256
    """Bounds the blobs that are sent to other members at once. A member that asks for one more is told to ask
    elsewhere. Each transfer holds descriptors and memory of sockets, and 256 saturate any link."""

    small_blob_bytes: int = 512 * 1024
    """Blobs up to this size, in bytes, are sent to every member that asks: the detour by homes, a few requests, takes
    longer than the blob itself. Four such blobs take a link of 100 Mbit/s 0.17 s."""

    admission_blobs_max: int = 1024
    """Bounds the blobs of which it is remembered who asked; the one asked for longest ago is forgotten first. More than
    members ask for within `admission_window_s`."""

    hashed_max_bytes: int = 4 * 1024 * 1024
    """Bounds a range of which a member is told the sha256, in bytes: a lazily pulling client asks for no more at once,
    and hashing takes 4 ms."""
    hashed_at_once: int = 2
    """Such ranges that are hashed at once; others wait. Members get their bytes beside that."""
    verify_again_s: float = 60.0
    """Time for which the word of members that a copy here is wrong is not heard again, for each blob, s: to verify it
    is to read all of it, so that must not follow from every word."""

    pull_quiet_s: float = 5.0
    """Time without a request under one name after which a client's pull of it has ended, s. Runtimes ask for the next
    layer as soon as one is there; between manifest and layers they may wait for a slow disk."""
    pulls_max: int = 256
    """Bounds the pulls that are followed at once, each with some hundred bytes: the one that is quiet for longest gives
    way. A node runs fewer containers."""

    patience_s: float = 20.0
    """Time for which a client's request waits until a registry may be asked again, s; one that would wait longer is
    told so at once. containerd from 2.3 on gives an answer up whose head has not come after 30 s, which leaves 10 s to
    ask; releases before it, dockerd, podman and skopeo wait for longer."""
    patience_step_s: float = 0.25
    """Shortest such wait, s: the clock of the member that asks may be a moment behind."""
    holders_asked_max: int = 8
    """Bounds the blobs of which all who may hold them are asked at once, while a person waits to learn why an image is
    here: an image has tens of blobs, and each may be on all members."""
    holders_asked_s: float = 10.0
    """Bounds how long that takes in all, s; who has not answered by then is shown as not asked."""

    status_s: float = 0.9
    """Age up to which the state of the node is shown again, s: it is made once for all who look, and a page that asks
    every second gets a new one each time."""
    status_pins_s: float = 10.0
    """Age up to which it is shown again which pins lack copies, s: to find out takes some 100 ms with 500 of them."""

    images_s: float = 10.0
    """Bounds how long a member is waited for that is asked which images it holds, or to delete one, s: it looks through
    all that it has. Who has not answered by then is named."""

    avoided_max: int = 16
    """Bounds the members that a home avoids for one request: each costs a look at all parts of the blob."""

    copied_max_bytes: int = 128 * 1024
    """Parts of an answer up to this size, in bytes, are copied through the server. The copy leaves in one packet with
    the head, which is cheaper than to hand the connection over for `sendfile`."""

    chunk_bytes: int = 1024 * 1024
    """Bounds what is read of a file at once, in bytes, where an answer is copied: memory for each answer under way."""


@dataclass(frozen=True, slots=True)
class PushSettings:
    """Of `app.push`: what clients push to this node."""

    uploads_max: int = 256
    """Bounds the uploads that are not complete, each with a file and a descriptor. A client that pushes an image has
    five at once."""
    uploads_from_one_max: int = 64
    """Bounds those from one other machine. This machine may have all."""
    idle_s: float = 3600.0
    """Time without a byte after which an upload is given up, s: a client whose line was broken comes back before."""
    life_s: float = 86400.0
    """Time after which an upload is given up, however busy it is, s: 100 GiB at 10 Mbit/s take as long."""
    look_s: float = 60.0
    """Time between two looks for uploads that are to be given up, s."""

    arriving_max: int = 24
    """Bounds the bodies that are read at once, each with up to 2.5 MiB of memory; others wait in their sockets."""
    turn_s: float = 60.0
    """Bounds that wait, s; a client that waits longer is told to come again."""
    document_s: float = 600.0
    """Bounds the time in which a manifest comes, s: one of 4 MiB takes as long at 56 kbit/s. A client that sends a byte
    now and then must not hold one of those places for ever."""
    part_bytes: int = 1024 * 1024
    """Bytes that a thread writes and hashes at once: about a millisecond, beside which the next ones come."""

    check_at_once: int = 8
    """Parts of a manifest that others are asked about at once."""
    tags_at_once_max: int = 32
    """Bounds the tags that one request sets."""


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Of `cluster.serving`."""

    interval_s: float = 0.25
    """Time between two decisions, s. A slow home holds every pull up, so it should stop within a second; a decision
    costs microseconds."""
    decline_s: float = 300.0
    """Time for which a node that the others find slow is no home, s. Then it tries again: what slowed it down, such as
    a backup, may be over, and a node that is still slow is found out within seconds."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Of `app.server`, `app.listener`, `app.places` and `app.protocol`: the listeners, before any key is looked at."""

    drain_s: int = 20
    """Bounds the time that running transfers have to end when the agent stops, s. Then they are cut short, and clients
    go on elsewhere. Long enough for a large layer on a LAN; systemd kills the agent after 30 s (deploy/systemd)."""
    backlog: int = 1024
    """Bounds connections that wait to be accepted. All members may connect in the same moment; the kernel has its own
    bound besides (net.core.somaxconn)."""
    accepts_max: int = 16
    """Bounds the connections that one turn of the event loop accepts. Each takes some 0.3 ms until it is closed again:
    so a flood of them holds gossip and transfers up for some 5 ms at a time."""
    shed_max: int = 64
    """Bounds the idle connections that are closed in one go while descriptors are scarce: some 0.1 ms each."""

    local_max: int = 1024
    """Bounds the connections from this machine, to all listeners. A runtime opens tens."""
    members_max: int = 2560
    """Bounds the connections from members' addresses. A hundred members have 16 unused ones each, and the transfers."""
    strangers_max: int = 512
    """Bounds the connections from all other addresses. With 32 KiB of a head in each they take 16 MiB."""
    from_member_max: int = 512
    """Bounds the connections from one member's address. A member has at most 160 downloads and some questions at once;
    several nodes may share an address."""
    from_stranger_max: int = 128
    """Bounds the connections from one other address, or one IPv6 /64. A client that is no member opens tens."""
    members_known_s: float = 1.0
    """Age up to which the members' addresses are used again, s: one that joined a moment ago is a stranger so long."""
    descriptors_kept: int = 1024
    """Descriptors that are kept free for files and for this node's own connections, or a quarter of all where those are
    few. Beyond it idle connections are closed. A transfer takes two, and a node has 256 to others at most."""
    complaint_s: float = 60.0
    """Time between two warnings that connections are refused, s: who floods a listener must not flood the log."""

    head_max_bytes: int = 32 * 1024
    """Bounds the head of a request, in bytes. Runtimes send hundreds; credentials in them reach a few thousand."""
    head_lines_max: int = 100
    """Bounds the lines of a head. Runtimes send about ten."""
    head_s: float = 10.0
    """Bounds the time from the opening of a connection, or from the first byte of a later request, to the end of the
    head, s, and that of a body after it. Both come in one packet; on a bad line it is sent again a few times."""
    body_max_bytes: int = 64 * 1024
    """Bounds the body of a request that may have one, in bytes: an order to change keys has 100. GET and HEAD have
    none."""
    linger_s: float = 2.0
    """Time for which the rest of a body is taken and dropped after an answer that came before its end, s: what was on
    its way when the answer left. Then the client has the answer."""
    linger_max_bytes: int = 16 * 1024 * 1024
    """Bounds that rest, in bytes: what the sockets at both ends hold."""
    keep_alive_s: float = 75.0
    """Time after which an idle connection is closed, s. Longer than a runtime pauses between two layers."""
    look_s: float = 0.5
    """Time between two looks for connections whose time is over, s: by this much a bound is exceeded at most. A look at
    4,096 connections takes about a millisecond."""
    stall_timeout_s: float = 60.0
    """Time after which the connection of a client that takes nothing is closed, s. A runtime that writes a layer to a
    slow disk pauses for seconds; a client that is gone without a word would hold a descriptor for hours."""


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Of `events`: what is told to people of what happens."""

    kept_max: int = 1024
    """Bounds the events that are remembered, each with up to a few hundred bytes. A node that starts has a hundred, a
    pull has two: so a person who comes after an hour sees what led to it."""
    followers_max: int = 32
    """Bounds those who follow at once. Each has a connection and is woken by every event; people open a few."""
    heartbeat_s: float = 10.0
    """Time after which who follows is told that nothing happened, s: so a connection that is gone is noticed."""


@dataclass(frozen=True, slots=True)
class PinSettings:
    """Of `pins`: what is kept whatever happens."""

    copies: int = 2
    """Copies of a pinned image if nobody says how many: one member may die."""
    pins_max: int = 512
    """Bounds the pins that can be ordered: each is some 200 bytes, told with every full exchange of two members."""
    pins_max_bytes: int = 80 * 1024
    """Bounds their records, in bytes. Two halves of a cluster that pinned apart have twice as much, and with
    `gone_max_bytes` all fits into what one member tells another of one topic, 256 KiB."""
    gone_max: int = 256
    """Bounds the records of what is pinned no more. A member that was away while more than so many were unpinned
    brings the oldest of them back."""
    gone_max_bytes: int = 80 * 1024
    """Bounds these, in bytes."""

    look_s: float = 2.0
    """Time between two looks at what is to be kept, s; what changes pins is looked at at once. A look at 500 images
    costs some 10 ms, in parts."""
    gone_s: float = 20.0
    """Time for which a member that is gone keeps its places, s: an agent that restarts is back within that time, and
    no image moves. With the 10 s in which gossip finds a member dead, `calm_s` and the look, repair begins within 40
    s."""
    calm_s: float = 5.0
    """Time for which the settled members have to be the same before anything is fetched, s: members that come and go
    together are seen one after the other."""
    declined_s: float = 900.0
    """Time for which a member that serves as a home no more keeps its places, s: one that is slow for a while
    (`ServingSettings.decline_s`) must not move what it keeps."""

    fetches_max: int = 2
    """Blobs that are fetched for pins at once: a disk and a link have room for what clients wait for."""
    bytes_per_s: float = 50e6
    """Bounds what is fetched for pins on average, in bytes a second: half of a link of 1 Gbit/s."""
    give_way_s: float = 0.5
    """Time after which is looked again whether clients of this node still wait for fetches, s."""
    give_way_max_s: float = 30.0
    """Bounds how long a blob for a pin gives way to clients, s: a busy node repairs slowly, but does."""
    fetch_max_s: float = 3600.0
    """Bounds the fetch of one blob for a pin, s: 4.5 GB at 10 Mbit/s."""
    retry_s: float = 5.0
    """Time until what could not be fetched is tried again, s; it doubles with each failure."""
    retry_max_s: float = 300.0
    """Bounds that time, s: a registry that is back is asked within five minutes."""
    cache_part: float = 0.9
    """The part of the cache that pins may fill: with less than a tenth left, what nodes run would pass through
    memory."""

    confirmed_s: float = 600.0
    """Time after which is asked again whether the keepers of an image have all of it, by a node that keeps what it has
    only until then, s."""
    ask_at_once: int = 16
    """Questions to members that are under way at once."""
    ask_s: float = 15.0
    """Bounds such a question, s: a small one takes `PeerSettings.head_s` at most."""

    parts_max: int = 4096
    """Bounds the manifests and blobs of one image: an index of 20 platforms with 50 layers each has a quarter."""
    orders_max: int = 64
    """Bounds the images that this node fetches by order at once, or hashes; who asks for more is told to wait."""
    order_kept_s: float = 600.0
    """Time for which the outcome of such an order is remembered, s: who gave it asks every second."""
    answer_s: float = 5.0
    """Time for which a question waits for the end of a hash before it is answered that it goes on, s."""
    hash_bytes_per_s: float = 200e6
    """Bounds what is read of the disk by order on average, in bytes a second."""
    progress_s: float = 1.0
    """Time between two reports of what goes on, s."""


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Of `archives`: what is read of an archive of images, and how an agent is asked by `skvaller load` and `save`."""

    members_max: int = 100_000
    """Bounds the members of an archive: one of a thousand images with 30 layers has as many."""
    heads_max: int = 8
    """Bounds the heads that precede a member: a long name, a long target and attributes are three."""
    extension_max_bytes: int = 64 * 1024
    """Bounds a long name, or the attributes of a member, in bytes. Names of image archives have under 200."""
    links_max: int = 8
    """Bounds the links that lead from one to the next: those of `docker save` are one or two."""
    documents_max_bytes: int = 32 * 1024 * 1024
    """Bounds the manifests and configurations that are held of an archive from a pipe until all its parts are there, in
    bytes: those of a thousand images. It keeps `skvaller load` under 128 MiB."""
    manifests_max: int = 4096
    """Bounds the manifests and indexes of one archive: a thousand images for four platforms."""
    depth_max: int = 4
    """Bounds how deep indexes lie in indexes: buildx has one in that of the layout, and nobody more than two."""
    window_max_bytes: int = 128 * 1024 * 1024
    """Bounds the memory that zstd takes to unpack, in bytes: what `zstd -d` allows. Archives of the usual levels take 8
    MiB."""
    expansion_max: int = 250
    """Bounds how many times its size a compressed archive expands. Layers of text shrink to a tenth or a twentieth;
    gzip can expand a thousand times."""
    expansion_free_bytes: int = 64 * 1024 * 1024
    """What any archive may expand to, in bytes, so that small ones full of zeros pass."""
    part_bytes: int = 1024 * 1024
    """What is read, hashed and written at once, in bytes: large enough that a hash runs beside the rest."""
    sent_bytes: int = 8 * 1024 * 1024
    """What the kernel is told to send at once of a file, in bytes: between two parts the progress is shown."""
    silent_s: float = 120.0
    """Bounds one wait for the agent, s: a registry may hash a large layer before it answers."""
    tries: int = 4
    """How often a blob that breaks off is asked for again, from where it broke off, before it fails."""
    answer_max_bytes: int = 64 * 1024
    """Bounds what is read of an answer that is an error, in bytes."""
    password_s: int = 24 * 3600
    """How long a password is good that is made for an agent of another machine, s: longer than any load takes."""
    line_s: float = 10.0
    """Time between two lines about the progress where there is no terminal, s."""


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Of `runtimes`: the files of container runtimes."""

    look_s: float = 15.0
    """Time between two looks whether somebody has taken away what was written, s: a look reads some small files, and a
    node that asks the registry itself for a quarter of a minute has lost little."""
    restart_s: float = 120.0
    """Bounds the restart of a runtime, s: systemd gives up after 90."""
    answer_s: float = 5.0
    """Bounds the question whether the agent is there, s: it is on this machine."""


@dataclass(frozen=True, slots=True)
class DoctorSettings:
    """Of `app.examination`: what an agent does for `skvaller doctor`, on this node and for other members."""

    copies: int = 3
    """Datagrams of each kind that try the way to a member: at a loss of 10 % one in 1,000 trials finds it closed."""
    spacing_s: float = 0.05
    """Time between two copies, s: what drops one of them in a burst is over by then."""
    echo_s: float = 1.0
    """Time for which answers to them are waited for, s: several round trips between the farthest nodes."""
    connect_s: float = 2.0
    """Bounds a connection that tries a port, s: a lost packet's first retransmission comes after 1 s."""
    again_s: float = 1.0
    """Time within which a member may have this node reach it back once, s: nobody looks more often, and a member makes
    this node send no more than some 5 KiB a second."""
    echoes_max: int = 64
    """Bounds the datagrams that are answered within a second: three kinds, three copies of each, from some members."""
    trials_max: int = 256
    """Bounds the trials of others whose datagrams are remembered."""
    members_at_once: int = 16
    """Members that are examined at a time: each takes some connections."""
    upstream_s: float = 10.0
    """Bounds the look at one registry, s: a name, a connection, a handshake, a token, each slower than is usual."""
    probe_s: float = 60.0
    """Time for which a probe that was announced is recognised, s: runtimes wait for half a minute at most."""
    probes_max: int = 32
    """Bounds the probes that are recognised at a time; each runtime takes one."""
    sightings_max: int = 16
    """Bounds the requests that are remembered of one probe: a runtime sends up to five."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    router: RouterSettings = field(default_factory=RouterSettings)
    dht: DhtTiming = field(default_factory=DhtTiming)
    peers: PeerSettings = field(default_factory=PeerSettings)
    channels: ChannelSettings = field(default_factory=ChannelSettings)
    signatures: SignatureSettings = field(default_factory=SignatureSettings)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    outages: OutageSettings = field(default_factory=OutageSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    containerd: ContainerdSettings = field(default_factory=ContainerdSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    plan: PlanSettings = field(default_factory=PlanSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    pins: PinSettings = field(default_factory=PinSettings)
    app: AppSettings = field(default_factory=AppSettings)
    push: PushSettings = field(default_factory=PushSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    archives: ArchiveSettings = field(default_factory=ArchiveSettings)
    events: EventSettings = field(default_factory=EventSettings)
    runtimes: RuntimeSettings = field(default_factory=RuntimeSettings)
    doctor: DoctorSettings = field(default_factory=DoctorSettings)
