//! Pages of names by their beginning, beside PostgreSQL's `text_pattern_ops`.
//!
//! Ours twice: with the rows in the order of the table, and with a copy of them in name order where the indexer makes one.

use super::Report;
use super::loads;
use crate::compare::asking::{Shape, Subject, ask};
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::peers;
use crate::compare::peers::postgres::{USER, USER_PLANNING};
use crate::compare::rounds::{in_turns, over};
use crate::measure::spread::Spread;

/// Connections to each.
const CLIENTS: usize = 32;

/// Rounds in which the ways below are tried at most.
const TRIALS_MAX: usize = 3;

/// Two ways to ask PostgreSQL: a range, whose plan serves every prefix, and `LIKE`, which uses the index only where it is planned with the
/// prefix known, each time anew. The end of the range is the prefix with the last character there is.
const WAYS: [(&str, &str, &str); 2] = [
    (
        "a range, planned once",
        USER,
        "SELECT * FROM cpf WHERE nome ~>=~ $1 AND nome ~<~ ($1 || chr(1114111)) ORDER BY nome USING ~<~ LIMIT 50",
    ),
    (
        "`LIKE`, planned each time",
        USER_PLANNING,
        "SELECT * FROM cpf WHERE nome LIKE ($1 || '%') ORDER BY nome USING ~<~ LIMIT 50",
    ),
];

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let [asked, bare] = ground.prefixes()?;
    let shape = loads::shape(ground.plan, CLIENTS);
    let (way, postgres, tried) = fastest_way(ground, &bare, &shape)?;
    let table = ground.server(&ground.index()?, &[])?;
    let clustered = ground.clustered()?.map(|index| ground.server(&index, &[])).transpose()?;
    let mut subjects = vec![ground.ours("ours, table order", &table, &asked), postgres];
    subjects.extend(clustered.as_ref().map(|server| ground.ours("ours, name order", server, &asked)));
    let loads = loads::compare(ground, subjects, &shape)?;
    table.stop()?;
    let mut reached = vec![Reached::new(Goal::PrefixTable, loads.throughput(0, 1))];
    let mut note = "";
    match clustered {
        Some(server) => {
            server.stop()?;
            reached.push(Reached::new(Goal::PrefixClustered, loads.throughput(2, 1)));
        }
        None => note = " This indexer has no `--cluster`: rows in name order were not measured.",
    }
    Ok(Report {
        heading: "Prefix pages beside PostgreSQL".to_owned(),
        text: format!(
            "The first page of 50 rows for prefixes drawn by frequency: the first two words of the names of rows drawn at random. {CLIENTS} \
             connections, one request in flight on each. {} is asked with the faster of two correct ways: {tried}. Taken was {way}.{note}\n\n{}",
            peers::postgres::version()?,
            loads.table()
        ),
        reached,
        plots: vec![loads.throughput_plot("prefix", &format!("Prefix pages of 50 rows, {CLIENTS} connections"))?],
        errors: loads.errors(),
        ..Report::default()
    })
}

/// The way in which PostgreSQL answers most pages in trials that take turns, and what the trials came to.
fn fastest_way(
    ground: &mut Ground<'_>,
    keys: &std::path::Path,
    shape: &Shape,
) -> anyhow::Result<(&'static str, Subject, String)> {
    let mut subjects = Vec::new();
    for (_, user, sql) in WAYS {
        subjects.push(ground.postgres(user, sql, keys)?);
    }
    let rates = in_turns(ground.plan.rounds.min(TRIALS_MAX), WAYS.len(), |_, way| {
        ground.say(&format!("trying PostgreSQL with {}", WAYS[way].0));
        Ok(ask(&subjects[way], shape)?.summary.per_second())
    })?;
    let rates: Vec<Spread> = rates.iter().map(|rates| over(rates, |&rate| rate)).collect();
    let told: Vec<String> = WAYS
        .iter()
        .zip(&rates)
        .map(|((name, _, sql), rate)| format!("{name}, `{sql}`, {} a second in a trial", rate.grouped()))
        .collect();
    let fastest = (0..WAYS.len()).max_by(|&a, &b| rates[a].median().total_cmp(&rates[b].median())).unwrap_or_default();
    Ok((WAYS[fastest].0, subjects.swap_remove(fastest), told.join("; ")))
}
