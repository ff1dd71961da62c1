"""What `skvaller why` prints of what an agent answers."""

import json
from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner

from mirror.cli import main

MANIFEST, LAYER = (f"sha256:{digit * 64}" for digit in "ab")


def content(digest: str, kind: str, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "digest": digest,
        "kind": kind,
        "bytes": 3 * 1024 * 1024,
        "media_type": "",
        "platform": "",
        "here": None,
        "origin": None,
        "absent": "nobody has asked",
        "private": None,
        "holders": [],
        "fetches": [],
        "upstream": [],
    }
    return row | more


def answer(*contents: dict[str, Any], **more: Any) -> dict[str, Any]:
    following = {"holders": [], "homes": ["c"], "urls": ["https://r.test"], "refusal": None}
    row: dict[str, Any] = {
        "node": "me",
        "asked": MANIFEST,
        "reference": None,
        "tag": None,
        "digest": MANIFEST,
        "pinned": None,
        "repository": None,
        "registry": None,
        "content": list(contents),
        "next": following,
        "notes": [],
    }
    return row | more


def shown(monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], *flags: str) -> tuple[int, str]:
    asked: list[str] = []

    def ask(url: str, path: str) -> dict[str, Any]:
        asked.append(path)
        return told

    monkeypatch.setattr(import_module("mirror.cli.why"), "ask", ask)
    done = CliRunner().invoke(main, ["why", "app:1", *flags], env={"COLUMNS": "100"})
    assert len(asked) == 1
    return done.exit_code, done.output


def test_an_image_is_shown_in_tables_that_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    mib = 1024 * 1024
    fetch = {
        "asked": [
            {"source": "n2", "role": "home", "times": 3, "failed": 1, "bytes": mib, "seconds": 1.5, "answer": "stalled"}
        ],
        "failures": ["n2 sent nothing for too long"],
    }
    said = {
        "method": "GET",
        "url": "https://r.test",
        "status": 206,
        "redirected": "cdn.test",
        "remaining": "76;w=21600",
    }
    holders = [{"member": "me", "has": True, "bytes": 1}, *({"member": f"n{it}", "bytes": 1} for it in range(7))]
    status, text = shown(
        monkeypatch,
        answer(
            content(MANIFEST, "manifest", here="containerd", origin={"how": "runtime"}, absent=None, holders=holders),
            content(
                LAYER,
                "layer",
                here="cache",
                absent=None,
                private={"names": ["lab/app"], "policies": ["checked"]},
                origin={"how": "fetched", "sources": {"n2": 2 * mib, "n3": mib}, "origins": {"upstream": 3 * mib}},
                fetches=[fetch],
                upstream=[{**said, "failure": None, "age_seconds": 7200.0, "seconds": 0.25}],
            ),
        ),
    )
    rows = [line.split() for line in text.splitlines()]
    assert status == 0
    assert rows[3][:8] == ["manifest", "aaaaaaaaaaaa", "3.0", "MiB", "containerd", "the", "runtime's", "own"]
    assert "n0, n1, n2, n3 and 3 more" in " ".join(" ".join(rows[3] + rows[4]).split())
    assert "n2 2.0 MiB, n3 1.0 MiB" in " ".join(text.split())
    assert ["layer", "bbbbbbbbbbbb", "n2", "home", "3,", "1", "failed", "stalled", "1.0", "MiB", "1.5", "s"] in rows
    assert "206, redirected to cdn.test, 76 pulls left" in " ".join(text.split())
    assert "n2 sent nothing for too long" in text
    assert "it came with credentials as lab/app; the policy is checked" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_tag_is_shown_with_who_says_what_it_means_and_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = {"pattern": "docker.io/*:latest", "fresh_s": 300.0, "asks_upstream": True}
    policy |= {"stale_while_revalidate_s": 3600.0, "stale_if_error_s": None}
    tag = {
        "said": [{"member": "n2", "digest": MANIFEST, "authority": "upstream", "age_seconds": 12.0}],
        "upstream": [],
        "told": {
            "age_seconds": 3.0,
            "seconds": 0.02,
            "digest": MANIFEST,
            "member": "n2",
            "warning": "old",
            "failure": None,
        },
        "policy": policy,
        "homes": ["n3"],
    }
    budget = {"remaining": 4, "limit": 100, "age_s": 3.0, "wait_s": 0.0}
    registry = {"name": "docker.io", "urls": ["https://r.test"], "offline": False}
    registry |= {"refusal": None, "budgets": [budget]}
    told = answer(content(MANIFEST, "manifest", here="cache", absent=None, origin={"how": "cache"}))
    status, text = shown(
        monkeypatch, told | {"pinned": 2, "reference": "docker.io/a:1", "tag": tag, "registry": registry}
    )
    assert status == 1, "no row of holders has it"
    for line in (
        f"docker.io/a:1 is {MANIFEST}",
        "  says n2: aaaaaaaaaaaa, from upstream, 12 s ago",
        "  a client was told 3 s ago, after 20 ms: aaaaaaaaaaaa, as n2 said",
        "    with a warning: old",
        "  policy of docker.io/*:latest: fresh for 5 min, then upstream is asked",
        "    for 60 min the old answer is given meanwhile",
        "    if upstream does not answer, the old answer counts for ever",
        "  upstream is asked for all by n3, the tag's home now",
        "  pinned: kept on 2 members, whatever happens",
        "  registry docker.io at https://r.test: may be asked",
        "    budget: 4 of 100 pulls left, as it said 3 s ago",
    ):
        assert line in text.splitlines()


def test_what_is_not_here_is_shown_with_the_reason_and_what_would_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    status, text = shown(monkeypatch, answer(content(MANIFEST, "blob or manifest")))
    assert status == 1
    assert "blob or manifest aaaaaaaaaaaa: nobody has asked" in text
    assert "its homes, in order: c" in text
    assert "the registry: https://r.test" in text


def test_a_script_gets_what_the_agent_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    told = answer(content(MANIFEST, "manifest", holders=[{"member": "n2", "has": False, "bytes": 3}]))
    status, text = shown(monkeypatch, told, "--json", "--all", "--platform", "linux/arm64")
    assert (status, json.loads(text)) == (0, told)
