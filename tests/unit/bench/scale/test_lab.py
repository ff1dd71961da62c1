"""The model beside what the lab wrote."""

import json
from pathlib import Path

import pytest

from bench.report import BenchError
from bench.scale.lab import apart, check

_SETTINGS = {
    "scenario": "fanout", "nodes": 3, "image": 16 * 2**20, "layers": 4, "link": 10_000_000, "upstream": 10_000_000,
    "parallel": 3,
}  # fmt: skip


def _file(folder: Path, runs: list[tuple[str, float, float]], **settings: object) -> Path:
    target = folder / "lab.json"
    content = {
        "bench": "lab fanout",
        "settings": {**_SETTINGS, **settings},
        "runs": [{"mode": mode, "figures": {"ratio": ratio, "upstream": share}} for mode, ratio, share in runs],
    }
    target.write_text(json.dumps(content))
    return target


def test_each_mode_is_laid_beside_its_model(tmp_path: Path) -> None:
    file = _file(tmp_path, [("skvaller", 2.0, 1.0), ("direct", 3.3, 3.0), ("skvaller", 2.2, 1.02), ("unheard", 1, 1)])
    homes, direct = check([file])
    assert (homes.mode, homes.lab_ratio.values, homes.lab_upstream.values) == ("skvaller", [2.0, 2.2], [1.0, 1.02])
    assert homes.model_upstream.median == pytest.approx(1.0)
    assert len(homes.model_ratio.values) == 20
    assert direct.model_ratio.median == pytest.approx(3.0)
    assert direct.apart == pytest.approx(0.1)
    assert "2 comparisons" in apart([homes, direct])


def test_a_scenario_with_failures_is_left_out(tmp_path: Path) -> None:
    assert check([_file(tmp_path, [("skvaller", 2.0, 1.0)], scenario="kill")]) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": {}, "runs": []}'])
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    target = tmp_path / "other.json"
    target.write_text(content)
    with pytest.raises(BenchError, match=r"other\.json is no JSON that `bench lab` wrote"):
        check([target])
