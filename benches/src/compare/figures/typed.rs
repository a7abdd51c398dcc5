//! Names as people type them, asked of several sides: the turns, their table and the ratios.
//!
//! Every side asks the same list of questions from the same place on; a slow one gets less far in its time, and two are compared over what both
//! got through.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::compare::ground::Ground;
use crate::compare::ground::asked::{Kind, Questions};
use crate::compare::rounds::in_turns;
use crate::load::Protocol;
use crate::load::list::{self, List, Listed};
use crate::measure::markdown::grouped;
use crate::measure::spread::Spread;
use crate::processes::Server;

/// Connections of the loads: one, and four.
pub(crate) const CONNECTIONS: [usize; 2] = [1, 4];

/// Questions of a turn at most: enough for a 99th percentile.
const QUESTIONS_MAX: usize = 1000;

/// A turn takes this part of the seconds of a load.
const SECONDS_PART: f64 = 0.25;

/// Seconds in which every question of a kind is asked of a side once, without measuring, at most.
pub(crate) const WARMUP: Duration = Duration::from_secs(20);

/// One turn of a side.
pub(crate) struct Turn<'a> {
    pub(crate) questions: &'a Questions,
    pub(crate) connections: usize,
    /// The first question of the list, counted round and round.
    pub(crate) first: usize,
    pub(crate) at_most: usize,
    pub(crate) within: Duration,
}

type Ask<'a> = Box<dyn Fn(&Turn<'_>) -> anyhow::Result<Listed> + 'a>;

/// One who is asked.
pub(crate) struct Side<'a> {
    name: &'static str,
    /// Over so many connections and in so many rounds at most: a side that takes seconds for a question is asked less.
    connections_max: usize,
    rounds_max: usize,
    /// Whether it asks the list without measuring in every turn: what is a new process each time has nothing of a warming before.
    warms_itself: bool,
    ask: Ask<'a>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(
        name: &'static str,
        connections_max: usize,
        ask: impl Fn(&Turn<'_>) -> anyhow::Result<Listed> + 'a,
    ) -> Self {
        Self { name, connections_max, rounds_max: usize::MAX, warms_itself: false, ask: Box::new(ask) }
    }

    /// Asked in the first rounds alone, so many of them.
    pub(crate) fn at_most(self, rounds_max: usize) -> Self {
        Self { rounds_max, ..self }
    }

    /// Begins each turn with the list, unmeasured.
    pub(crate) fn warms_itself(self) -> Self {
        Self { warms_itself: true, ..self }
    }

    /// Our server.
    pub(crate) fn ours(server: &Server) -> Self {
        let server = server.address;
        Self::new("ours", usize::MAX, move |turn| {
            let keys = turn.questions.requests.clone();
            list::ask(&turn.list(server, Protocol::Balcao, keys))
        })
    }
}

impl Turn<'_> {
    /// The same for a server that speaks `protocol`.
    pub(crate) fn list(&self, server: std::net::SocketAddr, protocol: Protocol, keys: std::path::PathBuf) -> List {
        let &Self { connections, first, at_most, within, .. } = self;
        List { server, protocol, connections, keys, first, at_most, within }
    }
}

/// The answers of one side to one kind over so many connections, round by round.
pub(crate) struct Answers {
    kind: usize,
    connections: usize,
    side: usize,
    rounds: Vec<Listed>,
}

/// What all sides answered.
pub(crate) struct Outcome {
    kinds: Vec<&'static str>,
    sides: Vec<&'static str>,
    answers: Vec<Answers>,
}

/// Asks every side all kinds, round by round; ours is the first side.
pub(crate) fn compare(ground: &Ground<'_>, kinds: &[Kind], sides: &[Side<'_>]) -> anyhow::Result<Outcome> {
    let plan = ground.plan;
    let within = Duration::from_secs_f64(plan.seconds as f64 * SECONDS_PART);
    let mut answers = Vec::new();
    for (kind_at, kind) in kinds.iter().enumerate() {
        let questions = ground.questions(kind)?;
        for side in sides.iter().filter(|side| !side.warms_itself) {
            ground.say(&format!("asking {} without measuring: {}", side.name, kind.name));
            warm(side, &questions, plan.rounds)
                .with_context(|| format!("{} cannot be asked for {}", side.name, kind.name))?;
        }
        for connections in CONNECTIONS {
            let asked: Vec<usize> = (0..sides.len()).filter(|&at| sides[at].connections_max >= connections).collect();
            let rounds = in_turns(plan.rounds, asked.len(), |round, at| {
                let side = &sides[asked[at]];
                if round >= side.rounds_max {
                    return Ok(None);
                }
                ground.say(&format!(
                    "round {} of {}: {}, {}, {connections} at once",
                    round + 1,
                    plan.rounds,
                    side.name,
                    kind.name
                ));
                let first = round * questions.count / plan.rounds;
                let turn = Turn { questions: &questions, connections, first, at_most: QUESTIONS_MAX, within };
                (side.ask)(&turn).map(Some)
            })?;
            for (&side, rounds) in asked.iter().zip(rounds) {
                // Those that are left out are the last ones: rounds of the same number stand at the same place.
                let rounds = rounds.into_iter().flatten().collect();
                answers.push(Answers { kind: kind_at, connections, side, rounds });
            }
        }
    }
    let kinds = kinds.iter().map(|kind| kind.name).collect();
    Ok(Outcome { kinds, sides: sides.iter().map(|side| side.name).collect(), answers })
}

