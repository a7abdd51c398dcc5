//! The server: listener, sessions, limits and logs of the desk. What is answered, and how, is the engine's; what a line means, the wire's.
//!
//! Only [`session`] and [`listen`] touch sockets. A conversation is fed bytes and asked for bytes, so that any other driver can hold one.

pub mod args;

mod allowance;
mod budget;
mod config;
mod conversation;
mod desk;
mod limits;
mod listen;
mod log;
mod mailbox;
mod memory;
mod metrics;
mod outflow;
mod queries;
mod queue;
mod reload;
mod rest;
mod serve;
mod session;
mod stats;
mod sweep;
mod threads;
mod warmth;

#[cfg(test)]
mod panic_tests;
#[cfg(test)]
mod pressure_tests;
#[cfg(test)]
mod stack_tests;
#[cfg(test)]
mod test_house;
