"""A client for the shell: of a scheduler that runs elsewhere, or of workers on this machine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ooc.core.errors import InputError

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Certificates:
    """Files of TLS, as ``dask scheduler`` and ``dask worker`` take them; Dask's own by default.

    Attributes
    ----------
    ca_file, cert, key
        Authorities that are trusted, the client's certificate, and its key.
    """

    ca_file: str | None = None
    cert: str | None = None
    key: str | None = None

    def security(self) -> "Security | None":
        """Return what Dask makes of them; None where it is to look into its configuration.

        Raises
        ------
        InputError
            If one is missing, or is no file.
        """
        given = {"tls_ca_file": self.ca_file, "tls_client_cert": self.cert}
        given["tls_client_key"] = self.key
        if not any(given.values()):
            return None
        for name, path in given.items():
            option = name.replace("client_", "").replace("_", "-")
            if path is None:
                raise InputError(
                    f"TLS needs --tls-ca-file, --tls-cert and --tls-key: no --{option}"
                )
            if not Path(path).is_file():
                raise InputError(f"--{option} {path} is no file; name one that holds it as PEM")
        from distributed.security import Security

        return Security(require_encryption=True, **given)


@contextmanager
def connected(
    scheduler: str | None = None,
    local_workers: int | None = None,
    certificates: Certificates = Certificates(),
) -> Iterator["Client | None"]:
    """Yield a client of the scheduler at an address, or of new workers here; None for neither.

    Workers that are started here are processes of one thread, listen on loopback alone, and end
    with it.

    Raises
    ------
    InputError
        If both are asked for, dask.distributed is not installed, or nobody answers.
    """
    if scheduler is None and local_workers is None:
        if certificates != Certificates():
            raise InputError("files of TLS are for --scheduler tls://HOST:PORT; give its address")
        yield None
        return
    if scheduler is not None and local_workers is not None:
        raise InputError(
            f"--scheduler {scheduler} and --local-cluster {local_workers} are two clusters; "
            "choose one"
        )
    if find_spec("distributed") is None:
        raise InputError(
            "a cluster needs dask.distributed, which is not installed; pip install 'ooc[cluster]' "
            "brings it"
        )
    # What its processes say of a worker that ends, a run says in words of its own.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if local_workers is not None:
        with _local(local_workers) as client:
            yield client
        return
    assert scheduler is not None, "one of them is given"
    with _remote(scheduler, certificates.security()) as client:
        yield client


@contextmanager
def _local(workers: int) -> "Iterator[Client]":
    if workers < 1:
        raise InputError(f"a cluster has at least 1 worker, not {workers}")
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, host=LOOPBACK, memory_limit=0,
            dashboard_address=f"{LOOPBACK}:0", silence_logs=logging.CRITICAL,
            worker_dashboard_address=f"{LOOPBACK}:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


@contextmanager
def _remote(address: str, security: "Security | None") -> "Iterator[Client]":
    from distributed import Client

    try:
        client = Client(address, security=security, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, TypeError, RuntimeError, ValueError) as error:
        told = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"no scheduler answers at {address}: {told}; start one with dask scheduler, and give "
            "the address that it prints, such as tcp://HOST:8786"
        ) from None
    with client:
        yield client
