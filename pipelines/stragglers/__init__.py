"""What waiting for the slowest machine costs synchronous descent, and what buys it back.

``delays`` draws how slow machines are, and has closed forms; ``simulate`` follows steps event by
event; ``real_workers`` measures steps of worker processes that are slowed down likewise, and
``costs`` what messages take; ``steps_to_loss`` counts the steps that descent needs; ``figures``
draws the time that comes of both.
"""
