"""The suite: what is done is not done again, what is half-written never counts, what fails does not stop the rest."""

import fcntl
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from bench.lab.modes.table import MODES
from bench.lab.run import fits
from bench.lab.scenarios import SCENARIOS
from bench.report import BenchError
from bench.suite import done, run, steps
from bench.suite.done import is_done
from bench.suite.progress import Estimate, duration
from bench.suite.run import needs_root, run_all, run_step
from bench.suite.steps import Rivals, Step, plan
from bench.versions import code
from testbed.processes import spawn

GOOD = Step("good", ["serve", "--size", "1MiB"], 10.0)
OTHER = Step("other", ["relay"], 20.0)
WRITE = 'printf "{\\"bench\\": \\"$BENCH\\", \\"versions\\": {\\"code\\": \\"$CODE\\"}}" > "$JSON"'
"""What every bench does."""


def script(monkeypatch: pytest.MonkeyPatch, body: str) -> list[Sequence[str]]:
    """Stand a shell script in for the benches; the file that they write is `$JSON`. Returns their commands."""
    commands: list[Sequence[str]] = []

    def spawned(command: Sequence[str], **options: object) -> object:
        commands.append(command)
        given = f'JSON="{command[-1]}"; BENCH="{command[3]}"; CODE="{code()}"; {body}'
        return spawn(["sh", "-c", given], **options)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "spawn", spawned)
    return commands


def written(path: Path) -> object:
    return json.loads(path.read_text())["step"]["error"]


def all_of(wanted: Sequence[Step], folder: Path) -> tuple[bool, str]:
    out = io.StringIO()
    return run_all(Console(file=out, width=200), wanted, folder), out.getvalue()


def test_what_is_there_is_not_measured_again_unless_its_settings_or_the_code_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = script(monkeypatch, WRITE)
    assert all_of([GOOD, OTHER], tmp_path)[0]
    assert len(commands) == 2
    assert all_of([GOOD, OTHER], tmp_path)[0]
    assert len(commands) == 2, "both are there"
    assert not is_done(tmp_path / "good.json", Step("good", ["serve"], 10.0)), "other settings"
    monkeypatch.setattr(done, "code", lambda: "other code")
    assert not is_done(tmp_path / "good.json", GOOD)


def test_what_was_measured_of_code_that_was_edited_meanwhile_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, f"CODE=edited; {WRITE}")
    assert run_step(GOOD, tmp_path, lambda: None) is None
    assert json.loads((tmp_path / "good.json").read_text())["step"]["code"] == code()
    assert not is_done(tmp_path / "good.json", GOOD)


def in_modes(*modes: str, flags: Sequence[str] = (), nodes: int = 5) -> Step:
    """A step of the lab."""
    words = ["lab", "fanout", "--nodes", f"{nodes}", *(word for mode in modes for word in ("--mode", mode)), *flags]
    return Step("lab", words, 10.0)


SPEGEL = ("--spegel", "/opt/spegel", "--spegel-containerd", "/opt/containerd")


@pytest.mark.parametrize(
    ("wanted", "enough"),
    [
        (in_modes("skvaller", "dht"), True),
        (in_modes("dht"), True),
        (in_modes("skvaller", "dht", "spegel", flags=SPEGEL), True),
        (in_modes("skvaller", "dht", "spegel", flags=("--spegel", "/opt/newer")), False),
        (in_modes("skvaller", "direct"), False),
        (in_modes("skvaller", "dht", nodes=6), False),
    ],
)
def test_a_file_with_more_modes_than_are_wanted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Step, enough: bool
) -> None:
    script(monkeypatch, WRITE)
    run_step(in_modes("skvaller", "dht", "spegel", flags=SPEGEL), tmp_path, lambda: None)
    assert is_done(tmp_path / "lab.json", wanted) == enough


