//! The wire between rinit and who asks it: varlink over a unix stream socket, and HTTP that only
//! looks ([`http`]).
//!
//! What is said stands in `io.rinit.Manager.varlink`; what is done about it is `manager`'s, and
//! sockets come from `init`. **Invariant:** no client can make rinit wait or grow: messages,
//! queues, clients and work a turn have bounds, and who breaks one is told and dropped.

pub mod answer;
pub mod boot_record;
pub mod client;
pub mod describe;
pub mod events;
pub mod http;
pub mod interface;
pub mod output;
pub mod protocol;
pub mod server;
pub mod usage;

/// How many cases the property tests try: `RINIT_CASES`, else a number for every day.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
fn fuzz_cases() -> u32 {
    std::env::var("RINIT_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000)
}
