"""A client for the shell: of a scheduler that runs elsewhere, or of workers on this machine."""

import logging
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from ooc.core.errors import InputError

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security
    from tornado.ioloop import IOLoop

LOOPBACK, TLS = "127.0.0.1", "tls://"
CONNECT_SECONDS = 10
# A worker that was killed starts anew, however busy the machine. Whoever has not done so after 15
# seconds, or is then killed again, would by default be given up, with what would start it.
STARTS_ANEW = {"distributed.deploy.lost-worker-timeout": "1h"}
# A terminal sends them to all its processes; workers end with the run, which saves itself first.
ASKING_ALL = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


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
        self._check_readable()
        from distributed.security import Security

        return Security(require_encryption=True, **given)

    def _check_readable(self) -> None:
        assert self.ca_file and self.cert, "both are given"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(self.ca_file)
        except ssl.SSLError as error:
            raise InputError(
                f"--tls-ca-file {self.ca_file} holds no certificate of an authority as PEM: {error}"
            ) from None
        try:
            context.load_cert_chain(self.cert, self.key)
        except ssl.SSLError as error:
            raise InputError(
                f"--tls-cert {self.cert} and --tls-key {self.key} are no certificate and its key "
                f"as PEM: {error}"
            ) from None


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
    _quieten()
    if local_workers is not None:
        with _local(local_workers) as client:
            yield client
        return
    assert scheduler is not None, "one of them is given"
    security = certificates.security()
    if security is not None and not scheduler.startswith(TLS):
        raise InputError(
            f"files of TLS are for an address with {TLS}, which {scheduler} is not; give that of "
            "the scheduler as it prints it"
        )
    with _remote(scheduler, security) as client:
        yield client


@contextmanager
def _local(workers: int) -> "Iterator[Client]":
    if workers < 1:
        raise InputError(f"a cluster has at least 1 worker, not {workers}")
    from distributed import Client, LocalCluster

    from ooc.stream.scheduler import with_settings

    with (
        with_settings(STARTS_ANEW),
        _loop_that_is_not_asked() as loop,
        LocalCluster(
            n_workers=workers, threads_per_worker=1, host=LOOPBACK, memory_limit=0, loop=loop,
            dashboard_address=f"{LOOPBACK}:0", silence_logs=logging.CRITICAL,
            worker_dashboard_address=f"{LOOPBACK}:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


@contextmanager
def _loop_that_is_not_asked() -> "Iterator[IOLoop]":
    """Yield an event loop whose thread, with the processes that it starts, blocks `ASKING_ALL`."""
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    # Where it starts later, it lets the thread that starts it hear SIGINT again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING_ALL)
    try:
        runner.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield runner.loop
    finally:
        runner.stop()


@contextmanager
def _remote(address: str, security: "Security | None") -> "Iterator[Client]":
    # A client that comes to no scheduler may stay what Dask asks by default, and never answers.
    with _connected(address, security, as_default=False):
        pass
    with _connected(address, security, as_default=True) as client:
        yield client


def _connected(address: str, security: "Security | None", as_default: bool) -> "Client":
    from distributed import Client

    try:
        return Client(
            address, security=security, timeout=CONNECT_SECONDS, set_as_default=as_default
        )
    except (OSError, TimeoutError, TypeError, RuntimeError, ValueError) as error:
        raise InputError(_why_not(address, error)) from None


def _why_not(address: str, error: Exception) -> str:
    """Say why nobody could be connected to, and what to do."""
    told, causes, cause = str(error).partition("\n")[0], list[BaseException](), error.__cause__
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__
    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError):
            return (
                f"the certificate of the scheduler at {address} is not trusted: "
                f"{each.verify_message}; name the authority that signed it with --tls-ca-file"
            )
    if address.startswith(TLS) and "ssl_context" in told:
        return (
            f"{address} speaks TLS; name --tls-ca-file, --tls-cert and --tls-key, or set them in "
            "Dask's configuration"
        )
    if address.startswith(TLS) and "SSL" in told:
        return (
            f"the scheduler at {address} ended the TLS handshake: it does not trust the "
            "certificate, or speaks no TLS; name one that its authority signed with --tls-cert and "
            "--tls-key"
        )
    return (
        f"no scheduler answers at {address}: {told or type(error).__name__}; start one with dask "
        "scheduler, and give the address that it prints, such as tcp://HOST:8786"
    )


def _quieten() -> None:
    """Let Dask's loggers say nothing: what becomes of workers, a run says in words of its own."""
    import distributed  # noqa: F401  it gives its loggers levels of their own

    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