/// Asks a side all questions once, as far as [`WARMUP`] goes: from each place on where a round begins, so that what is measured of a slow side
/// is what it was asked before.
fn warm(side: &Side<'_>, questions: &Questions, rounds: usize) -> anyhow::Result<()> {
    let asked = rounds.min(side.rounds_max);
    let (mut came, mut refused) = (0, Vec::new());
    for round in 0..asked {
        let [first, end] = [round, round + 1].map(|round| round * questions.count / rounds);
        // A side that is asked in few rounds alone has all the time for these.
        let turn =
            Turn { questions, connections: 1, first, at_most: (end - first).max(1), within: WARMUP / asked as u32 };
        let listed = (side.ask)(&turn)?;
        came += listed.took_us.len();
        refused.push(listed.errors);
    }
    let count: u64 = refused.iter().flat_map(BTreeMap::values).sum();
    ensure!((count as usize) < came, "every question is refused: {}", errors(&refused));
    Ok(())
}

impl Outcome {
    fn of(&self, kind: usize, connections: usize, side: usize) -> Option<&Answers> {
        let is_it = |answers: &&Answers| (answers.kind, answers.connections, answers.side) == (kind, connections, side);
        self.answers.iter().find(is_it)
    }

    /// How many times as long as ours a side took in the middle, over one connection: over the questions that both answered.
    pub(crate) fn times(&self, kind: usize, side: usize) -> Option<Spread> {
        let (ours, theirs) = (self.of(kind, 1, 0)?, self.of(kind, 1, side)?);
        Spread::new(ours.rounds.iter().zip(&theirs.rounds).map(|(ours, theirs)| {
            let shared = ours.took_us.len().min(theirs.took_us.len());
            percentile(&theirs.took_us[..shared], 0.5) / percentile(&ours.took_us[..shared], 0.5)
        }))
    }

    /// The 99th percentile of ours at four connections in milliseconds, of the kind in which it is the greatest.
    pub(crate) fn slowest_p99_ms(&self) -> Option<Spread> {
        let of_kinds = (0..self.kinds.len()).filter_map(|kind| {
            let rounds = &self.of(kind, CONNECTIONS[1], 0)?.rounds;
            Spread::new(rounds.iter().map(|listed| percentile(&listed.took_us, 0.99) / 1e3))
        });
        of_kinds.max_by(|a, b| a.median().total_cmp(&b.median()))
    }

    /// Over how many questions [`Self::times`] is, of all rounds together.
    pub(crate) fn shared(&self, kind: usize, side: usize) -> usize {
        let (Some(ours), Some(theirs)) = (self.of(kind, 1, 0), self.of(kind, 1, side)) else { return 0 };
        ours.rounds.iter().zip(&theirs.rounds).map(|(ours, theirs)| ours.took_us.len().min(theirs.took_us.len())).sum()
    }

    /// Questions that ours did not answer as it should.
    pub(crate) fn errors(&self) -> u64 {
        let ours = self.answers.iter().filter(|answers| answers.side == 0);
        ours.flat_map(|answers| &answers.rounds).flat_map(|listed| listed.errors.values()).sum()
    }

