//! The programs of the house as child processes: found beside the running one, killed when their guard goes out of scope.
//!
//! Only what was started here is ever signalled, each by its own process id.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::scratch;

/// How long a server may take from its start to `ready`: a cold index of hundreds of millions of rows is checked before that.
const READY_SECONDS_MAX: u64 = 600;

/// The contract lets a server 5 s to stop; the rest is for a machine that does other work at the same time.
const STOP_SECONDS_MAX: u64 = 15;

/// How long one question of this program may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How much of a failed program's standard error is shown, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4096;

/// The path of one of the house's programs.
///
/// # Errors
/// When it lies neither beside the running program nor one folder above (where tests run from).
pub fn find(program: &str) -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe().context("cannot tell where this program lies")?;
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    running.ancestors().skip(1).take(2).map(|folder| folder.join(&file)).find(|path| path.is_file()).with_context(
        || format!("`{program}` does not lie beside this program: build it with `cargo build --release --workspace`"),
    )
}

/// A command that starts `program` of the house, deaf to whatever `BALCAO_…` stands in the environment.
///
/// # Errors
/// As [`find`].
pub fn command(program: &str) -> anyhow::Result<Command> {
    Ok(deaf(&find(program)?))
}

fn deaf(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BALCAO_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running program. Dropped, it is killed, or asked to end first where it was started so.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    /// What ends it when nobody waits for more.
    end: Signal,
    name: String,
    complaint: File,
}

impl Guard {
    /// Starts the program, with its standard error kept for [`Guard::failure`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: Command) -> anyhow::Result<Self> {
        Self::spawn_ended_by(command, Signal::KILL)
    }

    /// As [`Guard::spawn`], for a program that leaves something behind where it is killed: `end` is what it ends by at once and cleanly.
    ///
    /// # Errors
    /// As [`Guard::spawn`].
    pub fn spawn_ended_by(mut command: Command, end: Signal) -> anyhow::Result<Self> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let complaint = tempfile::tempfile().context("cannot make a temporary file")?;
        let child = command
            .stderr(complaint.try_clone().context("cannot share a temporary file")?)
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        scratch::note_child(child.id(), end);
        Ok(Self { child, end, name, complaint })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, where that is a pipe that nobody took yet.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard input, where that is a pipe that nobody took yet.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Everything it prints until it closes its standard output; empty where that is no pipe.
    ///
    /// # Errors
    /// When that cannot be read or is not UTF-8.
    pub fn printed(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        if let Some(mut stdout) = self.stdout() {
            let read = stdout.read_to_string(&mut text);
            read.with_context(|| format!("cannot read what `{}` prints", self.name))?;
        }
        Ok(text)
    }

    /// Waits for its end, which must be a success.
    ///
    /// # Errors
    /// When it ends otherwise; with what it wrote to standard error.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().with_context(|| format!("cannot wait for `{}`", self.name))?;
        if status.success() { Ok(()) } else { Err(self.failure(&status.to_string())) }
    }

    /// Asks it to end with SIGTERM and waits for that.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.end_by(Signal::TERM)
    }

    /// Asks it to end with `signal` and waits for that.
    ///
    /// # Errors
    /// As [`Guard::terminate`].
    pub fn end_by(&mut self, signal: Signal) -> anyhow::Result<ExitStatus> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process id out of range")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal `{}`", self.name))?;
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("`{}` did not end within {STOP_SECONDS_MAX} s of {signal:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error that says how it ended and what it complained of.
    #[must_use]
    pub fn failure(&mut self, how: &str) -> anyhow::Error {
        let mut text = Vec::new();
        let length = self.complaint.seek(SeekFrom::End(0)).unwrap_or(0);
        let start = length.saturating_sub(COMPLAINT_BYTES_MAX);
        if self.complaint.seek(SeekFrom::Start(start)).is_ok() {
            // Without it the error is poorer, not wrong.
            let _ = self.complaint.read_to_end(&mut text);
        }
        anyhow::anyhow!("`{}` failed ({how}); it said: {}", self.name, String::from_utf8_lossy(&text).trim())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // All of these fail only where it has ended already.
        if self.end != Signal::KILL && matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.end_by(self.end);
        }
        let _ = self.child.kill();
        scratch::forget_child(self.pid());
        let _ = self.child.wait();
    }
}

