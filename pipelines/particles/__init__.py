"""Collision events whose likelihood ratio is known, and classifiers that learn from them.

``data`` draws events and knows their densities, ``model`` has what learns and how well it does,
``figures`` the ROC curves.
"""
