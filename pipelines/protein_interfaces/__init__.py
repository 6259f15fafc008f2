"""Rows that describe protein interfaces, and two networks against each other that make more.

What a row is, ``columns`` says. ``complexes`` reads the 81 measured ones, holds the published
predictor of their binding energy, and fits the ``Parameters`` that ``world`` draws rows from;
``data`` writes those out of core. Rows come from the disk to the ``model`` as they are: its
``kernels`` take them to the coordinates of ``coordinates``, in which counts are spread over their
cells and compositions have no sum to keep, train the critic and the generator there, and know
nothing of files. ``sampling`` runs a trained generator and takes coordinates back to rows, whose
counts are counts and whose hundredths of a percent sum to 10,000. ``quality`` compares rows with
held-out rows, whoever made them: the generator, or the plain methods of ``rivals``, or the same
networks in PyTorch, ``peers``. ``figures`` draws.

Rows are made of statistics of interfaces. Nobody designs a protein here.
"""
