"""What was tried, as long as a node is alone."""

from gossip.net.attempts import Attempts


def test_what_came_back_last_is_told_until_somebody_is_known() -> None:
    alone = True
    attempts = Attempts(lambda: alone)
    assert attempts.summary == "", "who looks for nobody is not alone"
    attempts.begin("a:1")
    assert attempts.summary == "a:1: it has not answered"
    attempts.note("a:1", "Connection refused")
    attempts.begin("a:1")
    attempts.note("c:3", "its name is not resolved")
    attempts.drop("c:3")
    attempts.note("b:2", "")
    assert attempts.summary == "a:1: Connection refused; b:2: it answers over TCP, but not over UDP"
    alone = False
    assert attempts.summary == ""
    attempts.note("b:2", "")
    alone = True
    assert attempts.summary == "", "what came back before is over"


def test_few_places_are_remembered_the_latest() -> None:
    attempts = Attempts(lambda: True)
    for number in range(100):
        attempts.note(f"a:{number}", "Connection refused")
    assert attempts.summary.count("Connection refused") == 16
    assert attempts.summary.endswith("a:99: Connection refused")