def test_what_is_compared_with_other_steps_is_run_again_when_their_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = script(monkeypatch, WRITE)
    compared = Step("scale", ["scale"], 10.0, ["good", "other"])
    assert all_of([GOOD, compared], tmp_path)[0]
    assert all_of([GOOD, compared], tmp_path)[0]
    assert [command[3] for command in commands] == ["serve", "scale"]
    assert all_of([GOOD, OTHER, compared], tmp_path)[0]
    assert [command[3] for command in commands[2:]] == ["relay", "scale"], "one has appeared, in the same run"
    assert commands[-1].count("--lab") == 2
    found = json.loads((tmp_path / "good.json").read_text())
    (tmp_path / "good.json").write_text(json.dumps({**found, "written_unix_s": 1.0}))
    assert all_of([GOOD, OTHER, compared], tmp_path)[0]
    assert [command[3] for command in commands[4:]] == ["scale"], "one has changed"


def test_without_root_nothing_is_run_and_nothing_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = script(monkeypatch, WRITE)
    step = in_modes("skvaller")
    (tmp_path / "lab.json").write_text("of other code")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BenchError, match="sudo python -m bench all"):
        all_of([GOOD, step], tmp_path)
    assert not commands
    assert (tmp_path / "lab.json").read_text() == "of other code"
    assert all_of([GOOD], tmp_path)[0], "this one needs no root"


@pytest.mark.parametrize("size", ["hour", "long", "quick", "smoke"])
def test_root_is_needed_by_the_steps_that_make_namespaces(size: str) -> None:
    for step in plan(size, Rivals()):
        real_gossip = step.name.startswith("gossip-nodes")
        assert needs_root(step) == (step.name.startswith("lab-") or real_gossip)


def test_a_step_that_fails_is_noted_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f'[ "$BENCH" = serve ] && {{ echo no disk; exit 3; }}; {WRITE}'
    commands = script(monkeypatch, body)
    whole, said = all_of([GOOD, OTHER], tmp_path)
    assert not whole
    assert written(tmp_path / "good.json") == "exit status 3\nno disk"
    assert written(tmp_path / "other.json") is None
    assert "failed" in said
    all_of([GOOD, OTHER], tmp_path)
    assert [command[3] for command in commands] == ["serve", "relay", "serve"], "what failed is tried again"


@pytest.mark.parametrize("half", ["", '{"bench": "se', "[]"])
def test_a_half_written_file_never_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    script(monkeypatch, f"printf '%s' '{half}' > \"$JSON\"")
    assert run_step(GOOD, tmp_path, lambda: None) is not None
    assert "good.part" in f"{written(tmp_path / 'good.json')}"
    (tmp_path / "good.json").write_text(half)
    (tmp_path / "other.part").write_text(half)
    assert not is_done(tmp_path / "good.json", GOOD)
    script(monkeypatch, WRITE)
    assert all_of([GOOD], tmp_path)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.json", "good.log"]


def test_ctrl_c_lets_the_step_clean_up_and_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file comes last: what is seen of it says that the script is ready for the signal.
    script(
        monkeypatch,
        f'trap "touch {tmp_path}/cleaned; exit 143" TERM; echo half > "$JSON"; while :; do sleep 0.02; done',
    )

    def tell() -> None:
        if (tmp_path / "good.part").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(GOOD, tmp_path, tell)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cleaned", "good.log"]


def test_two_suites_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    script(monkeypatch, WRITE)
    try:
        with pytest.raises(BenchError, match="another suite uses"):
            all_of([GOOD], tmp_path)
    finally:
        os.close(descriptor)
    assert all_of([GOOD], tmp_path)[0]


def test_the_step_is_known_by_the_code_that_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, WRITE)
    run_step(GOOD, tmp_path, lambda: None)
    found = json.loads((tmp_path / "good.json").read_text())["step"]
    assert (found["code"], found["arguments"]) == (code(), ["serve", "--size", "1MiB"])


