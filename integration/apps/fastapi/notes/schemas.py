"""What goes over the wire."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class NewNote(BaseModel):
    text: str = Field(min_length=1, max_length=10_000)


class NoteChange(BaseModel):
    done: bool


class Note(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    text: str
    done: bool
    created_at: datetime


class Run(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    at: datetime
    pid: int
    revision: str


class Migrations(BaseModel):
    """`migration_runs` before `app_starts`, each start at the newest revision: all went well."""

    revision: str
    migration_runs: list[Run]
    app_starts: list[Run]
