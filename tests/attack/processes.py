"""Commands in processes of their own, forked from one that has imported and loaded all it needs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from attack.ends import End

ROOT = Path(__file__).resolve().parent.parent.parent
# It reads a command a line, and tells the child's number; at its end, the child's status. Kernels
# are loaded, but no thread of theirs has begun.
CODE = """
import json, os, resource, signal, sys, tempfile
from pathlib import Path
import distributed, matplotlib.backends.backend_agg, matplotlib.backends.backend_svg
import matplotlib.figure, scipy.linalg, typer._adapters
import ooc, ooc.cli, ooc.cli.bench, ooc.core.progress_bar, ooc.report, ooc.runs.run
import ooc.shuffle.external_sort, ooc.store.verify
import ooc.shuffle.measurement, ooc.shuffle.mixing, ooc.synthetic, ooc.training.resume
from ooc.__main__ import main
from ooc.core.compile_child import load_kernels
from ooc.core.hashing import hashing_kernels
from ooc.core.progress import silent
from ooc.engines.kernels import engine_kernels
from ooc.models import Logistic
from ooc.optim import as_method, sgd
from ooc.runs.scoring import scoring_kernels
from attack.stores import write
from zarr.core.sync import cleanup_resources

def load():
    with tempfile.TemporaryDirectory() as folder:
        data = ooc.open(write(Path(folder, "a.zarr"), "v3"))
        for model in (Logistic(), Logistic(standardise=False)):
            wanted = engine_kernels(model, data, [as_method(sgd(0.1))], 16) + hashing_kernels()
            load_kernels(wanted + scoring_kernels(model, data), silent)
    cleanup_resources()

def child(order):
    os.chdir(order["folder"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if order["most_file_bytes"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        # What is printed goes to files, too.
        sys.stdout, sys.stderr = open(os.devnull, "w"), Told(order["err_pipe"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["most_file_bytes"], hard))
    sys.argv = ["ooc", *order["line"]]
    try:
        if order["line"][0] == "-c":
            exec(order["line"][1], {"ooc": ooc})
            os._exit(0)
        main()
    except SystemExit as error:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.code or 0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(99)

class Told:
    # What is told, through a pipe, which no limit is for.
    encoding = "utf-8"
    def __init__(self, path):
        self.number = os.open(path, os.O_WRONLY)
    def write(self, text):
        os.write(self.number, text.encode(errors="replace"))
        return len(text)
    def flush(self):
        pass
    def isatty(self):
        return False

load()
# Until a child listens, a signal ends it.
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "begin":
        number = os.fork()
        if number == 0:
            child(order)
        print(number, flush=True)
    else:
        done, status = os.waitpid(order["number"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if done else None), flush=True)
"""


class Forks:
    """Begins commands as a shell would, in an instant; a context manager."""

    def __init__(self, before: list[str] | None = None, prepare: str = "true") -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests", "OOC_CODE": CODE}
        script = f'{prepare} && exec "{sys.executable}" -c "$OOC_CODE"'
        self._process = subprocess.Popen(
            [*(before or []), "bash", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._count = 0
        self._files: dict[int, dict[str, Any]] = {}
        assert self._read() == "ready"

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _ask(self, **order: Any) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def begin(
        self, line: list[str], folder: Path | str = "/tmp", most_file_bytes: int | None = None
    ) -> int:
        """Begin a command, or lines of Python behind "-c"; return its process."""
        self._count += 1
        where = Path(f"/tmp/ooc-attack-{self._process.pid}-{self._count}")
        files = {"out": f"{where}.out", "err": f"{where}.err"}
        pipe = None
        for name in files.values():  # it may be killed before it has opened them
            Path(name).touch()
        if most_file_bytes is not None:
            Path(files["err"]).unlink()
            os.mkfifo(f"{where}.err")
            pipe = os.open(f"{where}.err", os.O_RDONLY | os.O_NONBLOCK)
            files["err_pipe"] = files["err"]
            files["err"] = os.devnull
        number = int(
            self._ask(
                do="begin", line=line, folder=str(folder), most_file_bytes=most_file_bytes, **files
            )
        )
        self._files[number] = {**files, "begun": time.monotonic(), "pipe": pipe}
        return number

    def status_now(self, number: int) -> int | None:
        """Return a process's exit status, below zero of a signal; None while it runs."""
        files = self._files[number]
        if files.get("status") is None:
            files["status"] = json.loads(self._ask(do="wait", number=number))
        status: int | None = files["status"]
        return status

    def end(self, number: int, bound: float) -> End:
        """Wait for a process; one that takes longer is killed, and its end is none."""
        files = self._files[number]
        while (status := self.status_now(number)) is None:
            if time.monotonic() - files["begun"] > bound:
                os.kill(number, 9)
                raise AssertionError(f"no end within {bound} s: {Path(files['err']).read_text()}")
            time.sleep(0.005)
        seconds = time.monotonic() - self._files.pop(number)["begun"]
        out = Path(files["out"]).read_text(errors="replace")
        if files["pipe"] is not None:
            err = os.read(files["pipe"], 2**16).decode()
            os.close(files["pipe"])
            Path(files["err_pipe"]).unlink()
        else:
            err = Path(files["err"]).read_text(errors="replace")
            Path(files["err"]).unlink()
        Path(files["out"]).unlink()
        return End(status, out, err, seconds)
