//! rinitctl: the client.

fn main() -> std::process::ExitCode {
    rinit::cli::rinitctl::main()
}
