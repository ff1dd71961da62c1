"""Kademlia's questions, over one stream to each peer that stays open, as go-libp2p has it.

The library opens a stream for each message and signs its own addresses anew each time: four times the bytes, and the
computing.

Source: libp2p specification, "kad-dht".
"""

import contextlib
from collections.abc import Sequence

import trio
from libp2p.abc import IHost, INetStream
from libp2p.kad_dht.common import MAX_DHT_MESSAGE_SIZE, PROTOCOL_ID
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.utils.varint import encode_uvarint, read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

CLOSE_S = 1.0
"""Bounds the end of a stream or connection that is given up, s: one small frame."""


class Messages:
    """Asks peers.

    Args:
        host: of libp2p.
        most: bounds the streams; the one that was opened first goes first.
    """

    def __init__(self, host: IHost, most: int) -> None:
        self._host = host
        self._most = most
        self._conversations: dict[ID, _Conversation] = {}

    async def providers(self, peer: ID, key: bytes) -> Sequence[PeerInfo]:
        """Whom a peer knows as providers of a key.

        Raises:
            Exception: it does not answer.
        """
        answer = await self._ask(peer, Message(type=Message.GET_PROVIDERS, key=key))
        return [info for said in answer.providerPeers if (info := _info(said)) is not None]

    async def provide(self, peer: ID, key: bytes, provider: PeerInfo) -> None:
        """Tell a peer that this node provides a key. It repeats the question as its answer.

        Raises:
            Exception: it does not answer.
        """
        addresses = [address.to_bytes() for address in provider.addrs]
        said = Message.Peer(id=provider.peer_id.to_bytes(), addrs=addresses)
        await self._ask(peer, Message(type=Message.ADD_PROVIDER, key=key, providerPeers=[said]))

    def forget(self, peer: ID) -> None:
        """A peer is gone: the next question to it opens a new stream."""
        self._conversations.pop(peer, None)

    async def _ask(self, peer: ID, question: Message) -> Message:
        conversation = self._conversations.get(peer)
        if conversation is None:
            if len(self._conversations) >= self._most:
                del self._conversations[next(iter(self._conversations))]
            conversation = self._conversations[peer] = _Conversation(self._host, peer)
        return await conversation.ask(question)


class _Conversation:
    """One question to a peer after the other.

    Args:
        host: of libp2p.
        peer: who is asked.
    """

    def __init__(self, host: IHost, peer: ID) -> None:
        self._host = host
        self._peer = peer
        self._turn = trio.Lock()
        self._stream: INetStream | None = None

    async def ask(self, question: Message) -> Message:
        """Ask, once more on a new stream if the old one has ended meanwhile."""
        async with self._turn:
            if self._stream is not None:
                with contextlib.suppress(Exception):
                    return await self._exchange(self._stream, question)
            return await self._exchange(await self._host.new_stream(self._peer, [PROTOCOL_ID]), question)

    async def _exchange(self, stream: INetStream, question: Message) -> Message:
        self._stream = None  # an answer that nobody has waited for would be taken for that of the next question
        try:
            sent = question.SerializeToString()
            await stream.write(encode_uvarint(len(sent)) + sent)
            answer = Message()
            answer.ParseFromString(await read_varint_prefixed_bytes_limited(stream, MAX_DHT_MESSAGE_SIZE))
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S), contextlib.suppress(Exception):
                await stream.reset()
            raise
        self._stream = stream
        return answer


def _info(said: Message.Peer) -> PeerInfo | None:
    """A peer as another names it; None if its addresses are not valid."""
    try:
        return PeerInfo(ID(said.id), [Multiaddr(address) for address in said.addrs])
    except ValueError:
        return None
