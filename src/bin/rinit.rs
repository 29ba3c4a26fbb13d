//! rinit: PID 1, or a supervisor.
#![no_main]

rinit::entry!(rinit::rinit_main);
