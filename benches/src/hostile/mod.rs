//! Hostile clients: what 100 well-behaved ones keep of their throughput beside each kind, and what is left of it in the server's memory.
//!
//! The server is the real one, a fresh process for each kind, met over its socket alone.

use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Usage;
use crate::load::allow_connections;
use crate::measure::{machine, section};
use crate::oracle::make::Make;
use crate::scratch::Scratch;

mod ground;
mod trial;

mod crowd;
mod crowds;
mod kinds;
mod wire;

mod markdown;

/// Connections that a crowd and those who measure open at once, at most.
const CONNECTIONS_MAX: usize = 4000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The registry to make.
    pub make: Make,
    /// Rounds of each kind, at least 1.
    pub rounds: u16,
    /// The length of a window without the hostile clients.
    pub alone: Duration,
    /// The length of a window beside them.
    pub beside: Duration,
    /// Words of the kinds that are tried; all where there is none.
    pub only: Vec<String>,
    /// The file whose marked section is replaced, if any.
    pub out: Option<PathBuf>,
}

/// Tries every kind, writes the section into the plan's file and returns it, with whether nothing fell short.
///
/// # Errors
/// When a program fails, the server ends, or answers wrongly afterwards; the file is left alone then.
pub fn run(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<(String, bool)> {
    let kinds: Vec<_> = kinds::KINDS
        .iter()
        .filter(|kind| plan.only.is_empty() || plan.only.iter().any(|word| word == kind.word))
        .collect();
    if kinds.is_empty() {
        let words: Vec<_> = kinds::KINDS.iter().map(|kind| kind.word).collect();
        return Err(Usage(format!("--only names no kind; there are {}", words.join(", "))).into());
    }
    // A file that cannot take the section is better known before than after.
    let document = plan.out.as_ref().map(|out| section::read(out, "hostile")).transpose()?;
    allow_connections(CONNECTIONS_MAX)?;
    let folder = Scratch::new_in(&std::env::temp_dir())?;
    let ground = ground::Ground::make(&plan.make, folder.path(), &progress)?;
    let mut outcomes = Vec::new();
    for kind in kinds {
        progress(kind.what);
        let outcome = trial::run(plan, &ground, kind)?;
        progress(&markdown::line(&outcome));
        outcomes.push(outcome);
    }
    let text = markdown::render(plan, &outcomes, &machine::describe(), &machine::today());
    if let (Some(out), Some(document)) = (&plan.out, &document) {
        section::write(out, document, &text)?;
    }
    Ok((text, outcomes.iter().all(|outcome| outcome.shortcomings().is_empty())))
}
