//! `Options`: how patient a client is.

use std::time::Duration;

/// How long to wait, and how often to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// For the name to be resolved, and then for a connection to any of its addresses. Default 5 s.
    pub connect_timeout: Duration,
    /// For the next reply to be whole, and for each step forward of a question on its way out. Default 30 s.
    pub read_timeout: Duration,
    /// How often an `overloaded` question is asked again, after the time that the server names (at most
    /// [`RETRY_WAIT_MAX`](crate::RETRY_WAIT_MAX)), before the reply is handed on. Default 0: at once.
    pub overloaded_retries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), read_timeout: Duration::from_secs(30), overloaded_retries: 0 }
    }
}
