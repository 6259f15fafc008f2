"""Who serves which lane: as evenly as threads are, and with as few moves as may be."""

from collections.abc import Collection, Mapping, Sequence


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


def swap_lanes(
    placed: Mapping[int, str], dropped: Sequence[int], late: Collection[str]
) -> dict[int, str]:
    """Return the worker of each lane, where lanes of late workers change places with others.

    A lane of a late worker that has lost more rows than another changes places with the one that
    has lost fewest. So no lane is always the late worker's, and all lose alike: two lanes differ
    by what one of them loses between two calls.

    Parameters
    ----------
    placed
        The worker of each lane.
    dropped
        Rows that each lane has lost.
    late
        Workers that are late.

    Examples
    --------
    >>> swap_lanes({0: "a", 1: "b", 2: "c"}, [10, 90, 20], {"b"})
    {0: 'b', 1: 'a', 2: 'c'}
    """
    swapped = dict(placed)
    lost = sorted(
        (lane for lane in placed if placed[lane] in late), key=lambda lane: -dropped[lane]
    )
    kept = sorted(set(placed) - set(lost), key=lambda lane: (dropped[lane], lane))
    for lane, other in zip(lost, kept, strict=False):
        if dropped[other] < dropped[lane]:
            swapped[lane], swapped[other] = placed[other], placed[lane]
    return swapped
