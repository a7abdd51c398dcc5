//! The command line of `indexer`, and what each command prints.

use std::fmt::Write as _;
use std::num::NonZero;
use std::path::PathBuf;

use anyhow::{Context, Result};
use balcao_registry::TableName;
use clap::{Parser, Subcommand};

use crate::build::{BuildPlan, MEMORY_MIN, build};
use crate::filters::{FilterSummary, SearchPlan};
use crate::progress::Bar;
use crate::stats::stats;
use crate::verify::verify;

/// Reads a registry of people from a SQLite file and publishes an index of it by CPF and by name.
#[derive(Debug, Parser)]
#[command(name = "indexer", version, propagate_version = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON line instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build one generation of the index and publish it.
    Build {
        /// The database, a SQLite file.
        #[arg(long)]
        db: PathBuf,
        /// The index's folder; created where it is missing.
        #[arg(long)]
        out: PathBuf,
        /// The table.
        #[arg(long, default_value = "cpf")]
        table: String,
        /// The column with the CPF.
        #[arg(long, default_value = "cpf")]
        cpf_column: String,
        /// The column with the name.
        #[arg(long, default_value = "nome")]
        name_column: String,
        /// Shards of each of the two indexes [default: one for each core].
        #[arg(long)]
        shards: Option<Shards>,
        /// Memory to stay within, in bytes or with KiB, MiB, GiB; at least 16MiB.
        #[arg(long, default_value = "1GiB", value_parser = memory)]
        memory: u64,
        /// Also write the rows into a copy in the order of their names: a page of names is then one walk. Takes about as much disk as the table.
        #[arg(long)]
        cluster: bool,
        /// Leave the word index out: names are then found by their beginning only.
        #[arg(long)]
        no_words: bool,
        /// The column with the sex, to filter by; '' for none [default: sexo, where the table has it].
        #[arg(long, value_name = "NAME")]
        sex_column: Option<String>,
        /// The column with the day of birth, to filter by; '' for none [default: nasc, where the table has it].
        #[arg(long, value_name = "NAME")]
        birth_column: Option<String>,
    },
    /// Check every checksum, order and count; with the database, that every row is found by its keys.
    Verify {
        /// The index's folder.
        #[arg(long)]
        index: PathBuf,
        /// The database that was indexed.
        #[arg(long)]
        db: Option<PathBuf>,
    },
    /// Tell what the index holds, and its bytes by part.
    Stats {
        /// The index's folder.
        #[arg(long)]
        index: PathBuf,
    },
}

/// A number of shards, 1 to 1024.
#[derive(Clone, Copy, Debug)]
struct Shards(NonZero<usize>);

impl std::str::FromStr for Shards {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shards: NonZero<usize> = text.parse().map_err(|_| "a whole number from 1 to 1024".to_owned())?;
        if shards.get() <= 1024 { Ok(Self(shards)) } else { Err("at most 1024 shards".to_owned()) }
    }
}

/// Reads an amount of memory.
fn memory(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("an amount of memory looks like 512MiB or 2GiB".to_owned()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes >= MEMORY_MIN => Ok(bytes),
        Some(_) => Err("a build needs at least 16MiB".to_owned()),
        None => Err("an amount of memory looks like 512MiB or 2GiB".to_owned()),
    }
}

impl Args {
    /// Runs the command: the text for standard output.
    ///
    /// # Errors
    /// What the command says.
    pub fn run(self) -> Result<String> {
        let bar = Bar::new();
        let text = match self.command {
            Command::Build {
                db,
                out,
                table,
                cpf_column,
                name_column,
                shards,
                memory,
                cluster,
                no_words,
                sex_column,
                birth_column,
            } => {
                let table = TableName { table, cpf_column, name_column };
                let shards = shards.map(|shards| shards.0);
                let search = SearchPlan { words: !no_words, sex_column, birth_column };
                let plan = BuildPlan { db, index: out, table, shards, memory, cluster, search };
                let summary = build(&plan, &bar);
                bar.finish();
                let summary = summary.with_context(|| format!("cannot index {}", plan.db.display()))?;
                if self.json { serde_json::to_string(&summary)? + "\n" } else { summary_text(&summary) }
            }
            Command::Verify { index, db } => {
                let verified = verify(&index, db.as_deref(), &bar);
                bar.finish();
                let verified = verified.with_context(|| format!("cannot vouch for {}", index.display()))?;
                if self.json {
                    let json = serde_json::json!({
                        "files": verified.files, "bytes": verified.bytes, "cpf_rows": verified.cpf_rows,
                        "name_rows": verified.name_rows, "distinct_names": verified.distinct_names,
                        "anomalies": verified.anomalies, "database": db.is_some(),
                    });
                    format!("{json}\n")
                } else {
                    let beside = if db.is_some() { ", and every row of the database is found by its keys" } else { "" };
                    format!(
                        "whole: {} files, {} bytes, {} rows by CPF, {} rows by name ({} distinct){beside}\n",
                        verified.files, verified.bytes, verified.cpf_rows, verified.name_rows, verified.distinct_names
                    )
                }
            }
            Command::Stats { index } => {
                bar.finish();
                let stats = stats(&index).with_context(|| format!("cannot read {}", index.display()))?;
                if self.json { serde_json::to_string(&stats)? + "\n" } else { stats_text(&stats) }
            }
        };
        Ok(text)
    }
}

