//! The crowds: those that come and go, those that stay, those that never read, those that ask on and on, and the one that takes the
//! server's descriptors away.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::crowd::{Crowd, Deeds, Pace, Target, note};
use super::wire::Wire;

/// Between two steps of a crowd that keeps a pace.
const STEP: Duration = Duration::from_millis(10);

/// Those that come, send something, and leave.
pub(crate) struct Visits {
    target: Target,
    pace: Pace,
    /// What each sends, by its number.
    payload: Box<dyn Fn(u64) -> Vec<u8> + Send>,
    /// How many bytes each reads before it leaves.
    reads: usize,
    /// Whether each leaves by a reset.
    vanishes: bool,
    open: Vec<(Wire, usize)>,
    number: u64,
}

/// How long a visitor waits for what it wants to read.
const VISIT: Duration = Duration::from_secs(1);

impl Visits {
    pub(crate) fn new(target: &Target, per_second: f64, payload: impl Fn(u64) -> Vec<u8> + Send + 'static) -> Self {
        let (pace, payload) = (Pace::new(per_second), Box::new(payload));
        Self { target: target.clone(), pace, payload, reads: 0, vanishes: false, open: Vec::new(), number: 0 }
    }

    /// Each reads so many bytes before it leaves.
    pub(crate) fn reading(self, reads: usize) -> Self {
        Self { reads, ..self }
    }

    /// Each leaves by a reset.
    pub(crate) fn vanishing(self) -> Self {
        Self { vanishes: true, ..self }
    }
}

impl Crowd for Visits {
    fn step(&mut self, deeds: &mut Deeds) {
        for _ in 0..self.pace.due() {
            let Some(mut wire) = Wire::connect(self.target.server) else {
                note(deeds, "not connected", 1);
                continue;
            };
            wire.send(&(self.payload)(self.number));
            self.number += 1;
            note(deeds, "opened", 1);
            self.open.push((wire, 0));
        }
        for (mut wire, mut read) in std::mem::take(&mut self.open) {
            let broken = !wire.flush();
            let got = if self.reads > 0 { wire.read(self.reads - read) } else { Default::default() };
            read += got.bytes;
            note(deeds, "lines answered", got.lines);
            note(deeds, "closed by the server", usize::from(got.ended));
            let done = wire.is_flushed() && read >= self.reads;
            if !(broken || got.ended || done || wire.since.elapsed() > VISIT) {
                self.open.push((wire, read));
            } else if self.vanishes {
                wire.reset();
            }
        }
    }

    fn every(&self) -> Duration {
        STEP
    }
}

/// Those that stay: each says something once, then drips bytes or reads drops of them.
pub(crate) struct Stayers {
    pub(crate) target: Target,
    pub(crate) connections: usize,
    /// What each says when it comes.
    pub(crate) first: Vec<u8>,
    /// What each sends at every step from then on.
    pub(crate) drip: &'static [u8],
    /// How much each reads at every step.
    pub(crate) reads: usize,
    pub(crate) every: Duration,
    pub(crate) open: Vec<Wire>,
}

/// Connections that are opened in one step at most: a storm of them is another kind.
const OPENED_A_STEP_MAX: usize = 250;

impl Crowd for Stayers {
    fn step(&mut self, deeds: &mut Deeds) {
        for mut wire in std::mem::take(&mut self.open) {
            let got = wire.read(self.reads);
            note(deeds, "lines answered", got.lines);
            if got.ended || !wire.send(self.drip) {
                note(deeds, "closed by the server", 1);
            } else {
                self.open.push(wire);
            }
        }
        for _ in self.open.len()..self.connections.min(self.open.len() + OPENED_A_STEP_MAX) {
            let Some(mut wire) = Wire::connect(self.target.server) else {
                note(deeds, "not connected", 1);
                return;
            };
            note(deeds, "opened", 1);
            if wire.send(&self.first) {
                self.open.push(wire);
            }
        }
    }

    fn every(&self) -> Duration {
        self.every
    }
}

/// Those that ask and never read, as much as their sockets take.
pub(crate) struct Unread {
    pub(crate) target: Target,
    pub(crate) connections: usize,
    /// The questions of each.
    pub(crate) questions: Vec<u8>,
    pub(crate) open: Vec<Wire>,
}

impl Crowd for Unread {
    fn step(&mut self, deeds: &mut Deeds) {
        for mut wire in std::mem::take(&mut self.open) {
            if wire.flush() {
                self.open.push(wire);
            } else {
                note(deeds, "closed by the server", 1);
            }
        }
        while self.open.len() < self.connections {
            let Some(mut wire) = Wire::connect(self.target.server) else {
                note(deeds, "not connected", 1);
                return;
            };
            note(deeds, "opened", 1);
            if wire.send(&self.questions) {
                self.open.push(wire);
            }
        }
    }

