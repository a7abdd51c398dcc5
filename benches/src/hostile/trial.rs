//! One kind's trial: a fresh server, the well-behaved clients alone and beside the hostile ones in turn, and the server's memory before,
//! meanwhile and after.
//!
//! The well-behaved clients are a process of their own that asks all the time; the windows are cut out of its timeline afterwards.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Plan;
use super::crowd::{Deeds, Target, Working};
use super::ground::Ground;
use super::kinds::Kind;
use crate::measure::observing::{Memory, Watch, process_cpu};
use crate::measure::spread::Spread;
use crate::processes::{self, Guard, Server, ask};

/// Well-behaved clients.
pub(crate) const GOOD: usize = 100;

/// Before the first window: the load generator starts, connects and warms up.
const WARMUP: Duration = Duration::from_millis(1500);

/// For a crowd to arrive, and for its connections to be gone, outside of all windows.
const RAMP: Duration = Duration::from_millis(500);

/// How long the last crowd, which does nothing any more, is held: longer than the server's deadlines.
const HOLD: Duration = Duration::from_secs(20);

/// How long memory may take to come back after that, with the crowd gone.
const GONE: Duration = Duration::from_secs(10);

/// Between two looks at the memory that is to come back.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The share of its private memory by which a server may be larger afterwards, and the bytes below which a difference is the allocator's
/// noise: the pages that a thread's arena keeps.
const MEMORY_KEPT_MAX: f64 = 1.10;
pub(crate) const MEMORY_NOISE: u64 = 4 << 20;

/// The least share of their throughput that the well-behaved clients must keep.
pub(crate) const KEPT_MIN: f64 = 0.8;

/// What a trial came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) what: &'static str,
    /// Answers a second without and with the crowd, and the shares kept, over the rounds.
    pub(crate) alone: Spread,
    pub(crate) beside: Spread,
    pub(crate) kept: Spread,
    /// The longest latency in the windows of either kind, in microseconds.
    pub(crate) max_us: [u64; 2],
    /// Private memory before, its peak, and afterwards.
    pub(crate) memory: [u64; 3],
    /// The server's sockets before and afterwards.
    pub(crate) sockets: [usize; 2],
    /// From the moment when the last crowd stopped acting until memory and sockets were back, if they came back.
    pub(crate) back_after: Option<Duration>,
    /// Whether that was while the crowd still held its connections.
    pub(crate) ended_by_server: bool,
    /// Errors of the well-behaved clients, by code.
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) deeds: Deeds,
    /// Processor time that the crowd took for itself, as a share of one core.
    pub(crate) crowd_cpu: f64,
    /// What the server counted, where it counts.
    pub(crate) stats: Option<Value>,
}

impl Outcome {
    /// What falls short.
    pub(crate) fn shortcomings(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.kept.median() < KEPT_MIN {
            out.push(format!("keeps {:.2} of the throughput, below {KEPT_MIN}", self.kept.median()));
        }
        if self.back_after.is_none() {
            let ([before, _, after], [sockets_before, sockets]) = (self.memory, self.sockets);
            out.push(format!(
                "leaves {after} bytes of private memory and {sockets} sockets, where {before} and {sockets_before} were before"
            ));
        }
        let panics = self.stats.as_ref().and_then(|stats| stats["panics"].as_u64()).unwrap_or_default();
        if panics > 0 {
            out.push(format!("made the server panic {panics} times"));
        }
        if !self.errors.is_empty() {
            out.push(format!("well-behaved clients met errors: {:?}", self.errors));
        }
        out
    }
}

