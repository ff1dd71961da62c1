"""Credential programs, as real processes: what they answer, and that none outlives its question."""

import asyncio
import os
from pathlib import Path

import pytest

from mirror.errors import UpstreamError
from mirror.sources.upstream.credentials import Credential, IdentityToken, Password
from mirror.sources.upstream.credentials.programs import ask_program

WITHIN_S = 20.0


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def program(folder: Path, script: str) -> None:
    file = folder / "docker-credential-test"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def ask(host: str = "lab.example", within_s: float = WITHIN_S) -> Credential | None:
    return asyncio.run(ask_program("test", host, within_s), debug=True)


@pytest.mark.parametrize(("host", "told"), [("lab.example:5000",) * 2, ("docker.io", "https://index.docker.io/v1/")])
def test_a_program_is_asked_for_a_host_and_answers_with_a_user_and_a_secret(
    tmp_path: Path, host: str, told: str
) -> None:
    program(tmp_path, """read host; printf '{"ServerURL":"%s","Username":"%s","Secret":"x"}' "$1" "$host" """)
    assert ask(host) == Password(told, "x")
    program(tmp_path, """printf '{"Username":"<token>","Secret":"t"}'""")  # it does not even read
    assert ask(host) == IdentityToken("t")


def test_a_host_that_it_does_not_know_has_no_credential(tmp_path: Path) -> None:
    program(tmp_path, "echo credentials not found in native keychain; exit 1")
    assert ask() is None


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo secret; exit 3", "gave no credential for lab.example: exit status 3"),
        ("echo secret", "without a user and a secret"),
        ('echo \'{"Username": "secret"}\'', "without a user and a secret"),
        ("yes secret", "without a user and a secret|exit status"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_shows_nothing_of_it(tmp_path: Path, script: str, complaint: str) -> None:
    program(tmp_path, script)
    with pytest.raises(UpstreamError, match=complaint) as refusal:
        ask()
    assert "secret" not in str(refusal.value).removesuffix("without a user and a secret")


def test_one_that_is_not_there_says_so() -> None:
    with pytest.raises(UpstreamError, match="docker-credential-none cannot run: No such file"):
        asyncio.run(ask_program("none", "lab.example", WITHIN_S))


def test_one_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    program(tmp_path, f"exec 3> {tmp_path}/alive; sleep 600 & sleep 600")
    with pytest.raises(UpstreamError, match=r"gave no answer about lab\.example within 0\.5 s"):
        ask(within_s=0.5)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # all who had it open for writing are gone
    os.close(reader)