fn summary_text(summary: &crate::Summary) -> String {
    let mut text = format!(
        "generation {} published\nrows         {}\nwith a CPF   {}\nwith a name  {}\n",
        summary.generation, summary.rows, summary.cpf_rows, summary.name_rows
    );
    // Writing to a string cannot fail.
    for (kind, count) in &summary.anomalies {
        let _ = writeln!(text, "{kind:<18} {count}");
    }
    let per_row = summary.bytes as f64 / summary.rows.max(1) as f64;
    let _ = writeln!(text, "bytes        {} ({per_row:.2} a row)", summary.bytes);
    if let Some(bytes) = summary.cluster_bytes {
        let _ = writeln!(text, "copy         {bytes} ({:.2} a row)", bytes as f64 / summary.rows.max(1) as f64);
    }
    if let Some(words) = &summary.words {
        let per_row = words.bytes as f64 / summary.rows.max(1) as f64;
        let _ = writeln!(text, "words        {} distinct, {} bytes ({per_row:.2} a row)", words.distinct, words.bytes);
    }
    if let Some(filters) = &summary.filters {
        text += &filters_text(filters, summary.rows);
    }
    for (what, why) in [("words", &summary.words_left_out), ("filters", &summary.filters_left_out)] {
        if let Some(why) = why {
            let _ = writeln!(text, "{what:<12} left out: {why}");
        }
    }
    if summary.spilled_bytes > 0 {
        let _ = writeln!(text, "spilled      {}", summary.spilled_bytes);
    }
    let _ = writeln!(text, "seconds      {:.2}", summary.seconds);
    text
}

fn filters_text(filters: &FilterSummary, rows: u64) -> String {
    let per_row = filters.bytes as f64 / rows.max(1) as f64;
    let mut text = format!("filters      {} bytes ({per_row:.2} a row)\n", filters.bytes);
    for (kind, column, unreadable) in [
        ("sex", &filters.sex_column, filters.sex_unreadable),
        ("birth", &filters.birth_column, filters.birth_unreadable),
    ] {
        if let Some(column) = column {
            let _ = writeln!(text, "by {kind:<9} column {column}, {unreadable} without a value");
        }
    }
    text
}

fn stats_text(stats: &crate::Stats) -> String {
    let mut text = format!(
        "generation   {}\ntable        {}\nrows         {}\nwith a CPF   {} in {} shards\nwith a name  {} in {} shards\n",
        stats.generation, stats.table, stats.rows, stats.cpf_rows, stats.shards.0, stats.name_rows, stats.shards.1
    );
    for (kind, count) in &stats.anomalies {
        let _ = writeln!(text, "{kind:<18} {count}");
    }
    if let Some(words) = stats.distinct_words {
        let _ = writeln!(text, "words        {words} distinct");
    }
    if let Some(filters) = &stats.filters {
        text += &filters_text(filters, stats.rows);
    }
    for (part, bytes) in &stats.bytes {
        let _ = writeln!(text, "{part:<12} {bytes:>14} bytes {:>8.3} a row", *bytes as f64 / stats.rows.max(1) as f64);
    }
    let _ = writeln!(text, "{:<12} {:>14} bytes {:>8.3} a row", "together", stats.bytes_total, stats.bytes_per_row);
    if let Some(bytes) = stats.cluster_bytes {
        let per_row = bytes as f64 / stats.rows.max(1) as f64;
        let _ = writeln!(text, "{:<12} {bytes:>14} bytes {per_row:>8.3} a row, apart from these", "copy");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_every_spelling() {
        assert_eq!(memory("1GiB"), Ok(1 << 30));
        assert_eq!(memory("512mib"), Ok(512 << 20));
        assert_eq!(memory("33554432"), Ok(32 << 20));
        for wrong in ["", "1", "GiB", "1TiB", "-1GiB", "99999999999999999999", "18446744073709551615GiB"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }
}
