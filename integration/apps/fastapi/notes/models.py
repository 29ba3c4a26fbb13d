"""The tables. The migrations create them; these classes only say what the code expects."""

from datetime import UTC, datetime

from sqlalchemy import func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    done: Mapped[bool] = mapped_column(default=False, server_default="0")
    created_at: Mapped[datetime] = mapped_column(default=now, server_default=func.now())


class MigrationRun(Base):
    """One row for each time Alembic ran here to its end, also when it had nothing to do."""

    __tablename__ = "migration_runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    pid: Mapped[int]
    revision: Mapped[str]


class AppStart(Base):
    """One row for each start of the web app, with the schema that it found."""

    __tablename__ = "app_starts"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    pid: Mapped[int]
    revision: Mapped[str]
