"""The laws of mini-batch descent: closed forms beside what the loader and the trainer do.

A file has a family of laws: its runs, its closed forms and its figures. ``laws`` says what a law
is, ``model`` has the walkers that descend, ``walk`` trains and watches them, ``data`` makes rows.
"""
