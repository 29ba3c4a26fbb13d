//! rinit as PID 1 of real containers: `docker stop`, `kill -s`, `-it`, read-only, unprivileged, and
//! the FastAPI image of `Dockerfile.example` itself.
//!
//! The fixture uses a Docker daemon that answers, or else starts a private one. It pulls nothing:
//! the images are made here, from this build's own static binaries and from Debian's packages.
//! Containers get no network; a test reaches a server inside by entering its network namespace, so
//! no port of this machine is taken and any number of tests run beside each other.
//!
//! Not here: what needs cgroups of its own, or a kernel.

mod client;
mod container;
mod daemon;
mod images;
mod terminal;

mod command_mode;
mod fastapi_image;
mod interactive;
mod memory;
mod podman;
mod unit_mode;
mod workers;
