//! Damage of an index at rest: every byte of every file of a small generation, and every length. `verify` names file and place; a snapshot is
//! refused or gives the replies of the whole index, or `unavailable`. Not here: damage of a page after its checksum was compared, which
//! nobody can notice.

mod database;
mod mixed;
mod served;
pub(super) mod small;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use balcao_index::{FOOTER_BYTES, Generation, HEADER_BYTES, IndexError, PAGE_BYTES, verify};
use serde_json::Value;
use tempfile::TempDir;

use crate::{OpenError, Snapshot};
use small::Small;

/// The header's version has an error of its own, which names that field and no byte.
const VERSION_BYTES: std::ops::Range<usize> = 8..12;

/// Bytes of `CURRENT`, `MANIFEST` and a few sealed files with hundreds of rows; a smaller number would mean that files were not found.
const BYTES_MIN: usize = 5000;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The byte at this place becomes another one: these bits of it are flipped.
    Flip(usize, u8),
    /// The file ends at this length.
    Cut(usize),
    /// One byte more.
    Append,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip(at, bits) => write!(f, "byte {at} with the bits {bits:08b} flipped"),
            Self::Cut(length) => write!(f, "cut to {length} bytes"),
            Self::Append => write!(f, "a byte behind its end"),
        }
    }
}

/// What became of a snapshot of a damaged index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It was not opened.
    Refused,
    /// Some replies were `unavailable`, all others as they must be.
    Unavailable,
    /// A row that was asked for has another value in a cell that is not the key. Only damage of the database may come to this.
    OtherCells,
    /// Every reply was as it must be.
    Unchanged,
}

/// A copy of the index that one thread damages and mends again.
struct Victim {
    folder: TempDir,
}

impl Victim {
    fn copy_of(index: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(index, folder.path());
        Self { folder }
    }

    fn index(&self) -> &Path {
        self.folder.path()
    }

    /// Damages a file, tries what must hold, and mends it.
    fn with<T>(&self, file: &Subject, change: Change, then: impl FnOnce() -> T) -> T {
        let path = self.index().join(&file.path);
        let open = File::options().write(true).open(&path).unwrap();
        let whole = &file.bytes;
        match change {
            Change::Flip(at, bits) => open.write_all_at(&[whole[at] ^ bits], at as u64).unwrap(),
            Change::Cut(length) => open.set_len(length as u64).unwrap(),
            Change::Append => open.write_all_at(&[0], whole.len() as u64).unwrap(),
        }
        let result = then();
        match change {
            Change::Flip(at, _) => open.write_all_at(&whole[at..=at], at as u64).unwrap(),
            Change::Cut(length) => open.write_all_at(&whole[length..], length as u64).unwrap(),
            Change::Append => open.set_len(whole.len() as u64).unwrap(),
        }
        result
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let inside = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &inside);
        } else {
            fs::write(inside, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A file of the generation, whole.
struct Subject {
    /// From the index's folder.
    path: PathBuf,
    name: String,
    bytes: Vec<u8>,
}

impl Subject {
    fn is_sealed(&self) -> bool {
        [".keys", ".rows", ".dict", ".index", ".cols"].iter().any(|end| self.name.ends_with(end))
    }

    /// Where `docs/formats.md` promises that damage is told; `None` where only the file is promised.
    fn told_at(&self, change: Change) -> Option<usize> {
        match change {
            _ if !self.is_sealed() && self.name != "anomalies.csv" => None,
            Change::Cut(length) => Some(length),
            Change::Append => Some(self.bytes.len()),
            Change::Flip(..) if !self.is_sealed() => None,
            Change::Flip(at, _) => {
                let footer = self.bytes.len() - FOOTER_BYTES;
                let body = self.body();
                Some(match at {
                    _ if at < HEADER_BYTES => at,
                    _ if at < body => at - at % PAGE_BYTES,
                    _ if at < footer => body,
                    _ => footer,
                })
            }
        }
    }

    /// Where the body of a sealed file ends.
    fn body(&self) -> usize {
        let footer = self.bytes.len() - FOOTER_BYTES;
        u64::from_le_bytes(self.bytes[footer..footer + 8].try_into().unwrap()) as usize
    }

    /// Verifies the index, which must name this file and the place of the change.
    fn check_verify(&self, index: &Path, change: Change) {
        let error = Generation::open_current(index).and_then(|generation| verify(&generation));
        let Err(error) = error else { panic!("`verify` did not notice") };
        assert!(error.to_string().contains(&self.name), "{error}");
        match (&error, change) {
            (IndexError::Damaged { at, .. }, _) => {
                let told = self.told_at(change);
                assert!(told.is_none_or(|told| told as u64 == *at), "{error}; expected byte {told:?}");
                assert!(*at <= self.bytes.len() as u64, "{error}");
            }
            (IndexError::Version { what, .. }, Change::Flip(at, _)) if VERSION_BYTES.contains(&at) => {
                assert_eq!(*what, "format version");
            }
            _ => panic!("told as {error}"),
        }
    }
}

/// The files of the served generation, and `CURRENT`.
fn subjects(index: &Path) -> Vec<Subject> {
    let current = fs::read_to_string(index.join("CURRENT")).unwrap();
    let generation = current.trim_end();
    let mut names: Vec<_> =
        fs::read_dir(index.join(generation)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let paths = names.iter().map(|name| Path::new(generation).join(name)).chain([PathBuf::from("CURRENT")]);
    let read = |path: PathBuf| Subject {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        bytes: fs::read(index.join(&path)).unwrap(),
        path,
    };
    paths.map(read).collect()
}

/// Opens a snapshot and asks everything: refused by an error that names `file`, or nothing but right replies and `unavailable`.
fn check_answers(small: &Small, index: &Path, file: &str) -> Outcome {
    match Snapshot::open(&small.desk.db(), index) {
        Err(error) => {
            assert!(matches!(error, OpenError::Index(_)), "{error}");
            assert!(error.to_string().contains(file), "{error}");
            Outcome::Refused
        }
        Ok(snapshot) => small.check(&snapshot),
    }
}

/// Calls `then`, which must not panic; `what` says where it did.
fn whole<T>(what: impl fmt::Display, then: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(then)) {
        Ok(result) => result,
        Err(cause) => {
            let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
            panic!("{what}: {}", text.unwrap_or("a panic without a text"));
        }
    }
}

/// Does `work` with each number below `count`, on every core; the sums of what it returns.
fn on_every_core<W>(
    count: usize,
    start: impl Fn() -> W + Sync,
    work: impl Fn(&W, usize, &mut Counts) + Sync,
) -> Counts {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let run = || {
            let (worker, mut counts) = (start(), Counts::default());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return counts;
                }
                work(&worker, number, &mut counts);
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut sum = Counts::default();
        for thread in threads {
            for (key, count) in thread.join().unwrap().0 {
                *sum.0.entry(key).or_default() += count;
            }
        }
        sum
    })
}

