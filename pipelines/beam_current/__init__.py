"""A storage ring's beam current is watched, and what does not look like it raises an alarm.

``data`` and ``faults`` generate it, ``network`` learns what it looks like out of core;
``detector`` watches a stream and keeps a ``state``, with ``filling`` for channels that stand and
``slow`` for drifts; ``calibration`` finds thresholds in training data alone, ``detect`` is the
command; ``events`` counts what was found, ``comparison`` and ``plain`` have plain methods beside
it, ``long_watch`` goes on for hours; ``machine_temperature`` is a real signal; ``figures`` draws.
"""
