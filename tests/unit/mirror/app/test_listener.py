"""A listener that lacks descriptors."""

import asyncio
import errno
import os
import socket
from functools import partial

import pytest

from mirror.app.listener import Listener, plainly
from mirror.app.places import Kind, Places
from mirror.settings import ServerSettings


@pytest.mark.parametrize(("error", "closed"), [(errno.EMFILE, 3), (errno.ENFILE, 3), (errno.EBADF, 0)])
def test_idle_connections_give_way_though_not_one_descriptor_is_free_to_see_it_by(
    monkeypatch: pytest.MonkeyPatch, error: int, closed: int
) -> None:
    def dup(_: int) -> int:
        raise OSError(error, os.strerror(error))

    async def story() -> None:
        places, settings = Places(lambda: [], 1000), ServerSettings(shed_max=3)
        gone: list[int] = []
        for number in range(10):
            places.take(Kind.STRANGER, f"10.1.0.{number}", partial(gone.append, number), 0.0)
        listener = Listener(ours, lambda place: asyncio.Protocol(), plainly, places, settings)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(os, "dup", dup)
                listener.relieve()
        finally:
            listener.close()
        assert gone == list(range(closed))

    ours, theirs = socket.socketpair()
    with ours, theirs:
        asyncio.run(story())
