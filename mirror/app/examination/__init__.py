"""What an agent does to be examined: it gathers facts, has other members reach it back, and recognises probes.

Nothing here judges: that is for `mirror.doctor`.
"""
