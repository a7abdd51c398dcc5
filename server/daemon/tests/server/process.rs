//! `Process`: a server that ends with its test, whatever becomes of that test, and what it says until then.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use balcao_client::{Client, Options};
use rustix::process::{Pid, Signal, kill_process};

use crate::peer::Peer;
use crate::registry::Registry;

/// Nothing in these tests takes so long on any machine: whoever waits longer waits for something that does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a stream of the process has said so far.
#[derive(Default)]
struct Said {
    text: String,
    ended: bool,
}

/// A stream of the process, read line by line on a thread of its own.
#[derive(Clone, Default)]
struct Stream(Arc<(Mutex<Said>, Condvar)>);

impl Stream {
    fn read(from: impl Read + Send + 'static) -> Self {
        let stream = Self::default();
        let Self(shared) = stream.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            loop {
                let mut line = String::new();
                let read = from.read_line(&mut line);
                let mut said = shared.0.lock().unwrap();
                said.text.push_str(&line);
                said.ended = !matches!(read, Ok(1..));
                shared.1.notify_all();
                if said.ended {
                    return;
                }
            }
        });
        stream
    }

    /// Waits until `wanted` is true of what was said, or nothing more comes: all of it.
    fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let Self(shared) = self;
        let waiting = |said: &mut Said| !said.ended && !wanted(&said.text);
        let (said, late) = shared.1.wait_timeout_while(shared.0.lock().unwrap(), PATIENCE, waiting).unwrap();
        assert!(!late.timed_out(), "waited in vain for {what}; it said: {}", said.text);
        said.text.clone()
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) log: String,
}

/// A running `server`; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    out: Stream,
    log: Stream,
}

impl Process {
    /// Starts `server` with these arguments and with no setting from this test's own environment but `env`.
    pub(crate) fn spawn(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BALCAO_")) {
            command.env_remove(name);
        }
        command.args(args).envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Stream::read(child.stdout.take().unwrap());
        let log = Stream::read(child.stderr.take().unwrap());
        Self { child, out, log }
    }

    /// The address that it tells once it serves.
    pub(crate) fn ready(&self) -> String {
        let out = self.out.wait("`ready`", |text| text.ends_with('\n'));
        match out.strip_prefix("ready ").and_then(|rest| rest.strip_suffix('\n')) {
            Some(address) => address.to_owned(),
            None => panic!("instead of `ready ADDRESS`: {out:?}, {}", self.log.wait("the end of its log", |_| false)),
        }
    }

    /// Waits for `text` in the log.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let log = self.log.wait(text, |log| log.contains(text));
        assert!(log.contains(text), "{log}");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        // The streams end with the process: so the wait has an end too.
        let out = self.out.wait("the end of its output", |_| false);
        let log = self.log.wait("the end of its log", |_| false);
        Ended { code: self.child.wait().unwrap().code(), out, log }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that serves a registry.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl Server {
    /// Serves `registry` on a free port, with further arguments.
    pub(crate) fn start(registry: &Registry, args: &[&str]) -> Self {
        let (db, index) = (registry.db(), registry.index());
        let serve = ["serve", "--db", &db, "--index", &index, "--listen", "127.0.0.1:0"];
        let process = Process::spawn(&[&serve[..], args].concat(), &[]);
        let address = process.ready();
        Self { process, address }
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(&self.address)
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address, Options::default()).unwrap()
    }

    /// Signals it and waits: how it ended, and how long that took.
    pub(crate) fn stop(self, signal: Signal) -> (Ended, Duration) {
        let began = Instant::now();
        self.process.signal(signal);
        (self.process.ended(), began.elapsed())
    }
}
