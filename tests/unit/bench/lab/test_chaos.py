"""What a run of chaos rests on: faults follow from the seed, damage is what a disk does, and excuses are narrow."""

import os
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from bench.lab.chaos.acts import ACTS, Stage
from bench.lab.chaos.damage import DAMAGES
from bench.lab.chaos.library import Content, Meanings
from bench.lab.chaos.question import WRONG_BYTES, WRONG_HEAD, WRONG_TAG, Failure, Question, content_question
from bench.lab.chaos.schedule import KINDS, UPSTREAM, Fault, Traits, draw, lanes_of
from bench.lab.chaos.timeline import CUT, DOWN, FULL, LIMITED, LYING, Timeline
from bench.lab.chaos.verdict import DISK_FULL, FROM_UPSTREAM, NO_SOURCE, OWN_DOWN, Judge, Verdict
from testbed.errors import RunError
from testbed.faulty import Wrong

if TYPE_CHECKING:
    from bench.lab.chaos.member import Member

CONTENT = Content("library/a", "blobs", "sha256:" + "ab" * 32, b"right")
ASKED = Question("whole", "a blob", [CONTENT], False, lambda: 0)
TAG = Question("tag", "a tag", [CONTENT], True, lambda: 0)
SHORT = Failure("short read", "ended at 2")


# Questions


@pytest.mark.parametrize("wrong_at", [None, 5])
def test_each_part_of_an_answer_with_several_ranges_is_compared(
    wrong_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(3)
    content = Content("library/a", "blobs", "sha256:" + "ab" * 32, chance.randbytes(100_000) + b"\r\n\r\r\n")
    sent = bytearray(content.body)
    asked = [content_question(content, chance) for _ in range(100)]
    question = next(it for it in asked if it.kind == "several ranges")
    spans = [(int(start), int(stop)) for start, stop in re.findall(r"\((\d+), (\d+)\)", question.shown)]
    if wrong_at is not None:
        wrong_at += spans[-1][0]
        sent[wrong_at] ^= 1

    class Agent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Range"] == "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in spans)
            body = b"".join(b"\r\n--x\r\nContent-Type: a/b\r\n\r\n" + sent[start:stop] for start, stop in spans)
            self.send_response(206)
            self.send_header("Content-Type", "multipart/byteranges; boundary=x")
            self.send_header("Content-Length", str(len(body) + 9))
            self.end_headers()
            self.wfile.write(body + b"\r\n--x--\r\n")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Agent) as server:
        monkeypatch.setattr("bench.lab.chaos.question.CLIENT_PORT", server.server_port)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        try:
            with nullcontext() if wrong_at is None else pytest.raises(Failure, match=WRONG_BYTES) as failed:
                assert question.ask() == sum(stop - start for start, stop in spans)
        finally:
            thread.join()
    assert wrong_at is None or (failed is not None and failed.value.offset == wrong_at)


# The schedule


def nodes(*names: str) -> Mapping[str, Traits]:
    return {name: Traits(tight=True, bare=False, containerd=True, clock=True) for name in names}


def test_faults_follow_from_the_seed_and_the_lane_alone() -> None:
    one, more = draw(7, lanes_of(nodes("a")), 300), draw(7, lanes_of(nodes("a", "b")), 300)
    assert {name: more[name] for name in one} == one
    assert draw(8, lanes_of(nodes("a")), 300) != one


def test_what_is_left_out_leaves_the_rest_as_it_was() -> None:
    everything, less = (draw(7, lanes_of(nodes("a")), 300, without) for without in ((), ("kill", "flip")))
    for name, faults in everything.items():
        assert less[name] == [fault for fault in faults if fault.kind not in ("kill", "flip")]


def test_faults_of_a_lane_follow_each_other_and_are_over_in_time() -> None:
    lanes = lanes_of(nodes("a", "b"))
    schedule = draw(7, lanes, 600)
    assert {fault.kind for faults in schedule.values() for fault in faults} == {
        kind for lane in lanes.values() for kind in lane.kinds
    }
    for faults in schedule.values():
        ends = [0.0, *(fault.at_s + fault.seconds for fault in faults)]
        assert all(fault.at_s >= end for fault, end in zip(faults, ends, strict=False))
        assert ends[-1] <= 600


def test_every_kind_of_fault_has_an_act() -> None:
    assert sorted(ACTS) == KINDS


# Acts


