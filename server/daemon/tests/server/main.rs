//! The shipped server, end to end: the real binary on a free port, asked through plain sockets and through the client library.
//!
//! What an answer holds in every detail is the engine's to test; here it is the process, its sockets, its limits and its end.

mod peer;
mod process;
mod registry;
mod reload;

mod connections;
mod deadlines;
mod errors;
mod hostile;
mod order;
mod quiet;
mod room;
mod searches;
mod settings;
mod starting;
mod stats;
mod stopping;
mod talk;
mod verify;
