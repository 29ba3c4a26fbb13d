"""The web app of the worker tests and of `benches/workers`: it says who answers, and misbehaves as told.

What a process does while it starts stands in the file `behaviour` of the directory $APP_STATE, a line
`KEY VALUE` each, read at import: to write that file is to put a new version on the disk.

  version V          the header x-version of every answer (default 1)
  import-seconds N   the import takes so long (the interpreter is free meanwhile)
  crash import       an exception at import
  crash exit         sys.exit(1) at import
  crash lifespan     an exception in the lifespan
  note accepts       a line `PID PORT` in the file `accepted` for each accept, before anything else is
                     done with the connection (with `--loop asyncio`)

Each process adds a line `PID VERSION` to the files `imports` and `started` there when it gets so far, so a
harness can wait for and count what no request shows.
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

STATE = Path(os.environ.get("APP_STATE", "."))


def read_behaviour() -> dict[str, str]:
    try:
        lines = (STATE / "behaviour").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in lines if line)


BEHAVIOUR = read_behaviour()
VERSION = BEHAVIOUR.get("version", "1")
HEADERS = {"x-worker": str(os.getpid()), "x-version": VERSION}
INSTANCE = os.environ.get("RINIT_INSTANCE", "-")


def note(name: str, what: object = VERSION) -> None:
    # One write with O_APPEND: lines of several processes do not mix.
    with (STATE / name).open("a") as file:
        file.write(f"{os.getpid()} {what}\n")


def note_accepts() -> None:
    plain = socket.socket.accept

    def accept(listener: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        connection, peer = plain(listener)
        note("accepted", peer[1])
        return connection, peer

    socket.socket.accept = accept


note("imports")
if BEHAVIOUR.get("note") == "accepts":
    note_accepts()
time.sleep(float(BEHAVIOUR.get("import-seconds", "0")))
if BEHAVIOUR.get("crash") == "import":
    raise RuntimeError("told to crash at import")
if BEHAVIOUR.get("crash") == "exit":
    sys.exit(1)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    if BEHAVIOUR.get("crash") == "lifespan":
        raise RuntimeError("told to crash in the lifespan")
    note("started")
    yield


app = FastAPI(title="workers", lifespan=lifespan)
failing = False
hoard: list[bytes] = []


def answer(text: str, status: int = 200) -> Response:
    return PlainTextResponse(text, status, HEADERS)


@app.get("/ping")
async def ping() -> Response:
    """Who answers: pid and instance. 503 while this process was told to be ill."""
    return answer(f"{os.getpid()} {INSTANCE}\n", 503 if failing else 200)


@app.get("/healthz")
async def healthz() -> Response:
    return answer("ill\n", 503) if failing else answer("well\n")


@app.get("/fail-health")
async def fail_health(ill: bool = True) -> Response:
    """From here on this one process is ill, or well again."""
    global failing
    failing = ill
    return answer(f"{os.getpid()}\n")


@app.get("/hold")
async def hold() -> Response:
    """Answers once the file `release` is in $APP_STATE."""
    while not (STATE / "release").exists():
        await asyncio.sleep(0.05)
    return answer("released\n")


@app.get("/slow")
async def slow(seconds: float = 1.0) -> Response:
    await asyncio.sleep(seconds)
    return answer(f"slept {seconds}\n")


@app.get("/block")
async def block(seconds: float = 1.0) -> Response:
    """Sleeps in the event loop, which a coroutine must never do: nothing else is served meanwhile."""
    time.sleep(seconds)
    return answer(f"blocked {seconds}\n")


@app.get("/spin")
async def spin() -> Response:
    """Never answers, and takes a whole CPU."""
    while True:
        pass


@app.get("/sse")
async def sse() -> Response:
    """Never ends."""

    async def events() -> AsyncIterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            await asyncio.sleep(0.5)

    return StreamingResponse(events(), headers=HEADERS, media_type="text/event-stream")


@app.get("/leak")
async def leak(mb: int = 1, pid: int = 0) -> Response:
    """Keeps so many megabytes, written to, for ever; where one is named, only that process does."""
    if pid in (0, os.getpid()):
        hoard.append(os.urandom(4096) * 256 * mb)
    return answer(f"{sum(map(len, hoard)) >> 20}\n")
