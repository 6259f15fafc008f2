"""What the pipelines share.

``arguments`` reads the command line, ``command`` runs a pipeline and ends with its status,
``checks`` says what a value is held to, ``section`` is a part of what came out, ``table`` and
``figures`` show it, ``page`` puts all of it on one HTML page, ``dataset`` makes datasets or opens
those that are there, ``trajectory`` watches the loss of a run on its way.
"""
