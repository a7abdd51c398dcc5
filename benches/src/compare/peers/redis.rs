//! Redis with its default settings, holding the very lines that our server answers.
//!
//! In memory alone: nothing is written to a disk while it is measured. It speaks only what filling takes; the load generator does the asking.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::{READY_WITHIN, free_address, program, wait_until};
use crate::load::resp::command;
use crate::processes::{self, Guard};

/// How many questions are on their way at once while Redis is filled.
const WINDOW: usize = 64;

/// The `id` of the questions whose replies become Redis's values: as long as most that the load generator sends.
const ID: u32 = 1000;

/// A running Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    guard: Guard,
    pub(crate) address: SocketAddr,
    /// Bytes of all values.
    pub(crate) value_bytes: u64,
    pub(crate) values: u64,
}

impl Redis {
    /// Starts one in `folder` and fills it with what `server` answers for each of `keys`.
    pub(crate) fn start(folder: &Path, server: SocketAddr, keys: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(program(&["/usr/bin/redis-server"])?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).arg("--port").arg(address.port().to_string());
        command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--appendonly", "no"]);
        command.args(["--maxclients", "12000"]).arg("--dir").arg(folder);
        let mut redis = Self { guard: Guard::spawn(command)?, address, value_bytes: 0, values: 0 };
        wait_until(&mut redis.guard, || answers_ping(address))?;
        redis.fill(server, keys).context("cannot fill Redis")?;
        Ok(redis)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.guard.pid()
    }

    fn fill(&mut self, server: SocketAddr, keys: &Path) -> anyhow::Result<()> {
        let ours = TcpStream::connect(server).context("cannot connect to our server")?;
        let theirs = TcpStream::connect(self.address).context("cannot connect to Redis")?;
        for stream in [&ours, &theirs] {
            stream.set_read_timeout(Some(READY_WITHIN))?;
        }
        let (mut replies, mut stored) = (BufReader::new(ours.try_clone()?), BufReader::new(theirs.try_clone()?));
        let (mut ours, mut theirs) = (ours, theirs);
        let text = std::fs::read_to_string(keys).context("cannot read the keys")?;
        let keys: Vec<&str> = text.lines().collect();
        let mut line = Vec::new();
        for keys in keys.chunks(WINDOW) {
            let questions: String = keys.iter().map(|key| format!("{{\"id\":{ID},\"cpf\":\"{key}\"}}\n")).collect();
            ours.write_all(questions.as_bytes())?;
            let mut commands = Vec::new();
            for key in keys {
                line.clear();
                replies.read_until(b'\n', &mut line)?;
                let value = line.strip_suffix(b"\n").context("our server closed the connection")?;
                let start = format!("{{\"id\":{ID},\"status\":\"ok\",\"rows\":[{{");
                ensure!(value.starts_with(start.as_bytes()), "our server has no row for a CPF of its own table");
                self.value_bytes += value.len() as u64;
                self.values += 1;
                command(&mut commands, &[b"SET", key.as_bytes(), value]);
            }
            theirs.write_all(&commands)?;
            for _ in keys {
                line.clear();
                stored.read_until(b'\n', &mut line)?;
                ensure!(line == b"+OK\r\n", "Redis answered {:?} to a SET", String::from_utf8_lossy(&line));
            }
        }
        Ok(())
    }
}

fn answers_ping(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut line = String::new();
    // It may listen and not answer yet.
    stream.write_all(b"PING\r\n").is_ok() && BufReader::new(stream).read_line(&mut line).is_ok() && line == "+PONG\r\n"
}

/// What it calls itself: `Redis 7.0.15`.
pub(crate) fn version() -> anyhow::Result<String> {
    let mut command = Command::new(program(&["/usr/bin/redis-server"])?);
    command.arg("--version");
    let text = processes::output(command)?;
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("of unknown version");
    Ok(format!("Redis {version}"))
}
