//! The figures of `docs/results.md`: ours and each peer in one run, in turns, and what was asked beside what was reached.
//!
//! The programs of the house are driven by their command lines and the wire; only the example `engine` links what it measures.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::measure::markdown::grouped;
use crate::measure::{machine, section};
use crate::oracle::make::Make;

mod asking;
pub(crate) mod cage;
mod disk;
mod figures;
mod goals;
mod ground;
mod peers;
mod plots;
mod rounds;

pub use figures::Figure;
pub use peers::create_indexes;

use figures::Report;
use ground::Ground;

/// The section with all figures that something was asked of.
const OVERVIEW: &str = "bench";

/// What to measure, and over what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which figures, in this order.
    pub figures: Vec<Figure>,
    /// The registry to make; those of [`Figure::Scale`] have its share of dirty rows and its seed.
    pub make: Make,
    /// Rows of the registries of [`Figure::Scale`], ascending.
    pub sizes: Vec<u64>,
    /// Where big files go; the system's temporary folder where there is none.
    pub work: Option<PathBuf>,
    /// A folder that keeps them, for the next run.
    pub keep: Option<PathBuf>,
    /// Rounds, at least 1.
    pub rounds: usize,
    /// How long each load is measured.
    pub seconds: u64,
    /// Connections of most loads.
    pub connections: usize,
    /// Threads of the load generator.
    pub load_threads: usize,
    /// The file whose marked sections are replaced; plots go into the folder `images` beside it.
    pub out: PathBuf,
}

impl Plan {
    /// The figures of `make bench`, or ours alone.
    #[must_use]
    pub fn figures(is_full: bool) -> Vec<Figure> {
        if is_full { vec![Figure::Scale] } else { Figure::BENCH.to_vec() }
    }

    /// Seconds of asking before a load is measured.
    fn warmup(&self) -> u64 {
        if self.seconds >= 5 { 2 } else { 1 }
    }

    /// The command that measures one figure again.
    fn command(&self, figure: Figure) -> String {
        let Make { rows, dirty, seed } = self.make;
        let Self { rounds, seconds, connections, load_threads, .. } = self;
        let size = match figure {
            Figure::Scale => {
                let sizes: Vec<String> = self.sizes.iter().map(u64::to_string).collect();
                format!("--sizes {}", sizes.join(","))
            }
            _ => format!("--rows {rows}"),
        };
        format!(
            "compare --only {figure} {size} --dirty {dirty} --seed {seed} --rounds {rounds} --seconds {seconds} --connections {connections} \
             --load-threads {load_threads}"
        )
    }
}

/// Measures figure by figure, writes the section of each into the plan's file as soon as it is known, and tells each to `tell`. Returns whether
/// every request of every load was answered as it should.
///
/// # Errors
/// When there is not enough disk, or some figures could not be measured; the sections of those are left alone. One that takes what this machine has not
/// is skipped instead, and its section says what that is.
pub fn run(plan: &Plan, progress: impl Fn(&str), tell: impl Fn(&str)) -> anyhow::Result<bool> {
    // A file that cannot take the sections is better known before than after; and the overview stands before them.
    write_overview(plan, &Report::default(), None)?;
    for figure in &plan.figures {
        section::read(&plan.out, &marker(*figure))?;
    }
    disk::check(plan, &progress)?;
    let mut ground = Ground::new(plan, &progress)?;
    let (mut errors, mut skipped, mut failures) = (0, Vec::new(), Vec::new());
    for (at, figure) in plan.figures.iter().enumerate() {
        progress(&format!("figure {} of {}: {figure}", at + 1, plan.figures.len()));
        match figure.measure(&mut ground) {
            Ok(report) => {
                errors += report.errors;
                skipped.extend(report.skipped.as_ref().map(|why| format!("{figure} was skipped: {why}")));
                tell(&write(plan, *figure, &report)?);
            }
            // The others may be measured all the same.
            Err(error) => {
                progress(&format!("{figure} could not be measured: {error:#}"));
                failures.push(format!("{figure}: {error:#}"));
            }
        }
        let rest = &plan.figures[at + 1..];
        let is_done = |needs: fn(Figure) -> bool| !rest.iter().any(|figure| needs(*figure));
        ground.release(is_done(Figure::needs_redis), is_done(Figure::needs_postgres))?;
    }
    // At the end, where it is still read when all has gone by.
    skipped.iter().for_each(|line| progress(line));
    if !failures.is_empty() {
        bail!("{} figures could not be measured: {}", failures.len(), failures.join("; "));
    }
    Ok(errors == 0)
}

