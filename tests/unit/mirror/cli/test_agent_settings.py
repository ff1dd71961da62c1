"""The agent's settings are found as it is started: by flags, by its unit, or in its usual file."""

from pathlib import Path

from mirror.cli.agent_settings import found_settings


def test_flags_count_first(tmp_path: Path) -> None:
    found = found_settings(["--name", "n7"], None, tmp_path)
    assert found.config is not None
    assert found.config.name == "n7"


def test_a_unit_names_its_file_and_its_user(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('name = "n8"\n')
    unit = tmp_path / "etc/systemd/system/skvaller.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nUser=skvaller\nExecStart=/opt/x/skvaller agent \\\n  --config {file}\n")
    found = found_settings([], None, tmp_path)
    assert found.config is not None
    assert (found.config.name, found.runs_as, found.origin) == ("n8", "skvaller", str(file))


def test_what_an_operator_added_to_the_unit_counts(tmp_path: Path) -> None:
    for name, text in {
        "skvaller.service": "[Service]\nUser=skvaller\nExecStart=/opt/x/skvaller agent --name n1\n",
        "skvaller.service.d/override.conf": "[Service]\nExecStart=\nExecStart=/x/skvaller agent --name n2\nUser=root\n",
    }.items():
        file = tmp_path / "etc/systemd/system" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = found_settings([], None, tmp_path)
    assert found.config is not None
    assert (found.config.name, found.runs_as) == ("n2", "root")


def test_a_unit_that_is_not_in_order_is_a_problem_and_no_end(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/system/skvaller.service"
    unit.parent.mkdir(parents=True)
    unit.write_text('[Service]\nExecStart=/opt/x/skvaller agent --name "n1\n')
    found = found_settings([], None, tmp_path)
    assert found.config is None
    assert "ExecStart" in found.problem


def test_the_usual_file_counts_without_a_unit(tmp_path: Path) -> None:
    file = tmp_path / "etc/skvaller/agent.toml"
    file.parent.mkdir(parents=True)
    file.write_text('nme = "n9"\n')
    found = found_settings([], None, tmp_path)
    assert found.config is None
    assert "is name meant?" in found.problem


def test_a_wrong_flag_is_a_problem_and_no_end(tmp_path: Path) -> None:
    found = found_settings(["--nonsense"], None, tmp_path)
    assert found.config is None
    assert "--nonsense" in found.problem


def test_without_any_it_is_what_an_agent_has_by_default(tmp_path: Path) -> None:
    found = found_settings([], None, tmp_path)
    assert found.config is not None
    assert not found.is_found
