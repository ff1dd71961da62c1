"""Whose credential a request has: files change, programs answer, fail, and are asked once for all who wait."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import Reason, UpstreamError
from mirror.settings import CredentialSettings
from mirror.sources.upstream.credentials import AuthPath, Credential, Credentials, IdentityToken, Password
from mirror.sources.upstream.registries import Registry

LAB = Registry("lab", "https://lab.example")
HARBOR = Registry("docker.io", "https://harbor.example/v2/hub")
ALWAYS = CredentialSettings(look_s=0.0)


class Program:
    """A credential program that says what it is told to say."""

    def __init__(self, said: Credential | UpstreamError | None = None) -> None:
        self.said = said
        self.asked: list[tuple[str, str]] = []

    async def ask(self, name: str, host: str, within_s: float) -> Credential | None:
        self.asked.append((name, host))
        await asyncio.sleep(0)
        if isinstance(self.said, UpstreamError):
            raise self.said
        return self.said


def written(folder: Path, **document: Any) -> AuthPath:
    new = folder / "new.json"
    new.touch(0o600)
    new.write_text(json.dumps(document))
    new.rename(folder / "auth.json")
    return AuthPath(folder / "auth.json")


def user(name: str) -> dict[str, str]:
    return {"username": name, "password": "x"}


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(), debug=True)


def test_a_password_in_the_url_counts_and_without_a_file_there_is_no_other() -> None:
    async def story() -> None:
        with_password = Registry("lab", "https://lab.example", "user", "x")
        assert await Credentials().of(with_password, "a") == Password("user", "x")
        assert await Credentials().of(LAB, "a") is None

    run(story)


def test_the_host_and_path_at_the_operators_url_say_which_entry_counts(tmp_path: Path) -> None:
    async def story() -> None:
        auths = {"docker.io": user("hub"), "harbor.example/hub/library": user("library"), "harbor.example": user("all")}
        credentials = Credentials(written(tmp_path, auths=auths))
        assert await credentials.of(HARBOR, "library/nginx") == Password("library", "x")
        assert await credentials.of(HARBOR, "team/app") == Password("all", "x")
        assert await credentials.of(Registry("docker.io", "https://registry-1.docker.io"), "a") == Password("hub", "x")

    run(story)


def test_a_file_that_changed_counts_at_once_and_one_that_is_wrong_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        path = written(tmp_path, auths={"lab.example": user("old")})
        credentials = Credentials(path, ALWAYS)
        assert await credentials.of(LAB, "a") == Password("old", "x")
        written(tmp_path, auths={"lab.example": user("new")})
        assert await credentials.of(LAB, "a") == Password("new", "x")
        written(tmp_path, auths={"lab.example": {"auth": "c2VjcmV0"}})
        for _ in range(3):
            assert await credentials.of(LAB, "a") == Password("new", "x")
        path.path.unlink()
        for _ in range(3):
            assert await credentials.of(LAB, "a") == Password("new", "x")
        written(tmp_path, auths={})
        assert await credentials.of(LAB, "a") is None

    run(story)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "c2VjcmV0" not in caplog.text
    assert "what it said before counts" in caplog.text


def test_a_program_is_asked_once_for_all_who_wait_and_again_after_a_refusal(tmp_path: Path) -> None:
    async def story() -> None:
        program = Program(IdentityToken("t"))
        credentials = Credentials(written(tmp_path, credHelpers={"lab.example": "pass"}), None, program.ask)
        found = await asyncio.gather(*(credentials.of(LAB, f"app{number}") for number in range(5)))
        assert found == [IdentityToken("t")] * 5
        assert await credentials.of(LAB, "a") == IdentityToken("t")
        assert program.asked == [("pass", "lab.example")]
        credentials.reject(HARBOR)
        await credentials.of(LAB, "a")
        assert len(program.asked) == 1
        credentials.reject(LAB)
        program.said = None
        assert await credentials.of(LAB, "a") is None
        assert len(program.asked) == 2
        await credentials.close()

    run(story)


def test_a_program_that_fails_is_told_and_left_alone_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        program = Program(UpstreamError(Reason.AUTH, "docker-credential-pass cannot run"))
        credentials = Credentials(written(tmp_path, credsStore="pass"), None, program.ask)
        for _ in range(3):
            with pytest.raises(UpstreamError, match="cannot run") as refusal:
                await credentials.of(LAB, "a")
            assert refusal.value.reason is Reason.AUTH
        assert program.asked == [("pass", "lab.example")]

    run(story)
    assert len(caplog.records) == 1


def test_who_waits_may_go_and_the_end_stops_what_runs(tmp_path: Path) -> None:
    async def story() -> None:
        asked = asyncio.Event()

        async def hang(name: str, host: str, within_s: float) -> Credential | None:
            asked.set()
            await asyncio.Event().wait()
            return None

        credentials = Credentials(written(tmp_path, credsStore="pass"), None, hang)
        first, second = (asyncio.create_task(credentials.of(LAB, name)) for name in "ab")
        await asked.wait()
        first.cancel()
        await asyncio.wait([first])
        await credentials.close()
        with pytest.raises(asyncio.CancelledError):
            await second

    run(story)


def test_answers_of_programs_are_bounded(tmp_path: Path) -> None:
    async def story() -> None:
        program = Program(Password("user", "x"))
        path = written(tmp_path, credsStore="pass")
        credentials = Credentials(path, CredentialSettings(hosts_max=2), program.ask)
        hosts = [Registry(name, f"https://{name}") for name in ("a", "b", "c")]
        for registry in (*hosts, hosts[2], hosts[1], hosts[0]):
            await credentials.of(registry, "x")
        assert [host for _, host in program.asked] == ["a", "b", "c", "a"]

    run(story)


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    async def story() -> None:
        path = written(tmp_path, auths={"lab.example": user("old")})
        os.chmod(path.path, 0o644)
        assert await Credentials(path).of(LAB, "a") is None

    run(story)