/// How often each outcome was met, by file.
#[derive(Debug, Default)]
struct Counts(BTreeMap<(String, Outcome), usize>);

impl Counts {
    fn add(&mut self, file: &str, outcome: Outcome) {
        *self.0.entry((file.to_owned(), outcome)).or_default() += 1;
    }

    /// Those of the files that `of` chooses.
    fn sum(&self, outcome: Outcome, of: impl Fn(&str) -> bool) -> usize {
        self.0.iter().filter(|((file, found), _)| *found == outcome && of(file)).map(|(_, count)| count).sum()
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// The line that `make faults` puts into its table.
    fn print(&self, what: &str) {
        let tried = self.total();
        let count = |outcome| self.sum(outcome, |_| true);
        let (refused, unavailable) = (count(Outcome::Refused), count(Outcome::Unavailable));
        let unchanged = count(Outcome::Unchanged);
        println!("fault table: {what}: {tried} tried, {tried} survived");
        let other = match count(Outcome::OtherCells) {
            0 => String::new(),
            other => format!(", the row with another value beside its key {other}"),
        };
        println!(
            "  refused at open {refused}, `unavailable` in parts {unavailable}, every reply right {unchanged}{other}"
        );
    }
}

/// Which outcome each file's damage must have, so that each class is met where it belongs.
fn check_classes(counts: &Counts) {
    let is_rows = |file: &str| [".rows", ".index", ".cols"].iter().any(|end| file.ends_with(end));
    let is_list = |file: &str| file == "anomalies.csv";
    let count = |outcome, of: &dyn Fn(&str) -> bool| counts.sum(outcome, of);
    // What is opened is the rowids, the words' lists and the columns, whose pages are checked when they are asked for, and the list of anomalies, which
    // nobody asks for.
    assert_eq!(count(Outcome::Unavailable, &|file| !is_rows(file)), 0, "{counts:?}");
    assert_eq!(count(Outcome::Unchanged, &|file| !is_list(file)), 0, "{counts:?}");
    assert_eq!(count(Outcome::Refused, &is_list), 0, "{counts:?}");
    assert!(count(Outcome::Unavailable, &is_rows) > 0 && count(Outcome::Refused, &is_rows) > 0, "{counts:?}");
    assert!(count(Outcome::Unchanged, &is_list) > 0, "{counts:?}");
    for file in ["MANIFEST", "CURRENT", "words.dict", "cpf-0001.keys", "name-0001.keys"] {
        assert!(count(Outcome::Refused, &|found| found == file) > 0, "{file}: {counts:?}");
    }
}

#[test]
fn every_byte() {
    let small = Small::new();
    let files = subjects(&small.desk.index());
    let places: Vec<_> = files.iter().flat_map(|file| (0..file.bytes.len()).map(move |at| (file, at))).collect();
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    let counts = on_every_core(
        places.len(),
        || Victim::copy_of(&small.desk.index()),
        |victim, number, counts| {
            let (file, at) = places[number];
            for bits in [1 << (at % 8), 255] {
                let change = Change::Flip(at, bits);
                let outcome = whole(format_args!("{}, {change}", file.name), || {
                    victim.with(file, change, || {
                        file.check_verify(victim.index(), change);
                        check_answers(&small, victim.index(), &file.name)
                    })
                });
                counts.add(&file.name, outcome);
            }
        },
    );
    assert!(bytes > BYTES_MIN, "{bytes} bytes");
    assert_eq!(counts.total(), 2 * bytes);
    check_classes(&counts);
    counts.print(&format!("every byte of a small generation ({bytes} in {} files), two changes each", files.len()));
}

#[test]
fn every_length() {
    let small = Small::new();
    let files = subjects(&small.desk.index());
    let places: Vec<_> = files.iter().flat_map(|file| (0..=file.bytes.len()).map(move |at| (file, at))).collect();
    let counts = on_every_core(
        places.len(),
        || Victim::copy_of(&small.desk.index()),
        |victim, number, counts| {
            let (file, length) = places[number];
            let change = if length == file.bytes.len() { Change::Append } else { Change::Cut(length) };
            let outcome = whole(format_args!("{}, {change}", file.name), || {
                victim.with(file, change, || {
                    file.check_verify(victim.index(), change);
                    check_answers(&small, victim.index(), &file.name)
                })
            });
            counts.add(&file.name, outcome);
        },
    );
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    assert_eq!(counts.total(), bytes + files.len());
    // A length is compared when a file is opened: only the list, which is not, leaves a snapshot to ask.
    assert_eq!(
        counts.sum(Outcome::Refused, |file| file != "anomalies.csv"),
        counts.total() - counts.sum(Outcome::Unchanged, |_| true)
    );
    assert_eq!(
        counts.sum(Outcome::Unchanged, |file| file == "anomalies.csv"),
        counts.sum(Outcome::Unchanged, |_| true)
    );
    counts.print("every shorter length of a small generation's files, and a byte more");
}

/// Every byte of `CURRENT` with every other value.
#[test]
fn every_other_current() {
    let small = Small::new();
    let file = subjects(&small.desk.index()).pop().unwrap();
    assert_eq!((file.name.as_str(), file.bytes.as_slice()), ("CURRENT", &b"g000002\n"[..]));
    let victim = Victim::copy_of(&small.desk.index());
    let (mut refused, mut former) = (0, 0);
    for at in 0..file.bytes.len() {
        for bits in 1..=255 {
            let change = Change::Flip(at, bits);
            whole(format_args!("CURRENT, {change}"), || {
                victim.with(&file, change, || {
                    if file.bytes[at] ^ bits == b'1' && at == 6 {
                        // The name of another whole generation: nothing tells it from one that was published. Its replies are right too.
                        assert_eq!(Generation::open_current(victim.index()).unwrap().manifest().generation, "g000001");
                        let snapshot = Snapshot::open(&small.desk.db(), victim.index()).unwrap();
                        small.check_of_another_generation(&snapshot);
                        former += 1;
                    } else {
                        file.check_verify(victim.index(), change);
                        assert_eq!(check_answers(&small, victim.index(), "CURRENT"), Outcome::Refused);
                        refused += 1;
                    }
                });
            });
        }
    }
    assert_eq!((refused, former), (8 * 255 - 1, 1));
}

/// Whether a reply is as it must be; `None` where it is wrong.
fn judge(reply: &[u8], right: &[u8]) -> Option<Outcome> {
    if reply == right {
        return Some(Outcome::Unchanged);
    }
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    judge_value(&read(reply)?, &read(right)?)
}

fn judge_value(reply: &Value, right: &Value) -> Option<Outcome> {
    if reply == right {
        return Some(Outcome::Unchanged);
    }
    // A batch: each of its replies by itself.
    if let (Some(replies), Some(rights)) = (reply["results"].as_array(), right["results"].as_array()) {
        let same = |value: &Value| (value["id"].clone(), value["status"].clone());
        if replies.len() != rights.len() || same(reply) != same(right) {
            return None;
        }
        let mut worst = Outcome::Unchanged;
        for (reply, right) in replies.iter().zip(rights) {
            worst = worst.min(judge_value(reply, right)?);
        }
        return Some(worst);
    }
    let is_unavailable = reply["status"] == "error" && reply["code"] == "unavailable" && reply["id"] == right["id"];
    is_unavailable.then_some(Outcome::Unavailable)
}