    pub(crate) fn table(&self) -> String {
        let mut out =
            "| question | at once | side | questions | p50 ms | p99 ms | greatest ms | rows an answer | errors |\n\
                       | --- | ---: | --- | ---: | --- | --- | --- | ---: | --- |\n"
                .to_owned();
        for answers in &self.answers {
            let at = |quantile: f64| {
                let rounds = answers.rounds.iter().map(|listed| percentile(&listed.took_us, quantile) / 1e3);
                Spread::new(rounds).map_or_else(String::new, |spread| format!("{spread:.2}"))
            };
            let questions: usize = answers.rounds.iter().map(|listed| listed.took_us.len()).sum();
            let rows: u64 = answers.rounds.iter().map(|listed| listed.rows).sum();
            // Writing to memory cannot fail.
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {:.1} | {} |",
                self.kinds[answers.kind],
                answers.connections,
                self.sides[answers.side],
                grouped(questions as u64),
                at(0.5),
                at(0.99),
                at(1.0),
                rows as f64 / questions as f64,
                errors(answers.rounds.iter().map(|listed| &listed.errors)),
            );
        }
        out
    }
}

/// Errors by code, of all rounds: 0, or `7 overloaded, 2 …`.
pub(crate) fn errors<'a>(rounds: impl IntoIterator<Item = &'a BTreeMap<String, u64>>) -> String {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in rounds.into_iter().flatten() {
        *all.entry(code).or_default() += count;
    }
    let told: Vec<String> = all.iter().map(|(code, count)| format!("{} `{code}`", grouped(*count))).collect();
    if told.is_empty() { "0".to_owned() } else { told.join(", ") }
}

/// The least of these times that so great a part of them does not pass.
fn percentile(took_us: &[u64], quantile: f64) -> f64 {
    let mut sorted = took_us.to_vec();
    sorted.sort_unstable();
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).map_or(f64::NAN, |&us| us as f64)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn listed(took_us: &[u64]) -> Listed {
        Listed { took_us: took_us.to_vec(), rows: 2, ..Listed::default() }
    }

    fn outcome(ours: [&[u64]; 2], theirs: [&[u64]; 2]) -> Outcome {
        let of = |side, connections, rounds: [&[u64]; 2]| Answers {
            kind: 0,
            connections,
            side,
            rounds: rounds.map(listed).into(),
        };
        let answers = vec![of(0, 1, ours), of(1, 1, theirs), of(0, 4, ours)];
        Outcome { kinds: vec!["a kind"], sides: vec!["ours", "a peer"], answers }
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<u64> = (1..=100).rev().collect();
        assert_eq!((percentile(&times, 0.5), percentile(&times, 0.99), percentile(&times, 1.0)), (50.0, 99.0, 100.0));
        assert_eq!(percentile(&[7], 0.5), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_side_is_warmed_where_its_rounds_begin() {
        let questions = Questions { requests: "requests".into(), bare: "bare".into(), count: 10 };
        let asked = RefCell::new(Vec::new());
        let side = |refused: u64| {
            let asked = &asked;
            Side::new("a peer", 1, move |turn| {
                asked.borrow_mut().push((turn.first, turn.at_most));
                Ok(Listed { errors: BTreeMap::from([("overloaded".to_owned(), refused)]), ..listed(&[1, 1]) })
            })
        };
        warm(&side(1), &questions, 3).unwrap();
        assert_eq!(asked.take(), [(0, 3), (3, 3), (6, 4)]);
        warm(&side(0).at_most(2), &questions, 3).unwrap();
        assert_eq!(asked.take(), [(0, 3), (3, 3)]);
        let error = warm(&side(2), &questions, 3).unwrap_err().to_string();
        assert!(error.contains("6 `overloaded`"), "{error}");
    }

    #[test]
    fn sides_are_compared_over_what_both_answered() {
        // The peer answers two questions in the first round: the dear ones at the end are not held against it, nor for it.
        let outcome = outcome([&[10, 20, 900, 900], &[10]], [&[40, 60], &[30]]);
        assert_eq!(outcome.times(0, 1), Spread::new([4.0, 3.0]));
        assert_eq!(outcome.shared(0, 1), 2 + 1);
        assert_eq!((outcome.times(0, 2), outcome.shared(0, 2)), (None, 0));
        assert_eq!(outcome.slowest_p99_ms(), Spread::new([0.9, 0.01]));
        let table = outcome.table();
        assert!(table.contains("| a kind | 1 | a peer | 3 | 0.04 (0.03–0.04) |"), "{table}");
    }

    #[test]
    fn errors_are_told_by_their_code() {
        let of = |code: &str, count| BTreeMap::from([(code.to_owned(), count)]);
        let rounds = [of("overloaded", 2), of("bad_request", 1), BTreeMap::new(), of("overloaded", 2000)];
        assert_eq!(errors(&rounds), "1 `bad_request`, 2,002 `overloaded`");
        assert_eq!(errors(&rounds[2..3]), "0");
    }
}
