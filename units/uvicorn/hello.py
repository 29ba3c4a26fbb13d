"""Says who answers, so that one sees the workers change: `curl http://127.0.0.1:8000/`."""

import os

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str | int]:
    return {"hello": "world", "pid": os.getpid(), "instance": os.environ.get("RINIT_INSTANCE", "-")}


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """For units/uvicorn-steered, which asks each worker."""
    return {"status": "ok"}
