//! rinitctl: the client.

fn main() {}
