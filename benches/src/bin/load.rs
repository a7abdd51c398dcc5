//! `load`: many connections that ask a server on this machine, or hold still; or a file of keys for them.
//!
//! The work is done in `balcao_benches::load`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use balcao_benches::exit::{self, Usage};
use balcao_benches::load::draw::typed::{self, Asking, Frequency, Typed};
use balcao_benches::load::{self, Pace, Plan, Protocol, Statement};
use clap::{Parser, ValueEnum};

/// Asks a server on this machine over many connections and tells throughput, latency and errors.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Arguments {
    /// The server; loopback only.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "draw")]
    server: Option<String>,
    /// What it speaks.
    #[arg(long, value_enum, default_value_t = Speaks::Balcao)]
    protocol: Speaks,
    /// PostgreSQL's user, whom it must trust on loopback.
    #[arg(long, default_value = "postgres")]
    user: String,
    /// PostgreSQL's database.
    #[arg(long, default_value = "postgres")]
    database: String,
    /// The statement that PostgreSQL prepares on each connection, with `$1` where the key belongs.
    #[arg(long, required_if_eq("protocol", "postgres"))]
    sql: Option<String>,
    /// Connections.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Seconds to measure, or to hold idle connections.
    #[arg(long, default_value = "30", value_parser = seconds)]
    seconds: Duration,
    /// Seconds to ask before measuring.
    #[arg(long, default_value = "2", value_parser = seconds)]
    warmup: Duration,
    /// Threads of this program.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Requests a second over all connections, due at random times, with latencies from then; without it, each connection asks when it is
    /// answered.
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "idle")]
    rate: Option<f64>,
    /// Requests in flight on each connection; with --rate at most so many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pipeline: u32,
    /// File of keys, one a line. balcao: CPFs, or requests as JSON objects, and the `total` that must come may stand behind a tabulator.
    /// resp: the keys of `GET`. postgres: the parameters of the statement.
    #[arg(long, required_unless_present_any = ["idle", "draw"])]
    keys: Option<PathBuf>,
    /// Draws the order of the keys, and when they are due.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Count an answer without rows as an error; of Redis always.
    #[arg(long)]
    expect_rows: bool,
    /// Open the connections, have each answer one ping, and hold them.
    #[arg(long, conflicts_with_all = ["keys", "expect_rows"])]
    idle: bool,
    /// Ask nothing: write a file of keys, drawn from the rows of a registry.
    #[arg(long, value_enum, requires_all = ["db", "out"], conflicts_with_all = ["server", "keys", "idle", "expect_rows", "rate"])]
    draw: Option<Draw>,
    /// The registry to draw from, a SQLite file with the table `cpf`.
    #[arg(long, requires = "draw")]
    db: Option<PathBuf>,
    /// Words of a drawn question, of `words` and `fuzzy`.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    words: u8,
    /// Which words of names, of `words` and `fuzzy`.
    #[arg(long, value_enum, default_value_t = Carried::Any)]
    carried: Carried,
    /// The `last` of the requests of `words` and `fuzzy`.
    #[arg(long, value_parser = ["prefix", "whole"])]
    last: Option<String>,
    /// The `spelling` of the requests of `fuzzy`.
    #[arg(long, value_parser = ["pt"])]
    spelling: Option<String>,
    /// Rows of the pages that `words` and `fuzzy` ask for.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Keys to draw.
    #[arg(long, default_value_t = 500_000)]
    count: usize,
    /// The file of keys to make.
    #[arg(long, requires = "draw")]
    out: Option<PathBuf>,
    /// Print a second line with the answers of each tenth of a second.
    #[arg(long, requires = "json", conflicts_with_all = ["idle", "draw"])]
    timeline: bool,
    /// Print JSON lines.
    #[arg(long)]
    json: bool,
}

/// What keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Draw {
    /// CPFs, eleven digits a line.
    Cpfs,
    /// The first two words of names, as requests for pages of 50 rows.
    Prefixes,
    /// The same as bare text, for peers.
    BarePrefixes,
    /// Requests: eight of ten by CPF, one by the beginning of a name, one by a whole name.
    Mixed,
    /// Words of names in any order, as requests; different ones.
    Words,
    /// The same with one word mistyped.
    Fuzzy,
}

