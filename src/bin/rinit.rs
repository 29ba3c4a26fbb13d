//! rinit: PID 1, or a supervisor.

rinit::early_init!();

fn main() -> std::process::ExitCode {
    rinit::rinit_main()
}