/// Runs one trial.
pub(crate) fn run(plan: &Plan, ground: &Ground, kind: &Kind) -> anyhow::Result<Outcome> {
    let server = ground.start()?;
    let (pid, address) = (server.pid(), server.address);
    warm_up(plan, ground, &server)?;
    let before = Look::at(&server)?;
    let watch = Watch::start(pid);
    let target =
        Target { server: address, pid, dear: ground.dear.clone(), stale: ground.stale.clone(), seed: plan.make.seed };
    let good = Good::start(plan, ground, &server)?;
    std::thread::sleep(WARMUP);
    let turns = Turns::take(plan, kind, &target)?;
    let good = good.finish()?;
    let retreat = Retreat::watch(&server, kind, &target, before)?;
    let peak = watch.peak().private;

    // It is the same process, and it answers rightly on a new connection.
    let reply = ask(address, &format!("{{\"cpf\":\"{}\"}}", ground.key.0))?;
    ensure!(reply["total"] == ground.key.1, "after `{}` the server answers wrongly: {}", kind.what, reply["code"]);
    let stats = ask(address, r#"{"op":"stats"}"#)?;
    server.stop().with_context(|| format!("after `{}`", kind.what))?;

    let [alone, beside] = [&turns.alone, &turns.beside]
        .map(|windows| windows.iter().map(|window| good.rate(window)).collect::<anyhow::Result<Vec<_>>>());
    let (alone, beside) = (alone?, beside?);
    let kept = beside.iter().zip(alone.windows(2)).map(|(beside, around)| beside / ((around[0] + around[1]) / 2.0));
    let no_round = "no round was asked for";
    Ok(Outcome {
        what: kind.what,
        kept: Spread::new(kept).context(no_round)?,
        max_us: [good.max_us(&turns.alone), good.max_us(&turns.beside)],
        alone: Spread::new(alone).context(no_round)?,
        beside: Spread::new(beside).context(no_round)?,
        memory: [before.private, peak, retreat.after.private],
        sockets: [before.sockets, retreat.after.sockets],
        ended_by_server: retreat.ended_by_server,
        back_after: retreat.back_after,
        errors: good.errors,
        deeds: turns.deeds,
        crowd_cpu: turns.crowd_cpu,
        stats: (stats["status"] == "ok").then_some(stats),
    })
}

/// The windows without and with the crowd, which take turns.
struct Turns {
    /// One more than those with it, so that each of these lies between two.
    alone: Vec<Window>,
    beside: Vec<Window>,
    deeds: Deeds,
    /// Processor time of the crowd, as a share of one core.
    crowd_cpu: f64,
}

impl Turns {
    fn take(plan: &Plan, kind: &Kind, target: &Target) -> anyhow::Result<Self> {
        let (mut alone, mut beside, mut deeds) = (Vec::new(), Vec::new(), Deeds::new());
        let (mut crowd_cpu, mut crowd_time) = (0.0, Duration::ZERO);
        let own_cpu = || process_cpu(std::process::id()).unwrap_or_default();
        for _ in 0..plan.rounds {
            alone.push(window(plan.alone));
            let (cpu, began) = (own_cpu(), Instant::now());
            let crowd = Working::start((kind.start)(target)?);
            std::thread::sleep(RAMP);
            beside.push(window(plan.beside));
            let (crowd, done) = crowd.stop();
            crowd_cpu += own_cpu() - cpu;
            crowd_time += began.elapsed();
            drop(crowd);
            for (what, count) in done {
                *deeds.entry(what).or_default() += count;
            }
            std::thread::sleep(RAMP);
        }
        alone.push(window(plan.alone));
        Ok(Self { alone, beside, deeds, crowd_cpu: crowd_cpu / crowd_time.as_secs_f64() })
    }
}

/// The crowd comes once more, then its clients hold what they have and do nothing, and at last they go.
struct Retreat {
    after: Look,
    ended_by_server: bool,
    back_after: Option<Duration>,
}

impl Retreat {
    fn watch(server: &Server, kind: &Kind, target: &Target, before: Look) -> anyhow::Result<Self> {
        let crowd = Working::start((kind.start)(target)?);
        std::thread::sleep(RAMP * 2);
        let (crowd, _) = crowd.stop();
        let stopped = Instant::now();
        let wait = |within| wait_for(|| Look::at(server), |now| now.is_back_to(before), within);
        let mut after = wait(HOLD)?;
        let ended_by_server = after.is_back_to(before);
        drop(crowd);
        if !ended_by_server {
            after = wait(GONE)?;
        }
        let back_after = after.is_back_to(before).then(|| stopped.elapsed());
        Ok(Self { after, ended_by_server, back_after })
    }
}

/// Has the server answer every sort of question, so that what it allocates once is allocated: then it is left alone for a moment.
fn warm_up(plan: &Plan, ground: &Ground, server: &Server) -> anyhow::Result<()> {
    let mut command = load(plan, ground, server)?;
    command.args(["--seconds", "0.5", "--warmup", "0"]).stdout(Stdio::null());
    Guard::spawn(command)?.finish().context("the server does not answer well before anything hostile comes")?;
    let page = format!("{{{}}}", ground.dear);
    let item = format!("{{{}}}", ground.dear.replace("1000", "10"));
    let batch = format!("{{\"op\":\"batch\",\"items\":[{}]}}", vec![item; 1000].join(","));
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..8).map(|_| scope.spawn(|| (ask(server.address, &page), ask(server.address, &batch)))).collect();
        for asked in asked {
            let (page, batch) = asked.join().expect("an asking thread panicked");
            ensure!(page?["status"] == "ok" && batch?["status"] == "ok", "a page or a batch is not answered");
        }
        anyhow::Ok(())
    })?;
    std::thread::sleep(RAMP);
    Ok(())
}

/// What a server holds at a moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    private: u64,
    sockets: usize,
}

impl Look {
    fn at(server: &Server) -> anyhow::Result<Self> {
        let private = Memory::of(server.pid()).context("the server has ended")?.private;
        Ok(Self { private, sockets: server.sockets()? })
    }

    fn is_back_to(self, before: Self) -> bool {
        let memory_max = (before.private as f64 * MEMORY_KEPT_MAX).max((before.private + MEMORY_NOISE) as f64);
        self.private as f64 <= memory_max && self.sockets <= before.sockets
    }
}

