//! Private memory of the server with connections that were answered once and then hold still.
//!
//! RssAnon of the process, a moment after the last of them was answered.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Report;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::rounds::over;
use crate::load;
use crate::measure::markdown::{grouped, mib};
use crate::measure::observing::Memory;

/// How long the server is left alone before its memory is looked at.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// Numbers of idle connections: what was asked about, and so many more that what each of them takes is told.
const HELD: [usize; 2] = [1000, 10_000];

/// Private memory without a connection, and with each of [`HELD`], in bytes; of a fresh server.
pub(crate) fn idle(ground: &Ground<'_>, db: &Path, index: &Path) -> anyhow::Result<[u64; 3]> {
    let server =
        crate::processes::Server::start(&["--db".as_ref(), db.as_os_str(), "--index".as_ref(), index.as_os_str()])?;
    let look = || -> anyhow::Result<u64> {
        std::thread::sleep(SETTLED_AFTER);
        Ok(Memory::of(server.pid()).context("the server has ended")?.private)
    };
    let mut private = [look()?, 0, 0];
    for (at, connections) in HELD.into_iter().enumerate() {
        ground.say(&format!("holding {connections} idle connections"));
        let mut looked = None;
        let held = load::hold(server.address, connections, Duration::ZERO, || looked = Some(look()))?;
        ensure!(held.is_well(), "not every idle connection was answered: {held}");
        private[at + 1] = looked.context("the idle connections were not held")??;
    }
    server.stop()?;
    Ok(private)
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let (db, index) = (ground.registry()?.db, ground.index()?);
    let mut rounds = Vec::new();
    for _ in 0..ground.plan.rounds {
        rounds.push(idle(ground, &db, &index)?);
    }
    let [less, more] = HELD;
    let each = |private: &[u64; 3]| private[2].saturating_sub(private[1]) as f64 / 1024.0 / (more - less) as f64;
    let of = |at: usize| over(&rounds, move |private| mib(private[at]));
    Ok(Report {
        heading: "Private memory of idle connections".to_owned(),
        text: format!(
            "A fresh server in each of {} rounds; every connection was answered once before.\n\n| idle connections | private memory, MiB |\n\
             | ---: | --- |\n| 0 | {:.1} |\n| {} | {:.1} |\n| {} | {:.1} |\n",
            ground.plan.rounds,
            of(0),
            grouped(less as u64),
            of(1),
            grouped(more as u64),
            of(2),
        ),
        reached: vec![Reached::new(Goal::IdleMemory, of(1)), Reached::new(Goal::IdleEach, over(&rounds, each))],
        ..Report::default()
    })
}
