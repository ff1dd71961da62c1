"""Packets: bytes, seals, replays, and what rides on them."""