/// Looks until `enough` or for `within`: the last look.
fn wait_for(
    look: impl Fn() -> anyhow::Result<Look>,
    enough: impl Fn(Look) -> bool,
    within: Duration,
) -> anyhow::Result<Look> {
    let began = Instant::now();
    loop {
        let now = look()?;
        if enough(now) || began.elapsed() > within {
            return Ok(now);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A stretch of time, in milliseconds of the wall clock, which two processes share.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: u64,
    to: u64,
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Lets a window pass.
fn window(length: Duration) -> Window {
    let from = now_ms();
    std::thread::sleep(length);
    Window { from, to: now_ms() }
}

/// The load generator's command as far as all runs share it.
fn load(plan: &Plan, ground: &Ground, server: &Server) -> anyhow::Result<std::process::Command> {
    let mut command = processes::command("load")?;
    command.args(["--json", "--timeline", "--expect-rows", "--server", &server.address.to_string()]);
    command.arg("--keys").arg(&ground.keys).args(["--seed", &plan.make.seed.to_string()]);
    command.args(["--connections", &GOOD.to_string()]);
    Ok(command)
}

/// The well-behaved clients at work.
struct Good {
    guard: Guard,
}

/// What they met.
struct Met {
    began: u64,
    slot: u64,
    answered: Vec<u64>,
    max_us: Vec<u64>,
    errors: BTreeMap<String, u64>,
}

impl Good {
    fn start(plan: &Plan, ground: &Ground, server: &Server) -> anyhow::Result<Self> {
        let round = plan.alone + plan.beside + RAMP * 2;
        // The spare second is for a machine that starts threads slowly.
        let all = round * u32::from(plan.rounds) + plan.alone + WARMUP + Duration::from_secs(1);
        let mut command = load(plan, ground, server)?;
        command.args(["--warmup", "0.2", "--seconds", &all.as_secs_f64().to_string()]).stdout(Stdio::piped());
        Ok(Self { guard: Guard::spawn(command)? })
    }

    fn finish(mut self) -> anyhow::Result<Met> {
        let printed = self.guard.printed()?;
        let mut lines = printed.lines().map(serde_json::from_str::<Value>);
        let (Some(Ok(summary)), Some(Ok(timeline))) = (lines.next(), lines.next()) else {
            return Err(self.guard.failure("it printed no figures"));
        };
        let numbers = |name: &str| -> Vec<u64> {
            timeline[name].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
        };
        let errors = summary["errors_by_code"].as_object().context("no `errors_by_code`")?;
        Ok(Met {
            began: timeline["began_unix_ms"].as_u64().context("no `began_unix_ms`")?,
            slot: timeline["slot_ms"].as_u64().filter(|&slot| slot > 0).context("no `slot_ms`")?,
            answered: numbers("answered"),
            max_us: numbers("max_us"),
            errors: errors.iter().map(|(code, count)| (code.clone(), count.as_u64().unwrap_or(1))).collect(),
        })
    }
}

impl Met {
    /// The slots that lie whole in a window.
    fn slots(&self, window: &Window) -> Option<std::ops::Range<usize>> {
        let first = window.from.checked_sub(self.began)?.div_ceil(self.slot) as usize;
        let end = (window.to.checked_sub(self.began)? / self.slot) as usize;
        (first < end).then_some(first..end)
    }

    /// Answers a second. A slot behind the last reply had none.
    fn rate(&self, window: &Window) -> anyhow::Result<f64> {
        let slots = self.slots(window).context("the load generator began too late")?;
        let seconds = (slots.len() as u64 * self.slot) as f64 / 1000.0;
        let answered: u64 = slots.filter_map(|slot| self.answered.get(slot)).sum();
        Ok(answered as f64 / seconds)
    }

    fn max_us(&self, windows: &[Window]) -> u64 {
        let slots = windows.iter().filter_map(|window| self.slots(window)).flatten();
        slots.filter_map(|slot| self.max_us.get(slot).copied()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_cut_out_of_the_timeline() {
        let met = Met {
            began: 1000,
            slot: 100,
            answered: vec![1, 2, 4, 8],
            max_us: vec![9, 7, 5, 3],
            errors: BTreeMap::new(),
        };
        // The slots from 1100 to 1300 lie whole in it.
        let window = Window { from: 1010, to: 1390 };
        assert_eq!(met.rate(&window).unwrap(), 30.0);
        assert_eq!(met.max_us(&[window]), 7);
        // Behind the last reply nothing was answered; before the beginning nobody knows.
        assert_eq!(met.rate(&Window { from: 1300, to: 1500 }).unwrap(), 40.0);
        assert!(met.rate(&Window { from: 900, to: 1500 }).is_err());
    }

    #[test]
    fn memory_and_sockets_must_come_back() {
        let before = Look { private: 100 << 20, sockets: 4 };
        assert!(Look { private: 110 << 20, sockets: 4 }.is_back_to(before));
        assert!(!Look { private: 111 << 20, sockets: 4 }.is_back_to(before));
        assert!(!Look { private: 100 << 20, sockets: 5 }.is_back_to(before));
        let small = Look { private: 10 << 20, sockets: 4 };
        assert!(Look { private: (10 << 20) + MEMORY_NOISE, sockets: 3 }.is_back_to(small));
    }
}
