"""Handwritten digits, expanded to any number of rows, and models that learn from them.

``data`` reads, splits and expands the digits, ``model`` has what learns out of core, ``peers``
what it is compared with, ``figures`` the confusion matrix.
"""
