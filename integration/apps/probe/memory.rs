//! Memory as a service takes it: at once, or more and more.

use std::time::{Duration, Instant};

/// So often a leak grows.
const STEP: Duration = Duration::from_millis(5);

/// Touches so many MiB and keeps them.
pub fn allocate(mib: i64) {
    std::mem::forget(vec![1_u8; mib as usize * 1024 * 1024]);
}

/// Takes so many MiB a second and keeps them, without end; late steps are made up for.
pub fn leak(mib_a_second: i64) {
    let begin = Instant::now();
    let mut taken = 0;
    loop {
        let wanted = begin.elapsed().as_millis() * mib_a_second as u128 * 1024 / 1000;
        let more = wanted as usize - taken;
        std::mem::forget(vec![1_u8; more * 1024]);
        taken += more;
        std::thread::sleep(STEP);
    }
}
