"""The DHT as a router, as far as no thread runs."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.errors import ConfigError, StartFailed
from mirror.routers import Peer, RingSeat, Serves
from mirror.routers.dht import DhtRouter, DhtSettings, KeysAreFixed
from testbed.network import free_address

ME = Peer("me", "127.0.0.1", 5001)


def settings(folder: Path, port: int = 4001) -> DhtSettings:
    return DhtSettings(
        me=ME, bind=("127.0.0.1", port), bootstrap=[], identity=folder / "dht.key", resolve_s=1.0, keys=(b"k" * 32,)
    )


def test_without_the_extra_the_error_says_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("mirror.routers.dht.") and name.endswith("node")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "trio", None)
    with pytest.raises(ConfigError, match=r"router: dht needs .*pip install 'skvaller\[dht\]'"):
        DhtRouter(settings(tmp_path))


def test_an_agent_that_gossips_imports_neither_trio_nor_libp2p() -> None:
    program = "import sys, mirror.agent; print([name for name in ('trio', 'libp2p') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def router(folder: Path) -> DhtRouter:
    pytest.importorskip("libp2p")
    return DhtRouter(settings(folder))


def test_before_it_runs_it_knows_nobody_and_does_no_harm(tmp_path: Path) -> None:
    async def story() -> None:
        dht = router(tmp_path)
        assert not dht.ready()
        assert dht.look_up(bytes(32)) is None
        dht.advertise([bytes(32)])
        dht.withdraw([bytes(32)])
        assert list(dht.locate(bytes(32))) == list(dht.members()) == []
        assert dht.alone() == ""
        await dht.close()

    asyncio.run(story())


def test_the_only_seat_is_its_own(tmp_path: Path) -> None:
    dht = router(tmp_path)
    assert list(dht.seats()) == [RingSeat(ME)]
    dht.set_serving(False)
    assert list(dht.seats()) == [RingSeat(ME, Serves.NO)]


def test_the_cluster_s_keys_stay_as_they_are(tmp_path: Path) -> None:
    async def story() -> None:
        dht = router(tmp_path)
        used: list[tuple[bytes, ...]] = []
        await dht.follow_keys(used.append)
        assert used == [(b"k" * 32,)] == [dht.keys()]
        for change in (dht.keyrings.list(), dht.keyrings.install(b""), dht.keyrings.use(b""), dht.keyrings.remove(b"")):
            with pytest.raises(KeysAreFixed, match="key file"):
                await change

    asyncio.run(story())


def test_a_taken_address_and_a_bad_key_are_refused(tmp_path: Path) -> None:
    async def story() -> None:
        pytest.importorskip("libp2p")
        at = free_address()
        first = DhtRouter(settings(tmp_path, at.port))
        await first.start()
        try:
            with pytest.raises(StartFailed, match=f"dht: cannot listen on 127.0.0.1:{at.port}"):
                await DhtRouter(settings(tmp_path / "other", at.port)).start()
        finally:
            await first.close()
        (tmp_path / "dht.key").write_bytes(b"short")
        with pytest.raises(ConfigError, match=r"dht\.key"):
            await DhtRouter(settings(tmp_path, at.port)).start()

    (tmp_path / "other").mkdir()
    asyncio.run(story())


def test_its_id_survives_a_restart_and_others_cannot_read_the_key(tmp_path: Path) -> None:
    pytest.importorskip("libp2p")
    from mirror.routers.dht.identity import load_or_make

    path = tmp_path / "dht.key"
    assert load_or_make(path).public_key.to_bytes() == load_or_make(path).public_key.to_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_make(tmp_path / "another.key").public_key.to_bytes() != load_or_make(path).public_key.to_bytes()
