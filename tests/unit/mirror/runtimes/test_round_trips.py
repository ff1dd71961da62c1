"""What is added to a runtime's files goes again without a trace: over files as operators have them, and after edits."""

import json
from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.runtimes import Addition, NotUnderstood, Runtime, Texts, Wanted
from mirror.runtimes.configuring import carry_out, plan_adding, plan_removing
from mirror.runtimes.host import Host
from mirror.runtimes.known import known
from mirror.runtimes.records import Records

FILES = Path(__file__).parent / "files"
PLACES = {
    "containerd": "/etc/containerd/config.toml",
    "containerd-hosts": "/etc/containerd/certs.d/_default/hosts.toml",
    "docker": "/etc/docker/daemon.json",
    "buildkit": "/etc/buildkit/buildkitd.toml",
    "podman": "/etc/containers/registries.conf",
    "podman-drop-in": "/etc/containers/registries.conf.d/50-corp.conf",
    "k3s": "/etc/rancher/k3s/registries.yaml",
    "rke2": "/etc/rancher/rke2/registries.yaml",
}
"""Where a folder of files belongs on a host. The runtime's name is before the first `-`."""
PROGRAMS = {
    "containerd": "/usr/bin/containerd",
    "docker": "/usr/bin/dockerd",
    "buildkit": "/usr/bin/buildkitd",
    "podman": "/usr/bin/podman",
    "k3s": "/usr/local/bin/k3s",
    "rke2": "/usr/local/bin/rke2",
}
EVERY = Wanted("http://127.0.0.1:5000", ("docker.io", "quay.io", "registry.corp.example:5000"))
ONE = Wanted("http://127.0.0.1:5000", ("docker.io",), every=False)
REFUSED = [("containerd-hosts", "inline-table.toml"), ("k3s", "anchors.yaml")]
"""Files in a form to which nothing can be added: their owner is told what to write."""
CASES = [case for path in sorted(FILES.glob("*/*")) if (case := (path.parent.name, path.name)) not in REFUSED]
runtimes = {runtime.name: runtime for runtime in known()}


def as_it_is(text: str) -> str:
    return text


def with_carriage_returns(text: str) -> str:
    return text.replace("\n", "\r\n")


def without_last_newline(text: str) -> str:
    return text.rstrip("\n")


def with_mark(text: str) -> str:
    return f"\ufeff{text}"


def with_tabs(text: str) -> str:
    return text.replace("    ", "\t").replace("  ", "\t")


VARIANTS = [as_it_is, with_carriage_returns, without_last_newline, with_mark, with_tabs]


