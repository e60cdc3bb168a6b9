"""The command line: one file a command, loaded when it is called; listing them imports neither torch nor numpy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from thalweg import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "The main job on the embedded text: pilots, law, prediction, best schedule, proof.  thalweg demo",
    "train": "Train a recipe; resumes if the run exists.  thalweg train recipes/tiny.toml",
    "launch": "Train several recipes at once: here, on Ray, or by SLURM.  thalweg launch a.toml b.toml --workers 2",
    "fit": "Fit a loss-curve law to logged runs.  thalweg fit curves.csv --train a,b,c --out law.json",
    "predict": "Predict a schedule's loss curve.  thalweg predict law.json --schedule wsd:peak=3e-4 --steps 24000",
    "design": "The schedule of least predicted loss.  thalweg design law.json --steps 24000 --peak 3e-4 --warmup 2000",
    "plan": "A run for a budget: size, tokens, batch, rate, schedule.  thalweg plan --budget 1e20 --data-tokens 5B",
    "scale": "Hyperparameters of another batch size.  thalweg scale --optimizer adamw --from 256 --to 1024 --lr 3e-4",
    "schedule": "Print, draw or export a schedule.  thalweg schedule cosine:peak=3e-4,warmup=100 --steps 2000",
    "average": "Average checkpoints' weights.  thalweg average runs/a/checkpoints/* --kind sma --out averaged",
    "measure": "Curvature and sharpness of checkpoints.  thalweg measure runs/tiny --measures trace,density",
    "runs": "List, show, compare and export runs.  thalweg runs list",
    "sweep": "Tune optimizers alike and compare them; resumes.  thalweg sweep examples/sweep.toml --dry-run",
    "data": "Data plans: what is read, how often, in which order.  thalweg data plan PLAN.toml",
    "optim": "Optimizers: what each costs, and what it does to a model.  thalweg optim list",
    "study": "Claims of papers, tested: list, run, show.  thalweg study list",
    "atlas": "Write the page of all studies.  thalweg atlas --out atlas",
    "web": "The local pages: atlas, runs, schedule designer, planner.  thalweg web",
    "doctor": "What is installed, what is missing.  thalweg doctor",
}


def build():
    """The command tree (cyclopts)."""
    from cyclopts import App

    app = App(
        name="thalweg",
        version=_version,
        help="From short pilot runs predict a long run's loss, design its schedule, and prove it. Exit codes: 0 done, "
        "1 error, 2 usage, 3 not reproduced and 4 inconclusive (with --strict), 130 interrupted. --debug shows "
        "tracebacks.",
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
    )
    groups = {"runs": "runs:app", "sweep": "sweep:app", "data": "data:app", "optim": "optim:app", "study": "study:app"}
    for name, line in COMMANDS.items():
        app.command(f"thalweg.cli.{groups.get(name, f'{name}:{name}')}", name=name, help=line)
    app.register_install_completion_command(add_to_startup=False)
    return app


def _version() -> str:
    from importlib.metadata import version

    return f"thalweg {__version__}, torch {version('torch')}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 error, 2 usage, 130 interrupted."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    from cyclopts import CycloptsError

    from thalweg.errors import InputError, Interrupted, suggest

    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        return _fail(f"unknown command {words[0]!r}: {suggest(words[0], COMMANDS)}", 2, False)
    try:
        result = build()(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(f"{error}", 2, debug)
    except InputError as error:
        return _fail(str(error), 2, debug)
    except Interrupted as error:
        return _fail(f"interrupted, {error}: the same command resumes", 130, debug)
    except KeyboardInterrupt:
        return _fail("interrupted", 130, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: nobody to tell
        return 0
    except Exception as error:
        return _fail(f"{type(error).__name__}: {error}", 1, debug)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"thalweg: {' '.join(message.split())}", file=sys.stderr)
    return code


def entry() -> None:
    """The console script."""
    sys.exit(main())
