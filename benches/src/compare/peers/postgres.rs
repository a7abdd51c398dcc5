//! PostgreSQL with a cluster of its own, holding the rows of the registry and two indexes.
//!
//! Its settings are in `benches/compare/postgresql.conf`. It refuses to run as root, and runs as Debian's user `postgres` then.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use rusqlite::types::ValueRef;
use rustix::process::{Signal, getuid};

use super::{free_address, program, wait_until};
use crate::measure::{machine, seconds};
use crate::processes::{self, Guard};
use crate::scratch::{Passage, Scratch};
use crate::table::{Registry, quoted};

const SETTINGS: &str = include_str!("../../../compare/postgresql.conf");

/// Where Debian's package has the server's programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// What a statement may take for sorting and for the rows that an index found, in MiB. With the default of 4 a similarity search over ten million
/// rows forgets which rows of a page it found, and looks at all of them.
const WORK_MIB: u32 = 64;

/// The role, and the name of the database.
pub(crate) const USER: &str = "balcao";

/// A role whose statements are planned anew each time they are executed, with the value that they ask for.
pub(crate) const USER_PLANNING: &str = "balcao_planning";

/// Says that a kept cluster holds all its rows and indexes.
const FILLED: &str = "filled";

/// A running PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres {
    guard: Guard,
    /// What its user gets to its folder through; closed behind the server.
    _passage: Option<Passage>,
    pub(crate) address: SocketAddr,
    /// Bytes of the table, the index on the CPF and that on the name.
    pub(crate) bytes: [u64; 3],
}

impl Postgres {
    /// Starts the cluster in `folder`, which is made and filled from `registry` where it is not there yet.
    pub(crate) fn start(folder: &Path, registry: &Registry, progress: impl Fn(&str)) -> anyhow::Result<Self> {
        let data = folder.join("data");
        // Another user must get there, and reads nothing on the way.
        let above = folder.parent().context("PostgreSQL's folder lies in no other")?;
        let passage = other_user()?.map(|_| Passage::through(above)).transpose()?;
        // One that is not whole is of no use to the next run. Declared before the server, so that it is removed when that has ended.
        let mut unfilled = None;
        if !folder.join(FILLED).is_file() {
            progress("making a PostgreSQL cluster");
            unfilled = Some(Scratch::anew(folder)?);
            make(folder, &data)?;
        }
        let address = free_address()?;
        let mut command = as_postgres("postgres")?;
        command.stdout(Stdio::null()).arg("-D").arg(&data).arg("-k").arg(folder);
        let [shared, cache] = memory();
        for setting in [
            format!("port={}", address.port()),
            format!("shared_buffers={shared}MB"),
            format!("effective_cache_size={cache}MB"),
            format!("work_mem={WORK_MIB}MB"),
        ] {
            command.arg("-c").arg(setting);
        }
        // Killed, it would leave a segment of shared memory.
        let guard = Guard::spawn_ended_by(command, Signal::QUIT)?;
        let mut postgres = Self { guard, _passage: passage, address, bytes: [0; 3] };
        let is_ready = || TcpStream::connect(address).is_ok() && sql_on(address, "postgres", "SELECT 1").is_ok();
        wait_until(&mut postgres.guard, is_ready)?;
        if unfilled.is_some() {
            progress("filling PostgreSQL");
            postgres.fill(registry).context("cannot fill PostgreSQL")?;
            std::fs::write(folder.join(FILLED), "")?;
        }
        if let Some(filled) = unfilled {
            filled.keep();
        }
        progress("reading PostgreSQL's pages into its buffers");
        for (place, name) in ["cpf", "by_cpf", "by_nome"].into_iter().enumerate() {
            postgres.sql(&format!("SELECT pg_prewarm('{name}')"))?;
            let bytes = postgres.sql(&format!("SELECT pg_relation_size('{name}')"))?;
            postgres.bytes[place] = bytes.trim().parse().context("PostgreSQL told no size")?;
        }
        Ok(postgres)
    }

    /// Runs statements; what they print, without headings.
    pub(crate) fn sql(&self, statements: &str) -> anyhow::Result<String> {
        sql_on(self.address, USER, statements)
    }

