"""Ways to find peers, behind the `Router` contract."""
