//! `oracle`: compares every answer of a running server with a plain scan of its table, or makes all of that itself.
//!
//! The work is done in `balcao_benches::oracle`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use balcao_benches::exit::{self, Usage};
use balcao_benches::oracle::make::{self, Make};
use balcao_benches::oracle::{self, Plan};
use balcao_benches::scratch;
use balcao_benches::table::Registry;
use clap::Parser;

/// Asks a server for every CPF and name of its table, for random prefixes, words, misspelt words, filters and claims; each answer must equal a plain
/// scan.
#[derive(Debug, Parser)]
#[command(name = "oracle", version)]
struct Arguments {
    /// The database that the server serves.
    #[arg(long, value_name = "FILE", required_unless_present = "make", requires = "server")]
    db: Option<PathBuf>,
    /// The server.
    #[arg(long, value_name = "HOST:PORT", requires = "db")]
    server: Option<String>,
    /// Make a registry and its index in a temporary folder, start a server, ask it, stop it, remove all.
    #[arg(long, conflicts_with_all = ["db", "server"])]
    make: bool,
    /// Rows of the registry to make.
    #[arg(long, default_value_t = 300_000, requires = "make")]
    rows: u64,
    /// Share of its dirty rows.
    #[arg(long, default_value_t = 0.1, requires = "make")]
    dirty: f64,
    /// Have its index built with a copy of the rows in the order of their names.
    #[arg(long, requires = "make")]
    cluster: bool,
    /// Have its index built in so many shards; by default one for each core.
    #[arg(long, requires = "make", value_name = "N")]
    shards: Option<u16>,
    /// The table.
    #[arg(long, default_value = "cpf")]
    table: String,
    /// The column with the CPF.
    #[arg(long, default_value = "cpf")]
    cpf_column: String,
    /// The column with the name.
    #[arg(long, default_value = "nome")]
    name_column: String,
    /// Random prefixes to ask.
    #[arg(long, default_value_t = 20_000)]
    prefixes: usize,
    /// Only a few prefixes find more rows than this.
    #[arg(long, default_value_t = 20_000)]
    prefix_rows_max: usize,
    /// Random questions by words to ask.
    #[arg(long, default_value_t = 3000)]
    words: usize,
    /// Random fuzzy questions to ask, half of them about spelling too.
    #[arg(long, default_value_t = 3000)]
    fuzzy: usize,
    /// Random questions of every match, and by CPF, with a filter.
    #[arg(long, default_value_t = 1000)]
    filtered: usize,
    /// Random claims to have verified.
    #[arg(long, default_value_t = 500)]
    claims: usize,
    /// Connections.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Questions in flight on each connection.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pipeline: u16,
    /// Draws everything that is random, the registry too.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Arguments {
    fn adjust(&self, plan: &mut Plan) {
        plan.prefixes = self.prefixes;
        plan.prefix_rows_max = self.prefix_rows_max;
        (plan.words, plan.fuzzy) = (self.words, self.fuzzy);
        (plan.filtered, plan.claims) = (self.filtered, self.claims);
        plan.connections = self.connections.into();
        plan.pipeline = self.pipeline.into();
        plan.seed = self.seed;
    }
}

fn main() -> ExitCode {
    exit::code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let report = if arguments.make {
        if !(0.0..=1.0).contains(&arguments.dirty) {
            return Err(Usage("--dirty is a share from 0 to 1".to_owned()).into());
        }
        scratch::clean_up_when_interrupted()?;
        let made = Make { rows: arguments.rows, dirty: arguments.dirty, seed: arguments.seed };
        let shards = arguments.shards.map(|shards| shards.to_string());
        let mut further: Vec<&str> = shards.iter().flat_map(|shards| ["--shards", shards]).collect();
        further.extend(arguments.cluster.then_some("--cluster"));
        make::run(&made, &further, |plan| arguments.adjust(plan), |step| eprintln!("{step} …"))?
    } else {
        let (Some(db), Some(server)) = (&arguments.db, &arguments.server) else {
            return Err(Usage("give --db and --server, or --make".to_owned()).into());
        };
        let mut plan = Plan::new(db, address(server)?);
        plan.registry = Registry {
            db: db.clone(),
            table: arguments.table.clone(),
            cpf_column: arguments.cpf_column.clone(),
            name_column: arguments.name_column.clone(),
        };
        arguments.adjust(&mut plan);
        oracle::run(&plan)?
    };
    println!("{report}");
    Ok(report.differences == 0)
}

fn address(server: &str) -> anyhow::Result<std::net::SocketAddr> {
    use std::net::ToSocketAddrs as _;
    let mut addresses =
        server.to_socket_addrs().map_err(|error| Usage(format!("`{server}` is no HOST:PORT ({error})")))?;
    addresses.next().with_context(|| format!("`{server}` has no address"))
}