/// Runs a program to its successful end; returns what it printed.
///
/// # Errors
/// When it cannot be started or fails.
pub fn output(mut command: Command) -> anyhow::Result<String> {
    command.stdout(Stdio::piped());
    let mut guard = Guard::spawn(command)?;
    let text = guard.printed()?;
    guard.finish()?;
    Ok(text)
}

/// A running `server serve`. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    guard: Guard,
    stdout: BufReader<ChildStdout>,
    /// Where it answers.
    pub address: SocketAddr,
    /// From its start to its `ready` line.
    pub ready_after: Duration,
}

impl Server {
    /// Starts the server on a free port of this machine and waits until it is ready. `arguments` come behind `serve`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or prints something other than `ready ADDRESS:PORT`.
    pub fn start(arguments: &[&std::ffi::OsStr]) -> anyhow::Result<Self> {
        Self::start_program(&find("server")?, arguments)
    }

    /// As [`Server::start`], with the server at `program`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_program(program: &Path, arguments: &[&std::ffi::OsStr]) -> anyhow::Result<Self> {
        Self::start_command(deaf(program), arguments)
    }

    /// As [`Server::start`], in the cgroup that takes processes in through the file `entrance`: before it touches anything.
    ///
    /// # Errors
    /// As [`Server::start`]; also when the cgroup does not take it.
    pub fn start_inside(entrance: &Path, arguments: &[&std::ffi::OsStr]) -> anyhow::Result<Self> {
        let mut command = deaf(Path::new("/bin/sh"));
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(entrance).arg(find("server")?);
        Self::start_command(command, arguments)
    }

    fn start_command(mut command: Command, arguments: &[&std::ffi::OsStr]) -> anyhow::Result<Self> {
        command.arg("serve").args(arguments).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let started = Instant::now();
        let mut guard = Guard::spawn(command)?;
        let stdout = guard.stdout().context("the server has no standard output")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let read = stdout.read_line(&mut line);
            // Nobody listens any more once the wait is over.
            let _ = sender.send((read, line, Instant::now(), stdout));
        });
        let Ok((read, line, ready, stdout)) = receiver.recv_timeout(Duration::from_secs(READY_SECONDS_MAX)) else {
            return Err(guard.failure(&format!("not ready after {READY_SECONDS_MAX} s")));
        };
        read.context("cannot read what the server prints")?;
        let Some(address) = line.strip_prefix("ready ").and_then(|rest| rest.trim_end().parse().ok()) else {
            return Err(guard.failure(&format!("its first line is {:?}, not `ready ADDRESS:PORT`", line.trim_end())));
        };
        Ok(Self { guard, stdout, address, ready_after: ready - started })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.guard.pid()
    }

    /// What it has open or mapped, as the kernel shows it: paths of files, ` (deleted)` behind those that are gone, `socket:[…]`. One that is both
    /// is there twice.
    ///
    /// # Errors
    /// When it has ended.
    pub fn files(&self) -> anyhow::Result<Vec<String>> {
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(proc.join("fd")).context("the server has ended")? {
            // A descriptor may be closed between the listing and the look.
            files.extend(std::fs::read_link(entry?.path()).map(|path| path.to_string_lossy().into_owned()));
        }
        let maps = std::fs::read_to_string(proc.join("maps")).context("the server has ended")?;
        files.extend(maps.lines().filter_map(|line| line.find('/').map(|at| line[at..].to_owned())));
        Ok(files)
    }

    /// How many sockets it has open.
    ///
    /// # Errors
    /// When it has ended.
    pub fn sockets(&self) -> anyhow::Result<usize> {
        Ok(self.files()?.iter().filter(|file| file.starts_with("socket:")).count())
    }

    /// Stops it with SIGTERM; it must exit with 0 and must have printed nothing behind its first line.
    ///
    /// # Errors
    /// When it does otherwise.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let status = self.guard.terminate()?;
        if status.code() != Some(0) {
            return Err(self.guard.failure(&format!("after SIGTERM: {status}")));
        }
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).context("cannot read what the server prints")?;
        ensure!(rest.is_empty(), "the server printed more than its `ready` line: {} bytes", rest.len());
        Ok(())
    }
}

/// Asks one question on a connection of its own.
///
/// # Errors
/// When the server takes no connection, does not answer, or answers something that is no JSON.
pub fn ask(server: SocketAddr, question: &str) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER_WITHIN).context("cannot connect to the server")?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).context("the server did not answer")?;
    serde_json::from_str(&line).context("the server's answer is no JSON")
}
