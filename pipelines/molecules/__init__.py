"""Lennard-Jones clusters: a deterministic objective, where mini-batches are the wrong tool.

``energy`` is what descends, by ``minimisers`` in compiled code and ``scipy_minimisers`` beside
them; ``basin_hopping`` searches for the lowest minima, ``mini_batches`` shows the floor at which
batches of pairs stall, ``data`` writes an archive of minima, ``summary`` reads it out of core, and
``figures`` draws.
"""