    fn fill(&self, registry: &Registry) -> anyhow::Result<()> {
        sql_on(self.address, "postgres", &format!("CREATE DATABASE {USER} OWNER {USER}"))?;
        let columns = columns(registry)?;
        let declared: Vec<String> = columns.iter().map(|column| format!("{} text", quoted(column))).collect();
        self.sql("CREATE EXTENSION pg_prewarm")?;
        self.sql(&format!("CREATE TABLE cpf({})", declared.join(", ")))?;
        let mut copy = psql(self.address, USER)?;
        // Frozen from the start, in the transaction that makes the table: no row is written again by the vacuum.
        copy.args(["-1", "-c", "TRUNCATE cpf", "-c", "COPY cpf FROM STDIN (FREEZE)"]);
        copy.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut guard = Guard::spawn(copy)?;
        let mut input = guard.stdin().context("psql has no standard input")?;
        let copied = copy_rows(registry, &columns, &mut input);
        drop(input);
        // Its own complaint is the better one.
        guard.finish()?;
        copied?;
        self.sql("CREATE INDEX by_cpf ON cpf(cpf)")?;
        self.sql("CREATE INDEX by_nome ON cpf(nome text_pattern_ops)")?;
        self.sql("VACUUM (ANALYZE) cpf")?;
        self.sql(&format!("CREATE ROLE {USER_PLANNING} LOGIN"))?;
        self.sql(&format!("ALTER ROLE {USER_PLANNING} SET plan_cache_mode = force_custom_plan"))?;
        self.sql(&format!("GRANT SELECT ON cpf TO {USER_PLANNING}"))?;
        self.sql("CHECKPOINT").map(drop)
    }

    /// Makes the index on the trigrams of the names where it is not there yet, and reads it into the buffers; its bytes, and the seconds that it took
    /// if it was made now.
    pub(crate) fn trigrams(&self) -> anyhow::Result<(u64, Option<f64>)> {
        let is_there = self.sql("SELECT count(*) FROM pg_class WHERE relname = 'by_trigram'")?.trim() == "1";
        let mut took = None;
        if !is_there {
            self.sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                .context("PostgreSQL has no pg_trgm: it comes with Debian's postgresql-15")?;
            let began = Instant::now();
            self.sql("CREATE INDEX by_trigram ON cpf USING gin (nome gin_trgm_ops)")?;
            took = Some(seconds(began.elapsed()));
            self.sql("CHECKPOINT")?;
        }
        self.sql("SELECT pg_prewarm('by_trigram')")?;
        let bytes = self.sql("SELECT pg_relation_size('by_trigram')")?;
        Ok((bytes.trim().parse().context("PostgreSQL told no size")?, took))
    }

    /// What `pgbench` tells as transactions a second, one prepared point select each, over these CPFs.
    pub(crate) fn pgbench(&self, folder: &Path, keys: &[&str], clients: usize, seconds: u64) -> anyhow::Result<f64> {
        let scripts = Scratch::new_in(folder)?;
        let mut command = Command::new(installed("pgbench")?);
        command.stdin(Stdio::null()).args(["-n", "-M", "prepared", "-h", "127.0.0.1", "-U", USER]);
        command.args(["-p", &self.address.port().to_string()]);
        command.args(["-c", &clients.to_string(), "-j", "1", "-T", &seconds.to_string()]);
        for (number, key) in keys.iter().enumerate() {
            let script = scripts.path().join(number.to_string());
            std::fs::write(&script, format!("SELECT * FROM cpf WHERE cpf = '{key}';\n"))?;
            command.arg("-f").arg(script);
        }
        let printed = {
            command.arg(USER);
            processes::output(command)?
        };
        let rate =
            printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
        rate.with_context(|| format!("pgbench told no rate: {printed}"))
    }

    /// Ends it without waiting for clients.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let status = self.guard.end_by(Signal::INT)?;
        if status.success() { Ok(()) } else { Err(self.guard.failure(&status.to_string())) }
    }
}

