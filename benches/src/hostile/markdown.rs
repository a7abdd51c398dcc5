//! The trials as a section of Markdown.
//!
//! It rounds, and names what falls short; it judges nothing by itself.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::Plan;
use super::trial::{GOOD, KEPT_MIN, MEMORY_NOISE, Outcome};
use crate::measure::markdown::{grouped, mib};

/// One trial in a line.
pub(crate) fn line(outcome: &Outcome) -> String {
    let [before, peak, after] = outcome.memory.map(mib);
    format!(
        "  kept {:.2}, private memory {before:.1} {peak:.1} {after:.1} MiB, back {:?} {}, crowd {:.2} cores, {:?}, {}, errors {:?}",
        outcome.kept,
        outcome.back_after,
        outcome.ended_by_server,
        outcome.crowd_cpu,
        outcome.deeds,
        counted(outcome.stats.as_ref()),
        outcome.errors,
    )
}

/// The whole section.
pub(crate) fn render(plan: &Plan, outcomes: &[Outcome], machine: &str, day: &str) -> String {
    let mut out = String::new();
    // Writing to memory cannot fail.
    let _ = heading(&mut out, plan, machine, day);
    let _ = table(&mut out, outcomes);
    let _ = doings(&mut out, outcomes);
    let _ = verdict(&mut out, outcomes);
    out
}

fn heading(out: &mut String, plan: &Plan, machine: &str, day: &str) -> std::fmt::Result {
    let Plan { make, rounds, alone, beside, .. } = plan;
    let seconds = Duration::as_secs_f64;
    writeln!(out, "## Hostile clients\n")?;
    writeln!(
        out,
        "`hostile --rows {} --dirty {} --seed {} --rounds {rounds} --alone {} --beside {}`, {day}, on {machine}. For each kind a fresh \
         `server serve` with its defaults, and {GOOD} well-behaved clients in a process of their own: CPFs of the table at random, one \
         request in flight each, every answer compared with the number of rows that the table has; only good answers count as throughput. Windows of {} s alone and of {} s beside the \
         hostile clients take turns; kept is the throughput beside them over the mean of the windows before and after, median \
         (least–greatest) of {rounds} rounds. Server, well-behaved and hostile clients share the machine: the paces are such that the hostile ones \
         themselves take little of it, as the table tells.\n",
        make.rows,
        make.dirty,
        make.seed,
        seconds(alone),
        seconds(beside),
        seconds(alone),
        seconds(beside),
    )?;
    writeln!(
        out,
        "Memory is private (RssAnon, sampled every 20 ms): after a warm-up with every sort of question, at its greatest, and after the hostile \
         clients stopped acting. They hold their connections for up to 20 s more: back tells after how many seconds memory and the number of \
         sockets were what they were, or that this took the hostile clients' going. Asked for: kept at least \
         {KEPT_MIN}, memory back within 10 % or {} MiB, no wrong answer, the same process.\n",
        MEMORY_NOISE >> 20
    )
}

fn table(out: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    writeln!(
        out,
        "| kind | alone, a second | beside, a second | kept | longest ms alone, beside | private MiB before | peak | after | back |"
    )?;
    writeln!(out, "| --- | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: |")?;
    for outcome in outcomes {
        let [before, peak, after] = outcome.memory.map(mib);
        let [alone, beside] = outcome.max_us.map(|us| us as f64 / 1000.0);
        let back = match outcome.back_after {
            Some(time) if outcome.ended_by_server => format!("{:.1}", time.as_secs_f64()),
            Some(_) => "with them".to_owned(),
            None => "never".to_owned(),
        };
        writeln!(
            out,
            "| {} | {} | {} | {:.2} | {alone:.0}, {beside:.0} | {before:.1} | {peak:.1} | {after:.1} | {back} |",
            outcome.what,
            grouped(outcome.alone.median() as u64),
            grouped(outcome.beside.median() as u64),
            outcome.kept,
        )?;
    }
    writeln!(out)
}

fn doings(out: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    writeln!(
        out,
        "What the hostile clients did in all windows, the processor time they took for it, and what the server counted from its start:\n"
    )?;
    writeln!(out, "| kind | did | of one core | the server counted |\n| --- | --- | ---: | --- |")?;
    for outcome in outcomes {
        let deeds: Vec<String> =
            outcome.deeds.iter().map(|(what, count)| format!("{what} {}", grouped(*count))).collect();
        writeln!(
            out,
            "| {} | {} | {:.2} | {} |",
            outcome.what,
            deeds.join(", "),
            outcome.crowd_cpu,
            counted(outcome.stats.as_ref())
        )?;
    }
    writeln!(out)
}

fn verdict(out: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    let short: Vec<(&str, String)> = outcomes
        .iter()
        .flat_map(|outcome| outcome.shortcomings().into_iter().map(|shortcoming| (outcome.what, shortcoming)))
        .collect();
    if short.is_empty() {
        return writeln!(
            out,
            "No kind falls short; every server answered on, was the same process at the end, and stopped with 0."
        );
    }
    writeln!(out, "Falls short:\n")?;
    short.iter().try_for_each(|(what, shortcoming)| writeln!(out, "- {what}: {shortcoming}"))
}

/// The counters of the server that are not nought, but for what it answered well and what depends on no client.
fn counted(stats: Option<&Value>) -> String {
    let Some(stats) = stats else { return "(it does not count)".to_owned() };
    let mut out = Vec::new();
    let groups =
        [("answers", ""), ("deadlines", "deadline "), ("connections", "connections "), ("queue", "questions ")];
    for (group, prefix) in groups {
        for (name, count) in stats[group].as_object().into_iter().flatten() {
            let count = count.as_u64().unwrap_or_default();
            if count > 0 && !matches!(name.as_str(), "ok" | "open" | "open_max" | "depth" | "depth_max") {
                out.push(format!("{prefix}{name} {}", grouped(count)));
            }
        }
    }
    let panics = stats["panics"].as_u64().unwrap_or_default();
    if panics > 0 {
        out.push(format!("panics {panics}"));
    }
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_counted_is_told_but_for_what_is_usual() {
        let stats = json!({
            "answers": {"ok": 7000, "bad_json": 1200, "internal": 0},
            "deadlines": {"line": 3},
            "connections": {"open": 4, "open_max": 9, "accepted": 10},
            "queue": {"parked": 2, "depth_max": 1024},
            "panics": 1,
        });
        let expected = "bad_json 1,200, deadline line 3, connections accepted 10, questions parked 2, panics 1";
        assert_eq!(counted(Some(&stats)), expected);
    }
}
