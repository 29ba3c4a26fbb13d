//! The rules of starting again: delays, attempts, start limits, and forks that fail for now.
//!
//! Part of the checker of `invariants`. The formula is written down here once more, from
//! systemd.service(5) and the design, so that an error in the manager's shows.

use std::time::Duration;

use super::invariants::Checker;
use super::rules::Rule;
use crate::manager::event::{ProcessRole, SpawnRequest};
use crate::unit::service::{Service, ServiceType};

/// How late or early two computations of one instant may be: rounding, and time's granularity.
const SLACK: u64 = 2_000_000;

impl Checker<'_> {
    /// A process of a start is wanted: not before its time, and not too often.
    pub(super) fn spawn_in_time(&mut self, unit: usize, request: &SpawnRequest) {
        if self.now + SLACK < self.seen[unit].not_before {
            let early = self.seen[unit].not_before - self.now;
            let rule = if self.seen[unit].refork { Rule::RetryDelay } else { Rule::DelayKept };
            let asked = self.seen[unit].touched || self.driven & (1 << unit) != 0;
            if !asked || self.seen[unit].refork {
                self.broken(rule, |_| format!("{} by {early} ns", request.unit.name));
            }
        }
        self.seen[unit].not_before = 0;
        self.seen[unit].refork = false;
        let first = matches!(
            request.role,
            ProcessRole::ExecCondition | ProcessRole::ExecStartPre | ProcessRole::ExecStart
        );
        if first && self.seen[unit].invocation != Some(request.invocation) {
            self.seen[unit].invocation = Some(request.invocation);
            self.seen[unit].main_exit = None;
            self.count_start(unit);
        }
    }

    /// systemd's fixed window: the first counted start begins it.
    fn count_start(&mut self, unit: usize) {
        let declared = &self.plan.units[unit];
        let (burst, interval) = (declared.start_limit_burst, declared.start_limit_interval);
        let idle = declared.service.kind == ServiceType::Idle;
        if interval.is_zero() || burst == 0 || idle || self.seen[unit].unheard {
            return; // idle: it is counted up to 5 s before its process
        }
        let length = nanos(interval);
        let count = match self.seen[unit].window {
            Some((begun, count))
                if (self.now / 1000).saturating_sub(begun / 1000) <= length / 1000 =>
            {
                self.seen[unit].window = Some((begun, count + 1));
                count + 1
            }
            Some(_) | None => {
                self.seen[unit].window = Some((self.now, 1));
                1
            }
        };
        if count > burst {
            let name = self.name(unit);
            self.broken(Rule::StartLimit, |_| format!("{name}: start {count} of {burst}"));
        }
    }

    pub(super) fn limit_hit(&mut self, unit: usize) {
        let declared = &self.plan.units[unit];
        let plain =
            declared.service.kind != ServiceType::Idle && !declared.service.exec_start.is_empty();
        let count = self.seen[unit].window.map_or(0, |(_, count)| count);
        if plain && count < declared.start_limit_burst && !self.seen[unit].unheard {
            let name = self.name(unit);
            self.broken(Rule::StartLimit, |_| format!("{name}: hit after {count} starts"));
        }
    }

    pub(super) fn retry(&mut self, unit: usize, delay: Duration) {
        if delay.is_zero() {
            let name = self.name(unit);
            self.broken(Rule::RetryDelay, |_| format!("{name}: no delay"));
        }
        self.seen[unit].not_before = self.now + nanos(delay);
        self.seen[unit].refork = true;
    }

    pub(super) fn scheduled(&mut self, unit: usize, delay: Duration, attempt: u32) {
        let service = &self.plan.units[unit].service;
        let formula = formula(service, attempt);
        let name = &self.plan.units[unit].name;
        let upheld = |by: &std::sync::Arc<crate::unit::Unit>| {
            by.upholds.iter().any(|other| other.name == *name)
        };
        // A unit that others uphold and that was never up is not looked at without a pause.
        let paused = formula == 0.0 && self.plan.units.iter().any(upheld);
        let (delay_s, slack) = (delay.as_secs_f64(), 1e-9);
        if delay_s < 0.9 * formula - slack || !paused && delay_s > 1.1 * formula + slack {
            let name = self.name(unit);
            self.broken(Rule::DelayFormula, |_| {
                format!("{name}: {delay:?} for attempt {attempt}, formula {formula} s")
            });
        }
        let seen = &self.seen[unit];
        let up = seen.up_since.map_or(seen.was_up, |since| self.now - since);
        let reset = nanos(service.restart_reset);
        let unclear = seen.touched || self.driven & (1 << unit) != 0; // a client's start begins a new row, and may come at any time
        let fits = match (seen.fresh, up + SLACK < reset, up >= reset + SLACK) {
            _ if unclear => attempt == 1 || attempt == seen.attempt + 1,
            (true, _, _) | (_, _, true) => attempt == 1,
            (false, true, false) => attempt == seen.attempt + 1,
            (false, false, false) => attempt == 1 || attempt == seen.attempt + 1,
        };
        if !fits {
            let (name, before) = (self.name(unit), seen.attempt);
            self.broken(Rule::AttemptCount, |_| {
                format!("{name}: attempt {attempt} after {before}, up {up} ns")
            });
        }
        let seen = &mut self.seen[unit];
        seen.attempt = attempt;
        seen.fresh = false;
        seen.was_up = 0;
        seen.not_before = self.now + nanos(delay);
        seen.refork = false;
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The delay before the k-th restart in a row, in seconds.
fn formula(service: &Service, k: u32) -> f64 {
    let first = service.restart_sec.as_secs_f64();
    let last = service.restart_max_delay.map_or(0.0, |last| last.as_secs_f64());
    if first == 0.0 || last <= first || k <= 1 {
        return first;
    }
    let grown = match service.restart_steps {
        Some(steps) if k > steps => last,
        Some(steps) => first * (last / first).powf(f64::from(k - 1) / f64::from(steps)),
        None => first * 2f64.powf(f64::from(k - 1)),
    };
    let whole = (grown * 1000.0).round() / 1000.0;
    whole.min(last)
}
