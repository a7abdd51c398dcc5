//! `demo`: the whole way once, for somebody who has just cloned the repository: a synthetic registry, its index, a server, and
//! questions with their answers and times. Everything it starts is stopped and everything it makes is removed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use balcao_benches::exit;
use balcao_benches::processes::{Server, command, output};
use balcao_benches::scratch::{Scratch, clean_up_when_interrupted};
use clap::Parser;
use rusqlite::Connection;
use serde_json::Value;

/// Shows the desk at work on a synthetic registry.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Args {
    /// Rows of the registry.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// The registry's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Rows of a page in the demonstration.
const PAGE_ROWS: usize = 3;

/// Characters of a reply that are shown.
const SHOWN_CHARS: usize = 400;

fn main() -> ExitCode {
    exit::code(run(&Args::parse()).map(|()| true))
}

fn run(args: &Args) -> Result<()> {
    clean_up_when_interrupted()?;
    let scratch = Scratch::new_in(&std::env::temp_dir())?;
    let (db, index) = (scratch.path().join("basecpf.db"), scratch.path().join("index"));
    let (rows, seed) = (args.rows.to_string(), args.seed.to_string());

    step("a synthetic registry, 1 % of its rows dirty");
    let datasets = ["registry", "--rows", &rows, "--seed", &seed, "--dirty", "0.01", "--out", "basecpf.db"];
    tell("datasets", &datasets, scratch.path(), 2)?;
    step("its index: read once, sorted, published");
    tell("indexer", &["build", "--db", "basecpf.db", "--out", "index"], scratch.path(), usize::MAX)?;

    step("a server on a free port");
    let server = Server::start(&["--db".as_ref(), db.as_ref(), "--index".as_ref(), index.as_ref()])?;
    let address = server.address.to_string();
    println!("ready on {address} after {:.0} ms", server.ready_after.as_secs_f64() * 1e3);
    let result = ask(&db, scratch.path(), &address);
    server.stop()?;
    result?;
    println!("\nThe server is stopped, the registry and its index are removed.");
    Ok(())
}

/// The questions, by the command line and by the wire.
fn ask(db: &Path, folder: &Path, address: &str) -> Result<()> {
    let person = Person::find(db)?;
    let digits = &person.cpf;
    let punctuated = format!("{}.{}.{}-{}", &digits[..3], &digits[3..6], &digits[6..9], &digits[9..]);
    let wrong = format!("{}{}", &digits[..10], (digits.as_bytes()[10] - b'0' + 1) % 10);
    let client = |words: &[&str], lines| {
        let words: Vec<&str> = words.iter().copied().chain(["--server", address]).collect();
        tell_whatever("client", &words, folder, lines)
    };
    step("by CPF: plain, punctuated, with its leading zeros lost, with wrong check digits");
    client(&["cpf", digits], usize::MAX)?;
    client(&["cpf", &punctuated], usize::MAX)?;
    client(&["cpf", digits.trim_start_matches('0')], usize::MAX)?;
    client(&["cpf", &wrong], usize::MAX)?;

    step("by name: exact, however it is written");
    client(&["nome", "maria  da silva", "--match", "exact", "--limit", "4"], usize::MAX)?;
    client(&["nome", &person.name.to_lowercase(), "--match", "exact", "--limit", "4"], usize::MAX)?;

    step("by the beginning of a name, over the wire: a page, the total, and the following page");
    let mut wire = Wire::connect(address)?;
    let mut question = serde_json::json!({"id": 1, "nome": "Maria da S", "match": "prefix", "limit": PAGE_ROWS});
    let reply = wire.ask(&question)?;
    println!("  total {}", reply["total"]);
    question["id"] = 2.into();
    question["cursor"] = reply["next"].clone();
    wire.ask(&question)?;
    wire.ask(&serde_json::json!({"id": 3, "op": "hello"}))?;

    step("a file of questions");
    let questions = format!("who,cpf\nfirst,{digits}\nsecond,{punctuated}\nthird,{wrong}\nfourth,not a CPF\n");
    std::fs::write(folder.join("questions.csv"), questions).context("cannot write the questions")?;
    // One of the lines is no CPF: the command says so with its exit code, and that is right.
    tell_whatever(
        "client",
        &["batch", "questions.csv", "--out", "answers.csv", "--server", address],
        folder,
        usize::MAX,
    )?;
    let answers = std::fs::read_to_string(folder.join("answers.csv")).context("cannot read the answers")?;
    println!("answers.csv:\n{}", indented(&answers, usize::MAX));
    Ok(())
}

/// Somebody out of the synthetic registry whose CPF begins with zeros and whose name others have too.
struct Person {
    cpf: String,
    name: String,
}

impl Person {
    fn find(db: &Path) -> Result<Self> {
        let registry = Connection::open(db).context("cannot open the registry")?;
        let sql = "SELECT cpf, nome FROM cpf WHERE cpf GLOB '0[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]' \
                   AND nome GLOB '[A-Z]* [A-Z]*' AND nome NOT GLOB '*[^A-Z ]*' AND nome NOT GLOB '*  *' AND nome NOT GLOB '* ' \
                   ORDER BY length(nome), rowid LIMIT 1";
        let find = registry.query_row(sql, [], |row| Ok(Self { cpf: row.get(0)?, name: row.get(1)? }));
        find.context("the registry is too small to show something; take more --rows")
    }
}

/// A plain connection, as `nc` would make it.
struct Wire {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Wire {
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        let replies = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, replies })
    }

    fn ask(&mut self, question: &Value) -> Result<Value> {
        let began = Instant::now();
        self.stream.write_all(format!("{question}\n").as_bytes()).context("cannot ask")?;
        let mut line = String::new();
        self.replies.read_line(&mut line).context("no answer")?;
        let took = began.elapsed();
        let shown: String = line.trim_end().chars().take(SHOWN_CHARS).collect();
        println!("  > {question}\n  < {shown}\n  ({} µs)", took.as_micros());
        serde_json::from_str(&line).context("the answer is no JSON")
    }
}

fn step(title: &str) {
    println!("\n== {title}");
}

/// Runs a program of the house in `folder`, shows its command line, the first lines that it prints, and its time.
fn tell(program: &str, words: &[&str], folder: &Path, lines: usize) -> Result<()> {
    println!("$ {program} {}", shown(words));
    let mut command = command(program)?;
    command.args(words).current_dir(folder);
    let began = Instant::now();
    let text = output(command)?;
    print!("{}", indented(&text, lines));
    println!("  ({:.1} ms, process and all)", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// As [`tell`], with what it says on standard error, and whatever its exit code.
fn tell_whatever(program: &str, words: &[&str], folder: &Path, lines: usize) -> Result<()> {
    println!("$ {program} {}", shown(words));
    let mut command = command(program)?;
    command.args(words).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let ended = command.output().with_context(|| format!("cannot start `{program}`"))?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    print!("{}", indented(&text, lines));
    let code = ended.status.code().unwrap_or(-1);
    println!("  (exit code {code}, {:.1} ms, process and all)", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn shown(words: &[&str]) -> String {
    let quoted = |word: &&str| if word.contains(' ') { format!("\"{word}\"") } else { (*word).to_owned() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn indented(text: &str, lines: usize) -> String {
    text.lines().take(lines).map(|line| format!("  {line}\n")).collect()
}