fn marker(figure: Figure) -> String {
    format!("bench-{figure}")
}

/// Writes a figure's section and its plots, and its rows of the overview; returns the section.
fn write(plan: &Plan, figure: Figure, report: &Report) -> anyhow::Result<String> {
    let (command, day, on) = (plan.command(figure), machine::today(), machine::describe());
    let mut text = format!("## {}\n\n`{command}`, {day}, on {on}. ", report.heading);
    text.push_str(&match &report.skipped {
        Some(why) => format!("**Not measured**: {why}.\n"),
        None => {
            let rounds = plan.rounds;
            format!("Median (least–greatest) of {rounds} rounds in which the sides take turns; a ratio is that of neighbours.\n\n")
        }
    });
    if !report.reached.is_empty() {
        text.push_str(&goals::table(&report.reached, report.errors));
        text.push('\n');
    }
    text.push_str(report.text.trim_end());
    text.push('\n');
    let images = plan.out.parent().unwrap_or(Path::new("")).join("images");
    for plot in &report.plots {
        std::fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
        let file = format!("bench-{}.svg", plot.name);
        std::fs::write(images.join(&file), &plot.svg).with_context(|| format!("cannot write the plot {file}"))?;
        text.push_str(&format!("\n![{}](images/{file})\n", plot.title));
    }
    let marker = marker(figure);
    section::write(&plan.out, &section::read(&plan.out, &marker)?, &text)?;
    write_overview(plan, report, Some(figure))?;
    Ok(text)
}

fn write_overview(plan: &Plan, report: &Report, figure: Option<Figure>) -> anyhow::Result<()> {
    let rows = match figure {
        Some(Figure::Scale) => plan.sizes.last().copied().unwrap_or_default(),
        _ => plan.make.rows,
    };
    let on = format!("{} rows, {}", grouped(rows), machine::today());
    let former = section::inside(&plan.out, OVERVIEW)?;
    let text = format!(
        "## Speed and scale: what was asked, and what was reached\n\n`make bench` and `make bench-full`. A row is renewed with its section below.\n\n{}",
        goals::overview(&former, &report.reached, report.errors, &on)
    );
    section::write(&plan.out, &section::read(&plan.out, OVERVIEW)?, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::goals::{Goal, Reached};
    use crate::measure::spread::Spread;

    pub(crate) fn plan(out: &Path) -> Plan {
        Plan {
            figures: Plan::figures(false),
            make: Make { rows: 7000, dirty: 0.01, seed: 1 },
            sizes: vec![10, 20],
            work: None,
            keep: None,
            rounds: 2,
            seconds: 1,
            connections: 5,
            load_threads: 1,
            out: out.to_owned(),
        }
    }

    #[test]
    fn a_figure_is_renewed_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("results.md");
        std::fs::write(&out, "# Results\n").unwrap();
        let plan = plan(&out);
        let report = |value: f64, text: &str| Report {
            heading: "A heading".to_owned(),
            text: text.to_owned(),
            reached: vec![Reached::new(Goal::Held, Spread::new([value]).unwrap())],
            plots: vec![plots::bars("x", "a plot", "u", &[("one".to_owned(), Spread::new([1.0]).unwrap())]).unwrap()],
            errors: 0,
            skipped: None,
        };
        write(&plan, Figure::Held, &report(0.5, "first")).unwrap();
        write(&plan, Figure::Redis, &Report { reached: Vec::new(), ..report(1.0, "beside it") }).unwrap();
        write(&plan, Figure::Held, &report(0.9, "second")).unwrap();
        let skipped = Some("it takes a thing that is not here".to_owned());
        write(&plan, Figure::Cold, &Report { heading: "Skipped".to_owned(), skipped, ..Report::default() }).unwrap();
        let text = std::fs::read_to_string(&out).unwrap();
        assert!(text.contains("**Not measured**: it takes a thing that is not here.\n<!-- bench-cold:end"), "{text}");
        for part in ["# Results\n", "<!-- bench:begin -->", "second", "beside it", "![a plot](images/bench-x.svg)"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(text.contains("`compare --only held --rows 7000 --dirty 0.01 --seed 1 --rounds 2 "), "{text}");
        assert!(!text.contains("first") && !text.contains("0.50"), "{text}");
        assert_eq!(text.matches("reached: 0.90").count(), 2, "{text}");
        assert!(folder.path().join("images/bench-x.svg").is_file());
    }
}
