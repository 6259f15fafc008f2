"""The picture of mistakes."""

import numpy as np
import pytest

from pipelines.mnist.figures import draw_confusion


@pytest.mark.slow
def test_the_picture_needs_no_mistakes() -> None:
    labels = np.arange(10).repeat(3)
    assert draw_confusion(labels, labels).png.startswith(b"\x89PNG\r\n\x1a\n")
