"""What sorted data do to learning, with each way to shuffle.

``data`` generates sorted rows, ``model`` trains in every way on them, ``pairs`` counts rows that
share a block and a batch, ``figures`` draws the losses.
"""
