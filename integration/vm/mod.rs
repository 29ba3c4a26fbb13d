//! rinit as `/init` of a real kernel: Debian's cloud kernel under qemu, from an initramfs that holds
//! this build's rinit, its test programs and busybox.
//!
//! The processor is emulated (`-accel tcg`), so a machine takes seconds to boot and Python would
//! take minutes: programs in here are small and static. Each test is one boot, and reads what the
//! machine writes to its serial console.

mod machine;

mod delegated;
mod first_process;
mod groups;
mod limits;

/// Waits until a condition of the shell holds, then runs the rest and switches off.
fn judge(until: &str, then: &str) -> String {
    format!(
        "[Unit]\nSuccessAction = \"exit\"\n[Service]\n\
         ExecStart = ['sh', '-c', '''until {until}; do sleep 0.1; done; {then}''']\n"
    )
}

#[track_caller]
fn assert_in_order(console: &str, texts: &[&str]) {
    let mut rest = console;
    for text in texts {
        let Some(at) = rest.find(text) else {
            panic!("{text:?} is not there, or not in this order:\n{console}");
        };
        rest = &rest[at + text.len()..];
    }
}
