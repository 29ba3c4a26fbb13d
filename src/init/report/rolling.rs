//! The words about instances: exhausted ones, their replacement.
//!
//! Not when they are replaced (`manager::rollout`) nor any other words (`words`). **Invariant:** a
//! replacement that failed is told with its reason and with what becomes of the others.

use std::time::Duration;

use super::words::span;
use crate::manager::event::RollEvent;

pub(super) fn exhausted(
    burst: u32,
    interval: Duration,
    (up, total): (u32, u32),
    delay: Duration,
) -> String {
    let (interval, every) = (span(interval), span(delay));
    let (starts, were) = if burst == 1 { ("start", "was") } else { ("starts", "were") };
    let are = if up == 1 { "is" } else { "are" };
    // With none up its service is at its end, unless another one comes up after all.
    let next = match up {
        0 => format!("if another comes up, it is tried again every {every}"),
        _ => format!("so it is tried again every {every}"),
    };
    let tried = format!("{burst} {starts} in {interval} {were} not enough");
    format!("{tried}; {up} of {total} instances {are} up, {next}")
}

pub(super) fn roll(what: &RollEvent, done: u32, total: u32) -> String {
    let undone = if done == 1 { "1 replacement is" } else { "replacements are" };
    match what {
        RollEvent::Begun => format!("replacing {total} instances"),
        RollEvent::Recycles { instance } => {
            format!("{instance} has run for RuntimeMaxSec=: replacing it")
        }
        RollEvent::Replaced { instance } => {
            format!("{instance} is replaced ({done} of {total})")
        }
        RollEvent::GoesOn { reason } => format!("{reason}: the roll goes on"),
        RollEvent::GoesBack { reason } if done <= 1 => {
            format!("{reason}: going back")
        }
        RollEvent::GoesBack { reason } => {
            format!("{reason}: going back, {done} {undone} undone")
        }
        RollEvent::WentBack => "every instance has its old definition again".to_owned(),
        RollEvent::Halted { reason } => reason.clone(),
        RollEvent::Interrupted => {
            format!("the roll is called off after {done} of {total} instances")
        }
        RollEvent::Ended => format!("{done} of {total} instances replaced"),
    }
}
