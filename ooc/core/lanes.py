"""What is said of the lanes of a run that workers serve, on the progress line and in reports."""

from collections.abc import Mapping
from typing import Any


def describe_lanes(results: Mapping[str, Any], seconds: float) -> str:
    """Say who serves the lanes, what a step sends, and what is waited for or dropped.

    Parameters
    ----------
    results
        Of a run, or what it has come to so far; nothing is said of one without lanes of its own.
    seconds
        Of training, in which those of waiting were.

    Examples
    --------
    >>> so_far = {"lanes": 4, "workers": 2, "bytes_per_step": 2131, "answers_wait_seconds": 0.4}
    >>> describe_lanes({**so_far, "dropped_gradients": [3, 0, 4, 1]}, 2.0)
    '4 lanes on 2 workers, 2,131 bytes a step, 20% waiting, 8 gradients dropped'
    """
    if "lanes" not in results:
        return ""
    parts = [f"{results['lanes']} lanes"]
    if results.get("workers"):
        parts[0] += f" on {results['workers']} workers"
        parts.append(f"{results['bytes_per_step']:,} bytes a step")
        waited = results["answers_wait_seconds"]
        parts.append(f"{waited / seconds if seconds > 0 else 0.0:.0%} waiting")
    if "synchronisations" in results:
        parts.append(f"{results['synchronisations']:,} averages")
    if "dropped_gradients" in results:
        parts.append(f"{sum(results['dropped_gradients']):,} gradients dropped")
    return ", ".join(parts)
