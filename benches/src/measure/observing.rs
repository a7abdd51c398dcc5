//! What the kernel tells of a process: private memory, its peak, and the CPU time of each thread.
//!
//! Linux only, read from /proc; a process that has ended tells nothing any more.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// Ticks a second in which the kernel tells CPU time to programs: constant on every machine this builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Private memory (RssAnon): without mapped files, which the kernel can drop.
    pub(crate) private: u64,
    /// The most that was ever resident (VmHWM), mapped files included.
    pub(crate) peak_resident: u64,
}

impl Memory {
    /// Of a running process; `None` where it has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        parse_status(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }
}

fn parse_status(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Memory { private: bytes("RssAnon")?, peak_resident: bytes("VmHWM")? })
}

/// Watches the memory of a process until it is asked for the peak.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Memory>,
}

impl Watch {
    pub(crate) fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = Memory::default();
            while !stopped.load(Ordering::Relaxed) {
                if let Some(now) = Memory::of(pid) {
                    peak.private = peak.private.max(now.private);
                    peak.peak_resident = peak.peak_resident.max(now.peak_resident);
                }
                std::thread::sleep(SAMPLE_EVERY);
            }
            peak
        });
        Self { stop, thread }
    }

    /// The greatest of each that was seen.
    pub(crate) fn peak(self) -> Memory {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watching thread panicked")
    }
}

/// CPU time of one thread.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Thread {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
    /// How often it stood still until a page of memory came from the disk (major faults).
    pub(crate) waits: u64,
}

/// The threads of a process.
pub(crate) fn threads(pid: u32) -> anyhow::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).context("the process has ended")? {
        let folder = entry?.path();
        // A thread may end between the listing and the reading.
        threads.extend(thread(&folder));
    }
    Ok(threads)
}

/// User and system time of a whole process, in seconds. One that has ended is still told of until it is waited for.
pub(crate) fn process_cpu(pid: u32) -> Option<f64> {
    parse_stat(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|process| process.cpu)
}

/// Bytes that a process had fetched from the disk so far; `None` where the kernel does not tell this program.
pub(crate) fn read_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes: "))?.trim().parse().ok()
}

fn thread(folder: &Path) -> Option<Thread> {
    let id = folder.file_name()?.to_str()?.parse().ok()?;
    parse_stat(id, &std::fs::read_to_string(folder.join("stat")).ok()?)
}

/// Reads `TID (NAME) STATE …`; a name may hold blanks and brackets. Major faults are the 10th field behind it, user and system
/// ticks the 12th and 13th.
fn parse_stat(id: u32, text: &str) -> Option<Thread> {
    let (start, rest) = text.rsplit_once(')')?;
    let name = start.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace().skip(9).map(|field| field.parse::<u64>().unwrap_or(0));
    let (waits, _children) = (fields.next()?, fields.next()?);
    let cpu = (fields.next()? + fields.next()?) as f64 / TICKS_PER_SECOND;
    Some(Thread { id, name, cpu, waits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        let text = "Name:\tx\nVmHWM:\t    2196 kB\nRssAnon:\t     148 kB\nRssFile:\t 1 kB\n";
        assert_eq!(parse_status(text), Some(Memory { private: 148 * 1024, peak_resident: 2196 * 1024 }));
        assert_eq!(parse_status("Name:\tx\n"), None);
        let own = Memory::of(std::process::id()).unwrap();
        assert!(own.private > 0 && own.peak_resident >= own.private);
    }

    #[test]
    fn threads_are_read() {
        let text = "7516 (a b) c) R 7513 7513 6862 0 -1 4194304 117 0 9 0 150 25 0 0 20 0 1 0 231351";
        assert_eq!(parse_stat(7, text), Some(Thread { id: 7, name: "a b) c".to_owned(), cpu: 1.75, waits: 9 }));
        assert!(process_cpu(std::process::id()).is_some());
        assert!(threads(std::process::id()).unwrap().iter().any(|thread| thread.id == std::process::id()));
    }
}
