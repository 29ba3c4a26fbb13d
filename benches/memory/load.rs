//! What the processes of the measured unit do. Each function ends with its process.

use std::io::Write;
use std::time::{Duration, Instant};

/// Takes so many MiB a second, without end.
pub fn leak(rate: u64) -> ! {
    let begin = Instant::now();
    let mut taken = 0;
    loop {
        let wanted = begin.elapsed().as_millis() as usize * rate as usize * 1024 / 1000;
        std::mem::forget(vec![1_u8; (wanted - taken) * 1024]);
        taken = wanted;
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// So many processes that have so many MiB together, and do nothing.
pub fn stand(count: u64, shared: u64) -> ! {
    std::mem::forget(vec![1_u8; shared as usize * 1024 * 1024]);
    for _ in 1..count {
        // SAFETY: one thread; the child only waits.
        if unsafe { libc::fork() } == 0 {
            wait();
        }
    }
    // The file that says it is there: who measures waits for it.
    let ready = std::env::var_os("BENCH_READY").map(std::fs::File::create);
    if let Some(Ok(mut file)) = ready {
        let _ = file.write_all(b"ready\n");
    }
    wait()
}

fn wait() -> ! {
    loop {
        // SAFETY: it takes nothing.
        unsafe { libc::pause() };
    }
}
