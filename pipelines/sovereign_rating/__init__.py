"""Sovereign ratings: figures and news read by one network, beside the best that is possible.

``chain`` is the hidden life of a country's credit, ``world`` draws countries and what is published
of them, ``headlines`` words the news, ``data`` stores parts that a split by countries and years
makes; ``best`` is the exact filter, ``network`` and ``plain`` learn, ``scores`` judges all alike;
``notches``, ``table_file`` and ``own_table`` are for a table of one's own.
"""
