//! The wire between rinit and who asks it: varlink over a unix stream socket.
//!
//! What is said stands in `io.rinit.Manager.varlink`; what is done about it is `manager`'s.

pub mod client;
