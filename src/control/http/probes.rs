//! `/readyz` in words: the form of Kubernetes' own endpoints.
//!
//! Not what readiness is (`manager::readiness`).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Answer;
use crate::manager::readiness::{Readiness, ServingPhase, Standing};
use crate::manager::state::SubState;

/// 200 or 503. What is not ready is always named; `verbose` names all that counts.
pub fn ready(readiness: &Readiness, verbose: bool) -> Answer {
    let is_ready = readiness.is_ready();
    if is_ready && !verbose {
        return Answer::words(200, "ok\n");
    }
    let mut text = String::new();
    match readiness.phase {
        ServingPhase::Up => {}
        ServingPhase::Draining => text.push_str("[-]rinit draining: send no more traffic\n"),
        ServingPhase::Stopping => text.push_str("[-]rinit stopping\n"),
    }
    for standing in readiness.units.iter().filter(|it| verbose || !it.ready) {
        let sign = if standing.ready { '+' } else { '-' };
        text.push_str(&format!("[{sign}]{} {}\n", standing.unit, in_words(standing)));
    }
    text.push_str(if is_ready { "readyz check passed\n" } else { "readyz check failed\n" });
    Answer::words(if is_ready { 200 } else { 503 }, text)
}

/// Where a unit is, as in `active (running)`.
pub fn in_words(standing: &Standing) -> String {
    let state = standing.state;
    let place = format!("{} ({state})", state.active_state());
    match standing.instances {
        _ if standing.skipped => "skipped: a condition was not met".to_owned(),
        Some((ready, wanted)) => format!("{place}, {ready} of {wanted} instances ready"),
        None if standing.unhealthy => format!("{place}, unhealthy"),
        None if standing.ready && state == SubState::Dead => "finished".to_owned(),
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::UnitName;
    use expect_test::{Expect, expect};

    fn standing(stem: &str, ready: bool, state: SubState) -> Standing {
        let unit = UnitName::service(stem).unwrap();
        Standing { unit, ready, state, instances: None, unhealthy: false, skipped: false }
    }

    fn check(phase: ServingPhase, units: &[Standing], verbose: bool, expected: Expect) {
        let found = ready(&Readiness { phase, units: units.to_vec() }, verbose);
        expected.assert_eq(&format!("{}\n{}", found.status, found.body));
    }

    #[test]
    fn words() {
        let web = Standing { instances: Some((1, 4)), ..standing("web", true, SubState::Running) };
        let step = standing("10-migrate", true, SubState::Dead);
        let extra = Standing { skipped: true, ..step.clone() };
        let sick = Standing { unhealthy: true, ..standing("db", false, SubState::Running) };
        let good = [step, extra, web];
        let bad = [good.clone().to_vec(), vec![sick]].concat();
        check(
            ServingPhase::Up,
            &[],
            false,
            expect![[r#"
            200
            ok
        "#]],
        );
        check(
            ServingPhase::Up,
            &good,
            true,
            expect![[r#"
            200
            [+]10-migrate.service finished
            [+]10-migrate.service skipped: a condition was not met
            [+]web.service active (running), 1 of 4 instances ready
            readyz check passed
        "#]],
        );
        check(
            ServingPhase::Up,
            &bad,
            false,
            expect![[r#"
            503
            [-]db.service active (running), unhealthy
            readyz check failed
        "#]],
        );
        check(
            ServingPhase::Draining,
            &good,
            false,
            expect![[r#"
            503
            [-]rinit draining: send no more traffic
            readyz check failed
        "#]],
        );
    }
}
