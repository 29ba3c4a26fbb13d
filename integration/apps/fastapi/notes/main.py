"""The web app: `uvicorn notes.main:app`.

It never migrates: it starts on a schema that is there, or not at all. Migrations are a step of
their own that runs once, before any worker (four workers that migrate at once are a race).
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from . import models, schemas
from .database import engine, session

# Uvicorn's own logger: its handler and format are there already.
log = logging.getLogger("uvicorn.error")

Db = Annotated[Session, Depends(session)]


def current_revision(db: Session) -> str:
    return db.execute(text("SELECT version_num FROM alembic_version")).scalar_one()


def record_start() -> None:
    """Fails without a schema: better a worker that does not start than one that answers 500."""
    with Session(engine) as db:
        revision = current_revision(db)
        db.add(models.AppStart(pid=os.getpid(), revision=revision))
        db.commit()
    log.info("notes: started, pid %d, schema %s", os.getpid(), revision)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    record_start()
    yield
    log.info("notes: stopped, pid %d", os.getpid())


app = FastAPI(title="notes", lifespan=lifespan)


@app.get("/healthz")
def healthz(db: Db) -> dict[str, str | int]:
    db.execute(text("SELECT 1"))
    return {"status": "ok", "pid": os.getpid()}


@app.get("/notes")
def list_notes(db: Db) -> list[schemas.Note]:
    found = db.scalars(select(models.Note).order_by(models.Note.id))
    return [schemas.Note.model_validate(note) for note in found]


@app.post("/notes", status_code=201)
def add_note(new: schemas.NewNote, db: Db) -> schemas.Note:
    note = models.Note(text=new.text)
    db.add(note)
    db.commit()
    return schemas.Note.model_validate(note)


@app.patch("/notes/{note_id}")
def change_note(note_id: int, change: schemas.NoteChange, db: Db) -> schemas.Note:
    note = db.get(models.Note, note_id)
    if note is None:
        raise HTTPException(404, "no such note")
    note.done = change.done
    db.commit()
    return schemas.Note.model_validate(note)


@app.get("/slow")
async def slow(seconds: Annotated[float, Query(ge=0, le=3600)] = 1.0) -> dict[str, float | int]:
    """A request that takes its time: what a graceful stop has to wait for."""
    log.info("notes: slow request of %g s begins", seconds)
    await asyncio.sleep(seconds)
    return {"slept": seconds, "pid": os.getpid()}


@app.get("/migrations")
def migrations(db: Db) -> schemas.Migrations:
    """What happened to the schema, and what each start of the app found."""
    runs = db.scalars(select(models.MigrationRun).order_by(models.MigrationRun.id))
    starts = db.scalars(select(models.AppStart).order_by(models.AppStart.id))
    return schemas.Migrations(
        revision=current_revision(db),
        migration_runs=[schemas.Run.model_validate(run) for run in runs],
        app_starts=[schemas.Run.model_validate(start) for start in starts],
    )
