"""What is said of a run behind one address: which goals are missed, and figures that JSON can hold."""

import json

from bench.lab.hub.pulls import Round
from bench.lab.hub.questions import Crowd, Moved, Outage
from bench.lab.hub.settings import FRESH_S, HOWS, PERIODS, Settings
from bench.lab.hub.tables import LEAST, Asked, report
from bench.report import Report
from testbed.hub import Counts, Kind

SETTINGS = Settings(modes=("skvaller", "direct"), nodes=2, images=3, image=1000, limit=3)


def made(failed: int = 0, gets: int = 3, old_ms: float = 20.0, heads: int = PERIODS, nodes_seen: int = 2) -> Report:
    counts = Counts({Kind.MANIFEST: gets, Kind.HEAD: 3})
    rounds = {mode: [Round("all", 6, {"no": failed} if failed else {}, 1.0, counts)] for mode in SETTINGS.modes}
    outage = Outage([1.0, 2.0], [1.0], [16.0], [old_ms], 0, 2.0, [0.1], [404])
    seen = {f"node{number}": FRESH_S - 0.5 for number in range(nodes_seen)}
    crowd = Crowd(Counts({Kind.HEAD: 1, Kind.MANIFEST: 1, Kind.TOKEN: 1}), [200] * 4, 0.1)
    moved = Moved(Counts({Kind.HEAD: heads}), seen)
    asked = Asked(outage, dict.fromkeys(HOWS, moved), dict.fromkeys(HOWS, crowd))
    return report(SETTINGS, rounds, asked, {})


def missed(found: Report) -> list[str]:
    return [goal.what for goal in found.goals if not goal.reached]


def test_goals_that_are_missed_are_named() -> None:
    assert missed(made()) == []
    assert missed(made(failed=1)) == ["pulls that failed"]
    assert missed(made(gets=4)) == ["manifest GETs that upstream counts, all rounds"]
    assert missed(made(old_ms=25.0)) == ["the same, where the tag is to be asked of"]
    assert missed(made(heads=PERIODS + 2)) == [f"{LEAST}: HEADs for a tag in {PERIODS} of its times, all nodes"]


def test_a_node_that_never_sees_that_a_tag_has_moved_is_a_goal_missed() -> None:
    unseen = [f"{how}: s until all nodes see a tag that has moved" for how in HOWS]
    assert missed(made(nodes_seen=1)) == missed(made(nodes_seen=0)) == unseen


def test_details_are_plain() -> None:
    details = json.loads(json.dumps(made(failed=1).details))
    assert details["rounds"]["direct"][0]["counts"]["manifest"] == 3
    assert details["rounds"]["direct"][0]["errors"] == {"no": 1}
