"""What nftables prints of its counters, as it did for a network of two hosts."""

from testbed.counters import Count, Flow, counts_of

LISTED = """{"nftables": [
  {"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
  {"counter": {"family": "bridge", "name": "sent-port1", "table": "counted", "packets": 694, "bytes": 36172}},
  {"counter": {"family": "bridge", "name": "received-port1", "table": "counted", "packets": 0, "bytes": 0}}
]}"""


def test_counters_are_read_by_name() -> None:
    assert counts_of(LISTED) == {"sent-port1": Count(694, 36172), "received-port1": Count()}
    assert counts_of("") == {}


def test_flows_are_differences_of_each_way() -> None:
    before, after = Flow(Count(1, 10), Count(2, 20)), Flow(Count(4, 100), Count(2, 20))
    assert after - before == Flow(Count(3, 90), Count())