class Site:
    """A host that has a runtime, with one file of it."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root = root
        self.path = PLACES[kind]
        self.runtime: Runtime = runtimes[kind.partition("-")[0]]
        program = root / PROGRAMS[self.runtime.name].lstrip("/")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()

    def put(self, texts: Texts) -> None:
        for path, text in texts.items():
            place = self.root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text.encode())

    def configured(self, wanted: Wanted) -> dict[str, Addition]:
        """What is to be written, and by `put` is."""
        installed = self.runtime.look(Host(self.root))
        assert installed is not None
        files = dict(self.runtime.add(installed, wanted).files)
        self.put({path: addition.text for path, addition in files.items()})
        return files

    def read(self, path: str) -> str | None:
        return Host(self.root).read(path)


def text_of(kind: str, name: str) -> str:
    return (FILES / kind / name).read_bytes().decode()


def site_with(root: Path, kind: str, text: str) -> Site:
    """A host with a file; skips what the runtime itself does not read."""
    if kind.partition("-")[0] not in runtimes:
        pytest.skip(f"there is no runtime {kind}")
    site = Site(root, kind)
    site.put({site.path: text})
    return site


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda each: each)
def test_what_is_added_goes_without_a_trace(tmp_path: Path, kind: str, name: str) -> None:
    for change, wanted in product(VARIANTS, [EVERY, ONE]):
        text = change(text_of(kind, name))
        site = site_with(tmp_path / change.__name__ / str(wanted.every), kind, text)
        try:
            added = site.configured(wanted)
        except NotUnderstood:
            assert change in (with_mark, with_tabs)  # some runtimes themselves refuse these
            continue
        assert site.configured(wanted) == {}, "twice is once"
        for path, addition in added.items():
            was = text if path == site.path else None
            assert site.runtime.remove(path, addition.text, addition.added) == was


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda each: each)
def test_a_host_is_as_before_when_all_is_undone(tmp_path: Path, kind: str, name: str) -> None:
    """Files, their modes and folders; and to look what would be written changes none of them."""
    site = site_with(tmp_path / "host", kind, text_of(kind, name))
    (site.root / site.path.lstrip("/")).chmod(0o640)
    host, records = Host(site.root), Records(tmp_path / "agent")
    before = everything_below(site.root)
    for wanted in (ONE, EVERY, EVERY, replace(EVERY, url="http://127.0.0.1:5999"), ONE):
        current = everything_below(site.root)
        plan = plan_adding(site.runtime, host, wanted, records)
        assert plan is not None
        assert everything_below(site.root) == current
        with records.locked():
            carry_out(plan, host, records)
        again = plan_adding(site.runtime, host, wanted, records)
        assert again is not None
        assert not again.steps, "twice is once"
    plan = plan_removing(site.runtime, host, records)
    if plan is not None:
        carry_out(plan, host, records)
    assert everything_below(site.root) == before
    assert plan_removing(site.runtime, host, records) is None


BROKEN = [
    ("docker", '{\n  "debug": true\n  "ipv6": true\n}\n', 3),
    ("docker", '{\n  // mirrors\n  "debug": true\n}\n', 2),
    ("docker", '["http://127.0.0.1:5000"]', 1),
    ("docker", '{"registry-mirrors": "https://mirror.gcr.io"}', None),
    ("docker", "{" + '"a": {' * 100_000, None),
    ("buildkit", "[worker.oci]\nenabled = yes\n", 2),
    ("buildkit", '[registry."docker.io"]\nmirrors = "mirror.gcr.io"\n', None),
    ("buildkit", '[registry."docker.io"]\n[registry."docker.io"]\n', 2),
    ("podman", "[[registry]]\nlocation = docker.io\n", 2),
    ("podman", "[[registry]]\ninsecure = true\n", None),
    ("podman", '[[registry]]\nlocation = "a.example"\n[registries.block]\nregistries = ["docker.io"]\n', None),
    ("podman-drop-in", '[registries.insecure]\nregistries = ["registry.corp.example:5000"]\n', None),
    ("containerd", "version = 2\n[plugins\n", 2),
    ("k3s", 'mirrors:\n  "*":\n   endpoint: [\n', None),
]


@pytest.mark.parametrize(
    ("kind", "text", "line"), [*BROKEN, *((kind, text_of(kind, name), None) for kind, name in REFUSED)]
)
def test_a_file_that_is_not_in_order_is_refused_by_name(tmp_path: Path, kind: str, text: str, line: int | None) -> None:
    site = site_with(tmp_path / "host", kind, text)
    before = everything_below(site.root)
    with pytest.raises(NotUnderstood) as refused:
        plan_adding(site.runtime, Host(site.root), EVERY, Records(tmp_path / "agent"))
    assert str(refused.value).startswith(f"{site.path}:{f'{line}:' if line else ''}")
    assert everything_below(site.root) == before


def everything_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files and folders, with their modes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def lines_in_both(one: str, other: str) -> Iterator[tuple[int, int]]:
    """Places between lines that two texts have in common, as offsets into each."""
    first, second = one.splitlines(keepends=True), other.splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for lines in (first,) for number in range(len(lines) + 1)]
    others = [sum(map(len, second[:number])) for number in range(len(second) + 1)]
    for block in SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks():
        for inside in range(1, block.size):
            yield starts[block.a + inside], others[block.b + inside]


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in CASES} - {"docker", "rke2"}))
@given(choice=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_others_lines_stay_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, kind: str, choice: st.DataObject
) -> None:
    """What others write between their lines is there afterwards, and nothing else."""
    name = choice.draw(st.sampled_from([name for each, name in CASES if each == kind]))
    before = choice.draw(st.sampled_from([as_it_is, with_carriage_returns, without_last_newline]))(text_of(kind, name))
    site = site_with(tmp_path_factory.mktemp("host"), kind, before)
    added = site.configured(EVERY)
    if site.path not in added:
        return
    addition = added[site.path]
    places = list(lines_in_both(before, addition.text))
    lines = choice.draw(
        st.lists(st.sampled_from(["# by hand\n", "\n", "  # [registry]\n", "# mirrors = [\n"]), max_size=3)
    )
    after, wished = addition.text, before
    if places:
        for line, (at, place) in zip(
            lines, sorted(choice.draw(st.lists(st.sampled_from(places), max_size=3)))[::-1], strict=False
        ):
            wished = wished[:at] + line + wished[at:]
            after = after[:place] + line + after[place:]
    if choice.draw(st.booleans()):
        end = "" if before.endswith("\n") or not before else "\r\n" if "\r\n" in before else "\n"
        wished += f"{end}# the end\n"
        after += ("" if after.endswith("\n") else "\n") + "# the end\n"
    assert site.runtime.remove(site.path, after, addition.added) == wished


NAMES = st.sampled_from(["debug", "mtu", "x-registry-mirrors", "note"])
VALUES = st.sampled_from(["true", "1450", '"}"', '["http://127.0.0.1:5000"]', '{"a": [1]}'])


@pytest.mark.parametrize("name", [name for kind, name in CASES if kind == "docker"])
@given(first=st.lists(st.tuples(NAMES, VALUES), max_size=2), last=st.lists(st.tuples(NAMES, VALUES), max_size=2))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_others_keys_stay_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, name: str, first: list[tuple[str, str]], last: list[tuple[str, str]]
) -> None:
    """The same for daemon.json: keys that others write before and behind all others."""
    before = text_of("docker", name)
    site = site_with(tmp_path_factory.mktemp("host"), "docker", before)
    addition = site.configured(EVERY)[site.path]

    def edited(text: str) -> str:
        settings = json.loads(text)
        begin = "".join(f'\n  "first-{key}": {value},' for key, value in first)
        if not settings:
            begin = begin.rstrip(",")
        text = text.replace("{", f"{{{begin}", 1)
        end = "".join(f',\n    "last-{key}": {value}' for key, value in last)
        end = end if settings or first else end.removeprefix(",")
        closing = text.rindex("}")
        content = text[:closing].rstrip()
        return content + end + text[len(content) :]

    shorter = site.runtime.remove(site.path, edited(addition.text), addition.added)
    assert shorter is not None
    if json.loads(before):
        assert shorter == edited(before)
    assert json.loads(shorter) == json.loads(edited(before))
