//! Many connections held, a tenth of them busy, beside a server that holds the busy ones alone.
//!
//! Both servers run at once, and only one of them is asked at a time.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Report;
use super::loads;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::load;
use crate::measure::markdown::grouped;

/// Connections that are held on the crowded server, the busy ones among them.
const HELD: usize = 10_000;

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let (index, keys) = (ground.index()?, ground.keys()?);
    let busy = ground.plan.connections;
    ensure!(busy < HELD, "only {HELD} connections are held; ask with fewer --connections");
    let idle = HELD - busy;
    // All of them at once, before either half raises the limit for itself.
    load::allow_connections(HELD + busy)?;
    let crowded = ground.server(&index, &[])?;
    let alone = ground.server(&index, &[])?;
    let subjects = vec![ground.ours("crowded", &crowded, &keys), ground.ours("alone", &alone, &keys)];
    ground.say(&format!("holding {idle} idle connections"));
    let mut outcome = None;
    let held = load::hold(crowded.address, idle, Duration::ZERO, || {
        outcome = Some(loads::compare(ground, subjects, &loads::shape(ground.plan, busy)));
    })?;
    let loads = outcome.context("the idle connections were not held")??;
    crowded.stop()?;
    alone.stop()?;
    Ok(Report {
        heading: "Many connections held, some of them busy".to_owned(),
        text: format!(
            "{} busy connections, one request in flight on each, on a server that holds {} idle ones beside them, and on one that holds no \
             others. The idle ones answered before and after; {} of them did not.\n\n{}",
            grouped(busy as u64),
            grouped(idle as u64),
            held.errors_before + held.errors_after,
            loads.table()
        ),
        reached: vec![Reached::new(Goal::Held, loads.throughput(0, 1))],
        plots: vec![loads.throughput_plot("held", &format!("CPF lookups, {} busy connections", grouped(busy as u64)))?],
        errors: loads.errors() + (held.errors_before + held.errors_after) as u64,
        ..Report::default()
    })
}
