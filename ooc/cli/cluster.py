"""Options that name a cluster whose workers serve a run's lanes, and say how often lanes meet."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ooc.cli.groups import option

if TYPE_CHECKING:
    from distributed import Client

    from ooc.engines.synchronisation import Synchronisation


@dataclass(frozen=True)
class ClusterOptions:
    """Who serves the lanes: this process by default."""

    scheduler: str | None = option(
        "Address of a Dask scheduler, such as tcp://HOST:8786, whose workers serve the lanes."
    )
    local_cluster: int | None = option(
        "Start so many worker processes on this machine for the run, which serve the lanes."
    )
    tls_ca_file: str | None = option("Authorities that are trusted, PEM.", unset="Dask's own")
    tls_cert: str | None = option("The client's certificate, PEM.", unset="Dask's own")
    tls_key: str | None = option("The key of that certificate, PEM.", unset="Dask's own")

    def connected(self) -> "AbstractContextManager[Client | None]":
        """Connect for as long as a context lasts; to None where no cluster is asked for."""
        from ooc.cluster.connection import Certificates, connected

        certificates = Certificates(self.tls_ca_file, self.tls_cert, self.tls_key)
        return connected(self.scheduler, self.local_cluster, certificates)


@dataclass(frozen=True)
class SynchronisationOptions:
    """How often lanes meet."""

    local_steps: int = option(
        "Steps that each lane takes by itself before parameters are averaged; 1 is exact.", 1
    )
    outer_momentum: float = option(
        "Nesterov momentum of that average from round to round; 0.9 in DiLoCo.", 0.0
    )
    outer_rate: float = option("What its change is multiplied with; 0.7 in DiLoCo.", 1.0)

    backup_lanes: int = option(
        "Lanes of a cluster that a step does not wait for; what they lose is counted.", 0
    )

    def make(self) -> "Synchronisation":
        """Make what the options say."""
        from ooc.engines.synchronisation import Synchronisation

        rounds = (self.local_steps, self.outer_momentum, self.outer_rate)
        return Synchronisation(*rounds, self.backup_lanes)
