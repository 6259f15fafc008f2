"""A storage ring's beam current is watched, and what does not look like it raises an alarm.

``data`` and ``faults`` generate it, ``network`` learns what it looks like out of core, ``levels``
says how alarms come of residuals, ``calibration`` finds their thresholds in training data alone,
``detector`` watches a stream, ``detect`` is its command, ``events`` counts what was found,
``plain`` has plain methods beside it, ``machine_temperature`` a real signal, ``figures`` pictures.
"""
