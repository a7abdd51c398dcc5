//! From the start of `server serve` to its `ready` line, with the index in the page cache and without.
//!
//! Cold are the index's own pages; the program and the database stay where they are.

use std::path::Path;

use super::Report;
use crate::compare::ground::Ground;
use crate::compare::rounds::{in_turns, over};
use crate::measure::markdown::grouped;
use crate::measure::spread::Spread;
use crate::measure::{count_rows, drop_from_cache, index_files, seconds, settle};
use crate::processes::Server;

/// Seconds to `ready`, warm and cold.
pub(crate) fn starts(ground: &Ground<'_>, db: &Path, index: &Path) -> anyhow::Result<[Spread; 2]> {
    settle(db)?;
    let files = index_files(index)?;
    let took = in_turns(ground.plan.rounds, 2, |_, side| {
        match side {
            0 => files.iter().try_for_each(|file| settle(file))?,
            _ => drop_from_cache(&files)?,
        }
        let server = Server::start(&["--db".as_ref(), db.as_os_str(), "--index".as_ref(), index.as_os_str()])?;
        let took = seconds(server.ready_after);
        server.stop()?;
        Ok(took)
    })?;
    Ok([0, 1].map(|side| over(&took[side], |&took| took)))
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let registry = ground.registry()?;
    let index = ground.index()?;
    ground.say("starting the server");
    let [warm, cold] = starts(ground, &registry.db, &index)?;
    Ok(Report {
        heading: "From start to `ready`".to_owned(),
        text: format!(
            "{} rows, {} starts of each kind in turns. What is asked for is asked at 220 million rows: `make bench-full`.\n\n| index | seconds |\n\
             | --- | --- |\n| in the page cache | {warm:.3} |\n| dropped from it | {cold:.3} |\n",
            grouped(count_rows(&registry)?),
            ground.plan.rounds,
        ),
        ..Report::default()
    })
}
