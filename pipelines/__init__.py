"""Applications of `ooc`, a package each; they run from a clone: ``python -m pipelines.NAME``.

In each, ``__main__`` reads top to bottom, ``data`` generates or reads what is worked on, ``model``
says what descends, ``figures`` draws. What several share is in ``common``.
"""
