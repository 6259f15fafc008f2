"""Real processes, killed for real at random moments: the run ends with the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ooc.synthetic.kinds import Recipe, make

# Children are forked from a process that has done nothing but import, so that each begins at once.
CODE = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
import ooc
from ooc.runs import checkpoint
from ooc.models import Logistic
from ooc.optim import adam
from ooc.optim.schedules import cosine
from ooc.training.trainer import Trainer

data, folder, moments = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
saving = ooc.Saving(every_seconds=0.01, every_steps=700)


def train(run_dir, readers):
    optimizer = adam(schedule=cosine(), l2=1e-6)
    validation = ooc.Validation(0.1, every=500)
    model = Logistic(standardise=True)
    trainer = Trainer(model, optimizer, 64, memory="768MiB", readers=readers, validation=validation,
                      saving=saving, window=20)
    trainer.fit(ooc.open(data), 3, run_dir)


def go_on(run_dir, readers):
    ooc.resume(run_dir, readers=readers, saving=saving)


def begin(work, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    return pid


def ended(pid):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status


def sha(run_dir):
    return json.loads((run_dir / "run.json").read_text())["parameters_sha256"]


assert ended(begin(train, folder / "whole", 2)) == 0
begun = time.perf_counter()
assert ended(begin(train, folder / "again", 2)) == 0
duration = time.perf_counter() - begun
expected, chance = sha(folder / "whole"), random.Random(5)
killed_at, found = [], []
for moment in range(moments):
    run_dir = folder / str(moment)
    work, kills = train, 0
    while True:
        pid = begin(work, run_dir, chance.randint(1, 4))
        if kills and chance.random() < 0.7:
            assert ended(pid) == 0
            break
        time.sleep(chance.uniform(0, duration))
        os.kill(pid, signal.SIGKILL)
        if ended(pid) == 0:
            # The machine is faster than when it was measured.
            duration *= 0.8
            if kills:
                break
            shutil.rmtree(run_dir)
            continue
        kills += 1
        steps = checkpoint.steps(run_dir)
        killed_at.append(steps[-1] if steps else None)
        if not steps:
            # Or it is slower.
            duration *= 1.1
            shutil.rmtree(run_dir, ignore_errors=True)
        work = go_on if steps else train
    found.append(sha(run_dir))
    shutil.rmtree(run_dir)
print(json.dumps({"expected": expected, "found": found, "killed_at": killed_at}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("moments", [50])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
    tmp_path: Path, moments: int
) -> None:
    make(tmp_path / "a.zarr", Recipe("logistic", 100_000, 16))
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "a.zarr"), str(tmp_path), str(moments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["found"] == [result["expected"]] * moments
    # Kills fell into different places of the run, not all before it or after its end.
    places = {step for step in result["killed_at"] if step}
    assert len(places) >= 4