class FakeAgent:
    """Runs, and ends with some status when it is told to stop."""

    name = "a"

    def __init__(self, status: int | None) -> None:
        self.agent = self
        self.runs = True
        self._status = status

    def stop(self) -> int | None:
        self.runs = False
        return self._status

    def launch(self) -> None:
        self.runs = True

    def become(self, odd: str) -> None:
        pass

    def is_ready(self) -> bool:
        return True

    def until(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("kind", ["restart", "lie about bytes"])
@pytest.mark.parametrize("status", [0, 1, -9, None])
def test_an_agent_that_does_not_end_well_when_it_is_told_to_is_a_defect_and_runs_again(
    kind: str, status: int | None
) -> None:
    agent, timeline = FakeAgent(status), Timeline()
    stage = cast("Stage", SimpleNamespace(members={"a": agent}, timeline=timeline))
    expected = nullcontext() if status == 0 else pytest.raises(RunError, match=f"stopped with status {status}")
    with expected, ACTS[kind](stage, Fault("a/process", 0, 0.0, kind, 0.0, 0)):
        pass
    assert agent.runs


# Damage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(random.Random(1).randbytes(10_000))
    os.utime(path, (1_000, 2_000))
    return path


def test_a_flip_changes_one_bit_and_neither_size_nor_mtime(file: Path) -> None:
    before, right = file.stat(), file.read_bytes()
    DAMAGES["flip"](file, random.Random(2))
    after, wrong = file.stat(), file.read_bytes()
    assert (after.st_size, after.st_mtime_ns, after.st_mode) == (before.st_size, before.st_mtime_ns, before.st_mode)
    assert [bin(one ^ other).count("1") for one, other in zip(right, wrong, strict=True) if one != other] == [1]


def test_what_is_on_its_way_is_not_flipped(file: Path) -> None:
    right = file.read_bytes()
    with file.open("rb") as reader:
        DAMAGES["flip"](file, random.Random(3))
        on_a_disk = os.major(os.fstat(reader.fileno()).st_dev) != 0
        assert (reader.read() == right) is not on_a_disk
        assert file.read_bytes() != right


@pytest.mark.parametrize("kind", ["truncate", "empty"])
def test_a_file_loses_its_end(file: Path, kind: str) -> None:
    right = file.read_bytes()
    DAMAGES[kind](file, random.Random(4))
    assert len(file.read_bytes()) < len(right)
    assert right.startswith(file.read_bytes())


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_an_empty_file_is_damaged_without_a_complaint(file: Path, kind: str) -> None:
    file.write_bytes(b"")
    DAMAGES[kind](file, random.Random(5))


# Tags


def test_a_tag_means_all_that_it_meant_within_a_time() -> None:
    meanings = Meanings(["one", "two"])
    before = time.monotonic()
    meanings.move("two")
    assert meanings.within(before - 100, before) == {"one"}
    assert meanings.within(before, time.monotonic()) == {"one", "two"}
    now = time.monotonic()
    assert meanings.within(now, now) == {"two"}
    assert meanings.ever == {"one", "two"}


# Verdicts


class FakeMember:
    """Has some content, or not."""

    def __init__(self) -> None:
        self.has = False

    def holds(self, hex_digest: str, body: bytes, since: float) -> bool:
        return self.has


class Case:
    """Two nodes, of which one has asked just now."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.members = {"asker": FakeMember(), "other": FakeMember()}
        self.wrongs: list[Wrong] = []
        self.during = ExitStack()

    def given(self, state: str, of: str) -> None:
        self.during.enter_context(self.timeline.during(state, of))

    def judge(self, failure: Failure = SHORT, question: Question = ASKED) -> Verdict:
        judge = Judge(cast("Mapping[str, Member]", self.members), self.timeline, self.wrongs)
        now = time.monotonic()
        return judge.judge(failure, "asker", question, now - 0.01, now)


@pytest.fixture
def case() -> Iterator[Case]:
    made = Case()
    with made.during:
        yield made


def test_an_error_while_all_is_well_is_a_defect(case: Case) -> None:
    assert case.judge() == Verdict(None, "upstream was there")


def test_the_own_agent_is_an_excuse_and_that_of_others_is_none(case: Case) -> None:
    case.given(DOWN, "other")
    assert case.judge().excuse is None
    case.given(DOWN, "asker")
    assert case.judge().excuse == OWN_DOWN


@pytest.mark.parametrize(("state", "of"), [(DOWN, UPSTREAM), (CUT, UPSTREAM), (LIMITED, "asker")])
def test_a_registry_away_is_an_excuse_unless_a_healthy_member_has_the_content(case: Case, state: str, of: str) -> None:
    case.given(state, of)
    assert case.judge().excuse == NO_SOURCE
    case.members["other"].has = True
    assert case.judge() == Verdict(None, "other had it")
    case.given(LYING, "other")
    assert case.judge().excuse == NO_SOURCE
    case.members["asker"].has = True
    assert case.judge() == Verdict(None, "asker had it")


def test_a_node_that_is_cut_off_has_only_what_it_holds(case: Case) -> None:
    case.given(CUT, "asker")
    case.members["other"].has = True
    assert case.judge().excuse == NO_SOURCE
    case.members["asker"].has = True
    assert case.judge().excuse is None


def test_a_full_disk_is_an_excuse_only_while_upstream_is_away(case: Case) -> None:
    case.members["other"].has = True
    case.given(FULL, "asker")
    assert case.judge().excuse is None
    case.given(DOWN, UPSTREAM)
    assert case.judge().excuse == DISK_FULL


def test_wrong_bytes_and_wrong_sizes_are_never_excused_by_what_was_down(case: Case) -> None:
    case.given(DOWN, "asker")
    assert case.judge(Failure(WRONG_BYTES, "byte 3", 3)).excuse is None
    assert case.judge(Failure(WRONG_HEAD, "Content-Length")).excuse is None


def test_the_byte_that_upstream_sent_wrong_to_this_very_node_is_counted_apart(case: Case) -> None:
    case.wrongs += [Wrong("other", CONTENT.digest, 3), Wrong("asker", CONTENT.digest, 4)]
    assert case.judge(Failure(WRONG_BYTES, "byte 3", 3)).excuse is None
    assert case.judge(Failure(WRONG_BYTES, "byte 4", 4)).excuse == FROM_UPSTREAM


def test_what_a_member_makes_of_a_tag_is_excused_only_while_upstream_is_away(case: Case) -> None:
    case.members["other"].has = True
    assert case.judge(Failure(WRONG_TAG, "never meant"), TAG).excuse is None
    case.given(DOWN, UPSTREAM)
    assert case.judge(Failure(WRONG_TAG, "never meant"), TAG).excuse == NO_SOURCE
