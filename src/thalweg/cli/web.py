"""thalweg web: the local pages."""

from __future__ import annotations

from pathlib import Path

__all__ = ["web"]


def web(root: Path | None = None, /, *, port: int = 8765, write: bool = False) -> None:
    """Serve the pages on 127.0.0.1 until Ctrl-C: atlas of studies, runs, schedule designer, planner.

    Parameters
    ----------
    root
        Folder of the runs [default: runs, or $THALWEG_HOME].
    port
        Port to listen at; 0 takes a free one.
    write
        Let the pages start studies and write files under the folder of the runs; else they only read.
    """
    from thalweg.runs.state import run_root
    from thalweg.web.site.serve import serve

    serve(run_root() if root is None else root, port=port, write=write)