/// Makes a cluster without rows in an empty folder.
fn make(folder: &Path, data: &Path) -> anyhow::Result<()> {
    if let Some([user, group]) = other_user()? {
        chown(folder, Some(user), Some(group)).context("cannot give PostgreSQL its folder")?;
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    let mut initdb = as_postgres("initdb")?;
    // Whoever reaches the port of this synthetic data may read it. Bytewise order is PostgreSQL's fastest.
    initdb.arg("-D").arg(data).args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    processes::output(initdb)
        .context("cannot make a PostgreSQL cluster; may the user `postgres` enter the folder for big files?")?;
    let mut settings = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
    settings.write_all(SETTINGS.as_bytes())?;
    Ok(())
}

/// Writes the rows as `COPY` reads them.
fn copy_rows(registry: &Registry, columns: &[String], out: &mut dyn std::io::Write) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, out);
    let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let database = registry.open()?;
    let mut statement = database.prepare(&format!("SELECT {} FROM {}", names.join(", "), quoted(&registry.table)))?;
    let mut rows = statement.query([])?;
    let mut line = Vec::new();
    while let Some(row) = rows.next()? {
        line.clear();
        for column in 0..columns.len() {
            if column > 0 {
                line.push(b'\t');
            }
            write_field(&mut line, row.get_ref(column)?);
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(out.flush()?)
}

/// Appends one field. What PostgreSQL cannot hold, a NUL and what is not UTF-8, it gets as U+FFFD.
fn write_field(out: &mut Vec<u8>, value: ValueRef<'_>) {
    let text = match value {
        ValueRef::Null => return out.extend_from_slice(b"\\N"),
        ValueRef::Integer(number) => number.to_string().into(),
        ValueRef::Real(number) => number.to_string().into(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes),
    };
    for character in text.chars() {
        match character {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\0' => out.extend_from_slice("\u{fffd}".as_bytes()),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn columns(registry: &Registry) -> anyhow::Result<Vec<String>> {
    let database = registry.open()?;
    let statement = database.prepare(&format!("SELECT * FROM {}", quoted(&registry.table)))?;
    Ok(statement.column_names().map(str::to_owned).collect())
}

/// A quarter of the machine's memory, from 128 MiB to 6 GiB, for its own buffers, and three quarters that it may believe to be cached; in MiB.
fn memory() -> [u64; 2] {
    let mib = machine::memory_bytes() >> 20;
    [(mib / 4).clamp(128, 6144), mib / 4 * 3]
}

/// User and group that PostgreSQL must run as, where that is not the one who runs this.
fn other_user() -> anyhow::Result<Option<[u32; 2]>> {
    if !getuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("cannot read the users of this machine")?;
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let line = line.context("there is no user `postgres`: `make bench-setup` installs PostgreSQL")?;
    let mut numbers = line.split(':').skip(1).filter_map(|field| field.parse().ok());
    let (user, group) = (numbers.next(), numbers.next());
    ensure!(user.is_some() && group.is_some(), "the user `postgres` of this machine cannot be read");
    Ok(Some([user.unwrap_or_default(), group.unwrap_or_default()]))
}

/// A command that runs one of PostgreSQL's programs as a user who may.
fn as_postgres(name: &str) -> anyhow::Result<Command> {
    let path = installed(name)?;
    let mut command = match other_user()? {
        Some([user, group]) => {
            let mut command = Command::new(program(&["/usr/bin/setpriv"])?);
            let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
            command.args([&user, &group, "--clear-groups", "--"]).arg(path);
            command
        }
        None => Command::new(path),
    };
    command.stdin(Stdio::null()).current_dir("/").env("LC_ALL", "C");
    Ok(command)
}

fn installed(name: &str) -> anyhow::Result<PathBuf> {
    program(&[&format!("{PROGRAMS}/{name}")])
}

fn psql(address: SocketAddr, database: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(installed("psql")?);
    command.stdin(Stdio::null()).env("LC_ALL", "C").env("PGCLIENTENCODING", "UTF8");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER]);
    command.args(["-p", &address.port().to_string(), "-d", database]);
    Ok(command)
}

fn sql_on(address: SocketAddr, database: &str, statements: &str) -> anyhow::Result<String> {
    let mut command = psql(address, database)?;
    command.args(["-c", statements]);
    processes::output(command)
}

/// What it calls itself: `PostgreSQL 15.18`.
pub(crate) fn version() -> anyhow::Result<String> {
    let mut command = Command::new(installed("postgres")?);
    command.arg("--version");
    let text = processes::output(command)?;
    let version = text.split_whitespace().nth(2).unwrap_or("of unknown version");
    Ok(format!("PostgreSQL {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_copy_reads_them() {
        #[track_caller]
        fn check(value: ValueRef<'_>, expected: &str) {
            let mut out = Vec::new();
            write_field(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        check(ValueRef::Null, "\\N");
        check(ValueRef::Integer(-5), "-5");
        check(ValueRef::Text(b"a\tb\\n\r\n"), "a\\tb\\\\n\\r\\n");
        check(ValueRef::Text("É\0".as_bytes()), "É\u{fffd}");
        check(ValueRef::Text(b"\xc3"), "\u{fffd}");
    }

    #[test]
    fn memory_is_a_share_of_the_machine() {
        let [shared, cache] = memory();
        assert!((128..=6144).contains(&shared) && cache > 0, "{shared} {cache}");
    }
}
