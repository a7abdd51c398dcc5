//! The answer to `stats`: what a server counts, as plain data that both sides read and write. Counters begin with the process and only grow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a server tells of itself. Sums over everybody: nothing in it belongs to one client or one person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Name and version of the server, as `name/version`.
    pub server: String,
    /// Seconds since the server became ready.
    pub uptime_s: u64,
    /// The generation that is served.
    pub generation: String,
    /// Rows of the table when it was indexed.
    pub rows: u64,
    /// Whether the generation fits the database now; if not, questions are `unavailable`.
    pub fits: bool,
    /// Connections.
    pub connections: ConnectionStats,
    /// The queue of dear questions.
    pub queue: QueueStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Answered lines by outcome: `ok` and every code, also those that never occurred. A batch is one line.
    pub answers: BTreeMap<String, u64>,
    /// From the moment a line was read to its reply's being ready to be written.
    pub latency_us: LatencyStats,
    /// Deadlines that passed.
    pub deadlines: DeadlineStats,
    /// Defects: code that panicked, each caught, each with a line in the log.
    pub panics: u64,
    /// Threads of the server that began anew after a panic.
    pub threads_replaced: u64,
    /// Generations that were taken up or refused while serving.
    pub reloads: ReloadStats,
}

/// Connections, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStats {
    /// Served now.
    pub open: u64,
    /// Served at once, at most.
    pub open_max: u64,
    /// Accepted so far.
    pub accepted: u64,
    /// Of those, turned away because all places were taken.
    pub turned_away: u64,
}

/// The queue of dear questions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Questions that wait for a thread now.
    pub depth: u64,
    /// Those that wait at most.
    pub depth_max: u64,
    /// How often a question was put aside because its client did not take its replies.
    pub parked: u64,
    /// By lane: `single`, `short`, `long`, `search`. Empty from a server that does not tell them apart.
    #[serde(default)]
    pub lanes: BTreeMap<String, LaneStats>,
}

/// One lane of the queue: each has threads of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStats {
    /// Questions that wait for one of its threads now.
    pub depth: u64,
    /// Those that wait at most.
    pub depth_max: u64,
    /// Questions that went through it and were answered, with whatever outcome.
    pub answered: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// Held for clients: questions that wait, and replies that are not taken yet.
    pub held_bytes: u64,
    /// Above this, dear questions are `overloaded` and clients that take nothing are let go sooner.
    pub held_bytes_max: u64,
    /// Private to the process, everything included; 0 where the system does not tell.
    pub private_bytes: u64,
}

/// Percentiles, in microseconds, each to within 4 %.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyStats {
    /// Lines that were measured.
    pub count: u64,
    /// Half of the lines took at most so long.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
    /// The slowest one.
    pub max: u64,
}

/// Deadlines that passed, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineStats {
    /// Connections that were quiet for too long.
    pub idle: u64,
    /// Lines whose end did not come.
    pub line: u64,
    /// Clients that took no byte of their replies.
    pub write_stall: u64,
    /// Questions that waited too long for a thread.
    pub request: u64,
}

/// Generations since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStats {
    /// Taken up.
    pub taken: u64,
    /// Refused, the one before kept.
    pub refused: u64,
}
