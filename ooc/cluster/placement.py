"""Who serves which lane: as evenly as threads are, and with as few moves as may be."""

from collections.abc import Mapping


def place_lanes(
    lanes: int, threads: Mapping[str, int], before: Mapping[int, str]
) -> dict[int, str]:
    """Return the worker of each lane.

    Parameters
    ----------
    threads
        Of each worker that is there, at least one.
    before
        The worker of lanes that had one, which may be gone.

    Examples
    --------
    >>> place_lanes(4, {"a": 1, "b": 1}, {})
    {0: 'a', 1: 'b', 2: 'a', 3: 'b'}
    >>> place_lanes(4, {"b": 1, "c": 1}, {0: "a", 1: "b", 2: "a", 3: "b"})
    {0: 'c', 1: 'b', 2: 'c', 3: 'b'}
    """
    placed = {lane: who for lane, who in before.items() if who in threads}
    counts = {who: sum(each == who for each in placed.values()) for who in sorted(threads)}

    def load(who: str, more: int = 0) -> float:
        return (counts[who] + more) / threads[who]

    for lane in range(lanes):
        if lane not in placed:
            placed[lane] = min(counts, key=lambda who: load(who, 1))
            counts[placed[lane]] += 1
    while True:
        least = min(counts, key=lambda who: load(who, 1))
        most = max(counts, key=load)
        # A move has to leave both below what the fuller one had.
        if load(least, 1) >= load(most):
            return dict(sorted(placed.items()))
        lane = max(lane for lane, who in placed.items() if who == most)
        placed[lane] = least
        counts[most], counts[least] = counts[most] - 1, counts[least] + 1