/// By how many rows the words of a question are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Carried {
    /// Words of any row.
    Any,
    /// The most frequent ones alone.
    Common,
    /// A rare one, and the most frequent beside it.
    Rare,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Speaks {
    /// Our protocol, version 1.
    Balcao,
    /// Redis.
    Resp,
    /// PostgreSQL, version 3 of its protocol.
    Postgres,
}

impl Arguments {
    fn protocol(&self) -> Protocol {
        match self.protocol {
            Speaks::Balcao => Protocol::Balcao,
            Speaks::Resp => Protocol::Resp,
            Speaks::Postgres => Protocol::Postgres(Statement {
                user: self.user.clone(),
                database: self.database.clone(),
                sql: self.sql.clone().unwrap_or_default(),
            }),
        }
    }

    fn typed(&self, is_mistyped: bool) -> Typed {
        let frequency = match self.carried {
            Carried::Any => Frequency::Any,
            Carried::Common => Frequency::Common,
            Carried::Rare => Frequency::Rare,
        };
        Typed { words: self.words.into(), frequency, is_mistyped }
    }

    fn asking<'a>(&'a self, matching: &'a str) -> Asking<'a> {
        let (last, spelling) = (self.last.as_deref(), self.spelling.as_deref());
        Asking { matching, last, spelling, limit: self.limit.into() }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "write seconds as a number")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    exit::code(run(&Arguments::parse()))
}

fn draw(what: Draw, arguments: &Arguments) -> anyhow::Result<bool> {
    let (db, out) = (arguments.db.clone().unwrap_or_default(), arguments.out.clone().unwrap_or_default());
    let (count, seed) = (arguments.count, arguments.seed);
    let keys = match what {
        Draw::Cpfs => load::draw::cpfs(&db, count, seed, &out),
        Draw::Prefixes => load::draw::prefixes(&db, count, seed, &out),
        Draw::BarePrefixes => load::draw::bare_prefixes(&db, count, seed, &out),
        Draw::Mixed => load::draw::mixed(&db, count, seed, &out),
        Draw::Words => typed::lines(&db, &arguments.typed(false), &arguments.asking("words"), count, seed, &out),
        Draw::Fuzzy => typed::lines(&db, &arguments.typed(true), &arguments.asking("fuzzy"), count, seed, &out),
    }?;
    match arguments.json {
        true => println!("{{\"keys\":{keys}}}"),
        false => println!("{}: {keys} keys", out.display()),
    }
    Ok(true)
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(what) = arguments.draw {
        return draw(what, arguments);
    }
    let server = load::loopback(arguments.server.as_deref().unwrap_or_default())?;
    let connections = arguments.connections as usize;
    if arguments.idle {
        if arguments.protocol != Speaks::Balcao {
            return Err(Usage("--idle speaks our protocol only; leave --protocol out".to_owned()).into());
        }
        let holding = || match arguments.json {
            true => println!("{{\"holding\":{connections}}}"),
            false => println!("holding {connections} connections"),
        };
        let held = load::hold(server, connections, arguments.seconds, holding)?;
        match arguments.json {
            true => println!("{}", held.to_json()),
            false => println!("{held}"),
        }
        return Ok(held.is_well());
    }
    if arguments.seconds.is_zero() {
        return Err(Usage("--seconds must be more than 0".to_owned()).into());
    }
    let plan = Plan {
        server,
        protocol: arguments.protocol(),
        connections,
        pace: arguments.rate.map_or(Pace::Closed, |per_second| Pace::Fixed { per_second }),
        measured: arguments.seconds,
        warmup: arguments.warmup,
        threads: arguments.threads as usize,
        pipeline: arguments.pipeline as usize,
        keys: arguments.keys.clone().unwrap_or_default(),
        seed: arguments.seed,
        expect_rows: arguments.expect_rows,
    };
    let summary = load::run(&plan, None)?;
    match arguments.json {
        true => println!("{}", summary.to_json()),
        false => println!("{summary}"),
    }
    if arguments.timeline {
        println!("{}", summary.timeline_to_json());
    }
    Ok(summary.errors_total() == 0)
}
