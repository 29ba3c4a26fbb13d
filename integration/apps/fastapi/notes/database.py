"""Where the data is and how to reach it. Knows nothing of HTTP; never creates a table."""

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

DATABASE_PATH = Path(os.environ.get("DATABASE_PATH", "/data/notes.sqlite3"))


def connect(path: Path = DATABASE_PATH) -> Engine:
    """Returns an engine; the file is opened at the first query, not here."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def set_pragmas(connection, _record) -> None:
        # Several workers write one file: wait for a lock, and let readers go on meanwhile.
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


engine = connect()


def session() -> Iterator[Session]:
    """One session a request (a FastAPI dependency)."""
    with Session(engine) as open_session:
        yield open_session
