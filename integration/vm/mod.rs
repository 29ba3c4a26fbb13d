//! rinit as `/init` of a real kernel: Debian's cloud kernel under qemu, from an initramfs that holds
//! this build's rinit, its test programs and busybox.
//!
//! The processor is emulated (`-accel tcg`), so a machine takes seconds to boot and Python would
//! take minutes: programs in here are small and static. Each test is one boot, and reads what the
//! machine writes to its serial console.

mod machine;

mod first_process;
mod groups;
