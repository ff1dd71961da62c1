"""Measurements of gossip: beside serf with real processes, and by simulation where the machine is too small."""
