"""What members have this node do."""

import asyncio

import pytest

from mirror.errors import Refusal
from mirror.oci.digest import Digest
from mirror.pins.orders import Hashed, Hashes
from mirror.settings import PinSettings

BLOBS = [Digest.of(bytes([number])) for number in range(9)]


def test_who_orders_hashes_and_leaves_keeps_nobody_else_from_it() -> None:
    async def story() -> None:
        may_end, ended = asyncio.Event(), list[Digest]()

        async def verify(digest: Digest) -> bool:
            await may_end.wait()
            ended.append(digest)
            return True

        hashes = Hashes(verify, lambda digest: 1, PinSettings(orders_max=4, answer_s=0.0))
        assert [await hashes.hash(digest) for digest in BLOBS[:4]] == [Hashed.WAIT] * 4
        with pytest.raises(Refusal):
            await hashes.hash(BLOBS[4])
        may_end.set()
        while len(ended) < 4:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await hashes.hash(BLOBS[3]) is Hashed.RIGHT, "who comes back hears of it"
        for digest in BLOBS[4:]:
            may_end.clear()
            assert await hashes.hash(digest) is Hashed.WAIT
            may_end.set()
            while digest not in ended:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        await hashes.close()

    asyncio.run(story())