def test_the_time_that_is_left_follows_from_what_the_first_steps_took() -> None:
    estimate = Estimate([10.0, 20.0, 30.0])
    assert estimate.left_s(0.0) == 60.0
    assert estimate.left_s(4.0) == 56.0
    assert estimate.left_s(100.0) == 50.0, "a step that takes longer than usual does not make the others shorter"
    estimate.add(20.0)
    assert estimate.left_s(0.0) == 100.0, "this machine takes twice as long as usual"
    estimate.add(40.0)
    estimate.add(60.0)
    assert estimate.left_s(5.0) == 0.0


def test_one_odd_step_does_not_decide_the_estimate() -> None:
    estimate = Estimate([1.0, 100.0])
    estimate.add(1000.0)
    assert estimate.left_s(0.0) == 400.0


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (300, "5 min"), (7500, "2 h 5 min")])
def test_durations_are_rounded(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("size", ["hour", "long", "quick", "smoke"])
def test_every_step_has_a_name_of_its_own_and_modes_that_its_scenario_has(size: str) -> None:
    planned = plan(size, Rivals(Path("/opt/spegel"), Path("/opt/containerd")))
    assert len({step.name for step in planned}) == len(planned)
    for step in planned:
        assert "/" not in step.name
        words = list(step.arguments)
        modes = [words[at + 1] for at, word in enumerate(words) if word == "--mode"]
        if words[0] == "lab" and words[1] in SCENARIOS:
            assert modes
            assert all(fits(MODES[mode], SCENARIOS[words[1]].needs) for mode in modes)
            assert ("spegel" in modes) <= ("ctr" in words), "Spegel serves what a containerd has"


def test_the_quick_suite_is_planned_for_less_than_ten_minutes_and_without_spegel() -> None:
    planned = plan("quick", Rivals())
    assert sum(step.usual_s for step in planned) < 600
    assert not any("spegel" in step.arguments for step in planned)


@pytest.fixture
def with_dht(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans as they are where libp2p is there, whether it is here or not."""
    monkeypatch.setattr(steps, "find_spec", lambda name: name)


def modes_of(step: Step) -> set[str]:
    words = list(step.arguments)
    return {words[at + 1] for at, word in enumerate(words) if word == "--mode"}


@pytest.mark.usefixtures("with_dht")
def test_the_suite_is_planned_for_about_an_hour_and_has_every_scenario_with_gossip_and_the_dht_often_enough() -> None:
    planned = plan("hour", Rivals())
    assert 55 * 60 <= sum(step.usual_s for step in planned) <= 75 * 60
    lab = {step.arguments[1]: step for step in planned if step.arguments[1:2] and step.arguments[1] in SCENARIOS}
    assert set(lab) == set(SCENARIOS)
    for scenario, step in lab.items():
        assert {"skvaller", "dht"} <= modes_of(step)
        repeats = "1" if scenario == "idle" else "3"  # one long look: what idle nodes send comes more than 15 s apart
        assert step.arguments[step.arguments.index("--repeats") + 1] == repeats
    every = {mode for step in planned for mode in modes_of(step)}
    assert every == {"skvaller", "exact", "dht", "direct", "pullthrough", "unshared"}


def test_a_long_run_takes_over_what_an_hour_has_measured_of_clusters() -> None:
    long = {step.name: step for step in plan("long", Rivals())}
    shared = [step for step in plan("hour", Rivals()) if step.name in long]
    assert shared == [long[step.name] for step in shared]
    assert len([step for step in shared if step.name.startswith("lab-")]) >= len(SCENARIOS)


def test_the_model_is_compared_with_steps_of_its_own_plan() -> None:
    for size in ("hour", "long"):
        names = [step.name for step in plan(size, Rivals())]
        (scale,) = [step for step in plan(size, Rivals()) if step.arguments[0] == "scale"]
        assert scale.checks
        assert all(names.index(check) < names.index(scale.name) for check in scale.checks)
