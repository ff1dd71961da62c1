"""What a node knows of its cluster.

`homes` says which member fetches which piece; `view` who is up, holds and serves; `health` whom not to ask;
`throughput` how fast members deliver, and `slow` tells those that are slow.
"""
