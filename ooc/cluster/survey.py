"""What a run would ask of a cluster's workers, each asked what it holds already."""

from collections import Counter

from distributed import Client

from ooc.cluster.engine import check_cluster
from ooc.cluster.lane_memory import check_lanes, lane_bytes, lane_terms
from ooc.cluster.placement import place_lanes
from ooc.core.errors import InputError
from ooc.models.contract import Model
from ooc.optim import Method
from ooc.store.dataset import Dataset
from ooc.stream.plan import Plan, held_bytes


def survey(
    client: Client, model: Model, dataset: Dataset, method: Method, plan: Plan
) -> dict[str, dict[str, int]]:
    """Return lanes and projected bytes of each worker, by its address.

    Raises
    ------
    InputError
        If there is no worker, or a run cannot be shared out.
    TooSmallError
        If a worker's lanes do not fit its budget.
    """
    lanes = plan.order.lanes
    check_cluster(client, model, dataset, [method], plan.largest_batch, lanes)
    scheduler = client.scheduler_info()
    found = scheduler["workers"]
    if not found:
        raise InputError(
            f"{scheduler['address']} has no workers; start some with dask worker, and give "
            "them this address"
        )
    threads = {address: int(each["nthreads"]) for address, each in found.items()}
    held = client.run(held_bytes)
    one_lane = lane_bytes(model, dataset, [method.optimizer], plan)
    told = {}
    for address, count in Counter(place_lanes(lanes, threads, {}).values()).items():
        check_lanes(plan, count, one_lane, held[address], f"worker {address}")
        projected = sum(lane_terms(plan, count, one_lane, held[address]).values())
        told[address] = {"lanes": count, "threads": threads[address], "projected_bytes": projected}
    return told
