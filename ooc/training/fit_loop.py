"""The fit loop: windows become steps, and watchers are asked in between."""

from collections.abc import Sequence

from ooc.core.errors import DataError, DivergedError, LostError
from ooc.engines.engine import Engine, passed_rows
from ooc.runs import checkpoint
from ooc.runs.run import Run
from ooc.stream.loader import Loader
from ooc.training.run_state import make_run
from ooc.training.session import Session
from ooc.training.watchers.watcher import Moment, Watcher


def fit_loop(engine: Engine, loader: Loader, epochs: int, watchers: Sequence[Watcher]) -> None:
    """Train from the loader's position until `epochs` epochs are over, or a watcher says stop.

    Watchers are asked in their order at the end of each window, and after each step that one of
    them names; the position is then exactly between two steps.
    """
    for window in loader.windows(epochs):
        used_up = False
        while not used_up:
            step, rows = engine.step, passed_rows(engine)
            try:
                used_up = engine.advance(window, min(each.next_step(step) for each in watchers))
            except LostError:
                # Steps that were taken before are whole: they can be saved.
                loader.advance(engine.step - step, passed_rows(engine) - rows, False)
                raise
            ends = used_up and window.last
            loader.advance(engine.step - step, passed_rows(engine) - rows, ends)
            moment = Moment(engine.step, window.epoch, engine.step > step, used_up, ends, window)
            # All of them are asked, whoever says stop.
            answers = [each.after(moment) for each in watchers]
            if any(answers):
                return


def fit_session(session: Session, watchers: Sequence[Watcher], resumed: bool) -> dict[str, Run]:
    """Train to the end, and return a run for each descent.

    Raises
    ------
    DataError, DivergedError
        If a row cannot be used, or the loss is not finite. What was saved before stays; a run
        that was never saved after a step leaves nothing. Where the cluster is lost that served
        the run, it is saved as it stands.
    """
    try:
        for each in watchers:
            each.begin(resumed)
        if not session.engine.ended:
            fit_loop(session.engine, session.loader, session.epochs, watchers)
        if session.loader.skipped_rows and not (session.engine.rows or resumed):
            path = session.loader.dataset.path
            raise DataError(f"no row of {path} could be used: each lacks a value or cannot be read")
    except (DataError, DivergedError) as error:
        if isinstance(error, LostError):
            for each in watchers:
                each.break_off()
        kept = _kept(session)
        if not kept:
            raise
        # A bad chunk's own error is made of other things than a text.
        kind = DivergedError if isinstance(error, DivergedError) else DataError
        raise kind(f"{error}{kept}") from None
    runs = [make_run(session, number, watchers) for number in range(len(session.tracks))]
    for each in watchers:
        each.end(runs)
    return {track.name: run for track, run in zip(session.tracks, runs, strict=True)}


def _kept(session: Session) -> str:
    """Say what is left of a session that failed; what was only begun is removed."""
    kept = ""
    for folder in filter(None, (track.folder for track in session.tracks)):
        steps = checkpoint.steps(folder)
        if steps and steps[-1] > 0:
            kept = kept or f"; {folder} holds the run after step {steps[-1]}"
        else:
            checkpoint.discard(folder)
    return kept
