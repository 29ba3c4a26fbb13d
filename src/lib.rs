//! rinit
