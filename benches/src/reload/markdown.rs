//! The run as a section of Markdown.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::switching::{How, Switch, What};
use super::{Outcome, Plan};
use crate::load::Slot;
use crate::measure::markdown::grouped;

/// How a reload is called in the table.
fn name(switch: &Switch) -> String {
    let what = match switch.what {
        What::Generation => "new generation of the same database",
        What::Database => "new database, built and renamed into its place",
        What::Prepared => "new database, built before, renamed into its place",
        What::Damaged => "damaged generation",
    };
    let how = match switch.how {
        How::Watch => "found by the watch",
        How::Signal => "SIGHUP",
    };
    format!("{what}, {how}")
}

/// The whole section.
pub(crate) fn render(plan: &Plan, outcome: &Outcome, machine: &str, day: &str) -> String {
    let mut out = String::new();
    // Writing to memory cannot fail.
    let _ = heading(&mut out, plan, outcome, machine, day);
    let _ = totals(&mut out, outcome);
    let _ = switches(&mut out, outcome);
    let _ = verdict(&mut out, outcome);
    out
}

fn heading(out: &mut String, plan: &Plan, outcome: &Outcome, machine: &str, day: &str) -> std::fmt::Result {
    let (make, connections, seconds) = (&plan.make, plan.connections, plan.time.as_secs_f64());
    writeln!(out, "## Reload under load\n")?;
    writeln!(
        out,
        "`reload --rows {} --dirty {} --seed {} --connections {connections} --seconds {seconds}`, {day}, on {machine}. {} connections, one request \
         in flight each, ask {} questions in random order, four CPFs to one beginning of a name with up to 20 rows, while ten reloads happen. The \
         `nasc` of every row names the version of its database. Every reply is compared byte for byte with what a scan of the table gives, all its \
         rows must be of one version, and of one that was served between the question and the reply.\n",
        make.rows,
        make.dirty,
        make.seed,
        grouped(connections as u64),
        grouped(outcome.questions as u64),
    )
}

fn totals(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let summary = &outcome.summary;
    let judged = |code: &str| summary.errors.get(code).copied().unwrap_or_default();
    let of_another_time = judged("too_old") + judged("too_new");
    let wrong = judged("wrong") + judged("wrong_total") + judged("no_rows");
    let failed = summary.errors_total() - wrong - judged("mixed") - of_another_time;
    let [p50, p99, p99_9, max] = summary.latency_us.map(grouped);
    writeln!(out, "| | |\n| --- | ---: |")?;
    writeln!(out, "| questions answered | {} |", grouped(summary.requests))?;
    writeln!(out, "| a second | {} |", grouped(summary.per_second() as u64))?;
    writeln!(out, "| failed | {} |", grouped(failed))?;
    writeln!(out, "| wrong | {} |", grouped(wrong))?;
    writeln!(out, "| of two versions | {} |", grouped(judged("mixed")))?;
    writeln!(out, "| of a version that was not to be had | {} |", grouped(of_another_time))?;
    writeln!(
        out,
        "| reloads taken, refused, as the server counts them | {}, {} |",
        outcome.reloads[0], outcome.reloads[1]
    )?;
    writeln!(out, "| latency p50, p99, p99.9, max, µs | {p50}, {p99}, {p99_9}, {max} |")?;
    let during = |from, to| outcome.switches.iter().any(|switch| switch.given <= to && from <= switch.done);
    let building = |from, to| outcome.switches.iter().any(|switch| switch.began <= to && from <= switch.done);
    writeln!(out, "| the longest within a switch, µs | {} |", grouped(longest(outcome, during)))?;
    writeln!(
        out,
        "| the longest while nothing was built or switched, µs | {} |",
        grouped(longest(outcome, |from, to| !building(from, to)))
    )?;
    writeln!(out, "| files held afterwards that are not served | {} |", outcome.held.len())?;
    writeln!(out, "| sockets of the server before, after | {}, {} |\n", outcome.sockets[0], outcome.sockets[1])
}

/// The longest latency in the tenths of a second that are `wanted` by their beginning and end.
fn longest(outcome: &Outcome, wanted: impl Fn(SystemTime, SystemTime) -> bool) -> u64 {
    let slot = Duration::from_millis(100);
    let timeline = (0..).map(|at| outcome.summary.began + slot * at).zip(&outcome.summary.slots);
    let chosen = timeline.filter(|(at, _)| wanted(*at, *at + slot));
    chosen.map(|(_, Slot { max_us, .. })| *max_us).max().unwrap_or_default()
}

fn switches(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    writeln!(out, "| reload | published in s | then taken or refused in s | longest latency from then on, µs |")?;
    writeln!(out, "| --- | ---: | ---: | ---: |")?;
    for switch in &outcome.switches {
        let seconds = |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap_or_default().as_secs_f64();
        let longest = longest(outcome, |from, to| switch.given <= to && from <= switch.done);
        writeln!(
            out,
            "| {} | {:.2} | {:.2} | {} |",
            name(switch),
            seconds(switch.began, switch.given),
            seconds(switch.given, switch.done),
            grouped(longest)
        )?;
    }
    writeln!(out)
}

fn verdict(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let shortcomings = outcome.shortcomings();
    if shortcomings.is_empty() {
        return writeln!(out, "Nothing falls short; it was the same process to the end, and it stopped with 0.");
    }
    writeln!(out, "Falls short:\n")?;
    shortcomings.iter().try_for_each(|shortcoming| writeln!(out, "- {shortcoming}"))
}