    fn every(&self) -> Duration {
        Duration::from_millis(50)
    }
}

/// Those that ask on and on and read every answer: so many questions in flight on each connection, at a pace or as fast as it goes.
pub(crate) struct Askers {
    target: Target,
    connections: usize,
    in_flight: usize,
    /// Questions a second on all connections together, where there is a pace.
    pace: Option<Pace>,
    /// Asked in turn.
    questions: Vec<Vec<u8>>,
    open: Vec<(Wire, usize)>,
    asked: usize,
}

impl Askers {
    pub(crate) fn new(target: &Target, connections: usize, in_flight: usize, questions: Vec<Vec<u8>>) -> Self {
        let target = target.clone();
        Self { target, connections, in_flight, pace: None, questions, open: Vec::new(), asked: 0 }
    }

    /// No more than so many questions a second.
    pub(crate) fn at(self, per_second: f64) -> Self {
        Self { pace: Some(Pace::new(per_second)), ..self }
    }
}

impl Crowd for Askers {
    fn step(&mut self, deeds: &mut Deeds) {
        let mut due = self.pace.as_mut().map_or(usize::MAX, Pace::due);
        while self.open.len() < self.connections {
            let Some(wire) = Wire::connect(self.target.server) else {
                note(deeds, "not connected", 1);
                return;
            };
            self.open.push((wire, 0));
        }
        for (mut wire, mut waiting) in std::mem::take(&mut self.open) {
            let got = wire.read(usize::MAX);
            note(deeds, "lines answered", got.lines);
            note(deeds, "bytes read", got.bytes);
            waiting = waiting.saturating_sub(got.lines);
            let mut broken = got.ended;
            while !broken && waiting < self.in_flight && due > 0 {
                broken = !wire.send(&self.questions[self.asked % self.questions.len()]);
                self.asked += 1;
                waiting += 1;
                due -= 1;
            }
            note(deeds, "closed by the server", usize::from(broken));
            if !broken {
                self.open.push((wire, waiting));
            }
        }
        // A place that the server closed is taken anew in the next step.
    }

    fn every(&self) -> Duration {
        if self.pace.is_some() { STEP } else { Duration::from_millis(1) }
    }
}

/// Takes the server its descriptors: its limit is lowered below what it uses, so that accepting fails, and put back at the end. Meanwhile
/// clients knock, which the kernel lets in and the server cannot.
pub(crate) struct Exhausted {
    target: Target,
    pace: Pace,
    before: Rlimit,
    knocking: Vec<Wire>,
}

/// Lower than any descriptor that is free in a running server.
const DESCRIPTORS_LEFT: u64 = 8;

impl Exhausted {
    pub(crate) fn new(target: &Target) -> anyhow::Result<Self> {
        let before = set_descriptors(target.pid, None)?;
        set_descriptors(target.pid, Some(Rlimit { current: Some(DESCRIPTORS_LEFT), maximum: before.maximum }))?;
        Ok(Self { target: target.clone(), pace: Pace::new(50.0), before, knocking: Vec::new() })
    }
}

impl Crowd for Exhausted {
    fn step(&mut self, deeds: &mut Deeds) {
        for _ in 0..self.pace.due() {
            if let Some(mut wire) = Wire::connect(self.target.server) {
                note(deeds, "knocked", 1);
                wire.send(b"{\"op\":\"ping\"}\n");
                self.knocking.push(wire);
            }
        }
        self.knocking.retain_mut(|wire| {
            let got = wire.read(1000);
            note(deeds, "let in all the same", got.lines);
            got.lines == 0 && !got.ended
        });
    }

    fn every(&self) -> Duration {
        STEP
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        // A server that has ended needs no descriptors; the trial finds that out.
        let _ = set_descriptors(self.target.pid, Some(self.before));
        // Those that knocked are let in now: they wait until they are, so that nobody's place is theirs.
        let began = Instant::now();
        while !self.knocking.is_empty() && began.elapsed() < Duration::from_secs(5) {
            self.knocking.retain_mut(|wire| {
                let got = wire.read(1000);
                got.lines == 0 && !got.ended
            });
            std::thread::sleep(STEP);
        }
    }
}

/// Sets the limit of descriptors of a process where one is given; what it was before.
fn set_descriptors(pid: u32, limit: Option<Rlimit>) -> anyhow::Result<Rlimit> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id out of range")?;
    match limit {
        Some(limit) => {
            prlimit(Some(pid), Resource::Nofile, limit).context("cannot set the server's limit of open files")
        }
        None => {
            let path = format!("/proc/{}/limits", pid.as_raw_pid());
            let text = std::fs::read_to_string(path).context("the server has ended")?;
            let line =
                text.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit of files")?;
            let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().ok());
            Ok(Rlimit { current: numbers.next().flatten(), maximum: numbers.next().flatten() })
        }
    }
}
