//! rinitctl: the client.

fn main() -> std::process::ExitCode {
    rinit::rinitctl_main()
}
