//! Targets `manifest`, `damaged_generation` and `damaged_search`: files with checksums that hold, so that what stands behind the checksums meets any bytes.
//!
//! The frames are opened and sealed again by `docs/formats.md`, with nothing of the product's writers. The good generation is the golden one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use balcao_index::{FORMAT_VERSION, Generation, Part, verify};
use balcao_record::{Cpf, normalize};
use serde_json::Value;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::scratch;

const MANIFEST: &str = "MANIFEST";

/// Frame of a sealed file.
const HEADER: usize = 64;
const PAGE: usize = 16_384;
const PARAMETERS: usize = 12;
const FOOTER: usize = 8 * (3 + PARAMETERS);

/// Of kinds with an `fst`: the parameters that tell where each is, and how long. The crate trusts its bytes, and docs/formats.md says that nothing is done
/// about it; so they stay as they are.
const KEYS_FSTS: [usize; 1] = [2];
const WORD_INDEX_FSTS: [usize; 2] = [2, 4];

/// Ranks of a run that are looked at.
const PAGE_ROWS: u64 = 40;

/// A golden generation's files by their names.
type Files = BTreeMap<String, Vec<u8>>;

/// The files of the golden generation of this name.
fn read_golden(name: &str) -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../index/tests/golden").join(name).join("g000001");
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| read_golden(&format!("v{FORMAT_VERSION}")))
}

/// A manifest's text with a checksum that holds.
fn with_checksum(line: &[u8]) -> Vec<u8> {
    let line = [line, b"\n"].concat();
    let checksum = format!("xxh3 {:016x}\n", xxh3_64(&line));
    [&line, checksum.as_bytes()].concat()
}

/// Any bytes as the manifest of a good generation, and the same bytes with a checksum that holds.
pub fn manifest(data: &[u8]) {
    let folder = scratch::folder();
    let path = folder.path().join(MANIFEST);
    for (name, bytes) in files().iter().filter(|(name, _)| *name != MANIFEST) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    for text in [data.to_vec(), with_checksum(line)] {
        fs::write(&path, &text).unwrap();
        let Ok(generation) = Generation::open(folder.path()) else { continue };
        let _ = verify(&generation);
        // What was read is what stands there: written and read again it is the same, and a manifest of the same answers.
        let manifest = generation.manifest().clone();
        let read: Value = serde_json::from_slice(text.split(|&byte| byte == b'\n').next().unwrap()).unwrap();
        assert_eq!(manifest.rows, read["rows"]);
        assert_eq!(manifest.generation, read["generation"]);
        fs::write(&path, with_checksum(&serde_json::to_vec(&manifest).unwrap())).unwrap();
        assert_eq!(*Generation::open(folder.path()).unwrap().manifest(), manifest);
        questions().ask(&generation);
    }
}

/// A sealed file, opened.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    header: [u8; HEADER],
    /// Behind the header.
    pub(crate) body: Vec<u8>,
    pub(crate) parameters: [u64; PARAMETERS],
}

impl Frame {
    fn open(bytes: &[u8]) -> Self {
        let (rest, footer) = bytes.split_at(bytes.len() - FOOTER);
        let number = |at: usize| u64::from_le_bytes(footer[8 * at..8 * at + 8].try_into().unwrap());
        let body = rest[HEADER..number(0) as usize].to_vec();
        let parameters = std::array::from_fn(|at| number(2 + at));
        Self { header: rest[..HEADER].try_into().unwrap(), body, parameters }
    }

    /// The file's bytes and its seal.
    fn seal(&self) -> (Vec<u8>, u64) {
        let mut bytes = [&self.header[..], &self.body].concat();
        let table: Vec<u8> = bytes.chunks(PAGE).flat_map(|page| xxh3_64(page).to_le_bytes()).collect();
        let numbers = [bytes.len() as u64, xxh3_64(&table)].into_iter().chain(self.parameters);
        let footer: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        let seal = xxh3_64(&[&self.header[..], &footer].concat());
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(&footer);
        bytes.extend_from_slice(&seal.to_le_bytes());
        (bytes, seal)
    }

    /// The parameters that tell where an `fst` is.
    fn fsts(&self) -> &'static [usize] {
        match self.header[12] {
            2 | 4 => &KEYS_FSTS,
            5 => &WORD_INDEX_FSTS,
            _ => &[],
        }
    }

    /// Whether this byte of the body is none of an `fst`.
    fn is_free(&self, at: usize) -> bool {
        self.fsts().iter().all(|&fst| {
            let start = (self.parameters[fst] as usize).saturating_sub(HEADER);
            at < start || at >= start + self.parameters[fst + 1] as usize
        })
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        for (at, &byte) in (at..).zip(bytes) {
            if at < self.body.len() && self.is_free(at) {
                self.body[at] = byte;
            }
        }
    }
}

/// A change of one file. A file is meant by its place in the list of sealed files, a place in it modulo its length.
#[derive(Arbitrary, Debug)]
enum Edit {
    Byte {
        file: u8,
        at: u16,
        to: u8,
    },
    Add {
        file: u8,
        at: u16,
        by: u8,
    },
    Bytes {
        file: u8,
        at: u16,
        to: [u8; 10],
    },
    Fill {
        file: u8,
        at: u16,
        length: u8,
        to: u8,
    },
    Move {
        file: u8,
        from: u16,
        to: u16,
        length: u8,
    },
    Parameter {
        file: u8,
        which: u8,
        to: u64,
    },
    Near {
        file: u8,
        which: u8,
        by: i8,
    },
    /// A shard's number of rows, in both of its files.
    Rows {
        file: u8,
        to: u64,
    },
    Cut {
        file: u8,
        to: u16,
    },
    Lengthen {
        file: u8,
        by: u8,
    },
    /// A number of the manifest.
    Manifest {
        which: u8,
        to: u64,
    },
}

/// The numbers of a manifest that an edit may set.
const NUMBERS: [&str; 6] =
    ["/rows", "/cpf_rows", "/name_rows", "/anomalies/cpf_check_digits", "/anomalies_file/bytes", "/source/file/pages"];

/// The golden generation, taken apart.
#[derive(Clone)]
pub(crate) struct Forged {
    frames: Vec<(String, Frame)>,
    pub(crate) manifest: Value,
    anomalies: Vec<u8>,
    numbers: Vec<(&'static str, u64)>,
}

impl Forged {
    fn golden() -> &'static Self {
        static GOLDEN: OnceLock<Forged> = OnceLock::new();
        GOLDEN.get_or_init(|| Self::of(files()))
    }

    /// The golden generation with a word index and filter columns.
    pub(crate) fn searched() -> &'static Self {
        static GOLDEN: OnceLock<Forged> = OnceLock::new();
        GOLDEN.get_or_init(|| Self::of(&read_golden(&format!("v{FORMAT_VERSION}-searched"))))
    }

    fn of(files: &Files) -> Self {
        let sealed = |name: &str| !name.ends_with(".csv") && name != MANIFEST;
        let frames = files.iter().filter(|(name, _)| sealed(name));
        let line = files[MANIFEST].split(|&byte| byte == b'\n').next().unwrap();
        Self {
            frames: frames.map(|(name, bytes)| (name.clone(), Frame::open(bytes))).collect(),
            manifest: serde_json::from_slice(line).unwrap(),
            anomalies: files["anomalies.csv"].clone(),
            numbers: Vec::new(),
        }
    }

    /// The frame of the file of this name.
    pub(crate) fn named(&mut self, name: &str) -> &mut Frame {
        &mut self.frames.iter_mut().find(|(other, _)| other == name).unwrap().1
    }

    fn frame(&mut self, file: u8) -> &mut Frame {
        let count = self.frames.len();
        &mut self.frames[usize::from(file) % count].1
    }

    fn edit(&mut self, edit: &Edit) {
        match *edit {
            Edit::Byte { file, at, to } => self.frame(file).overwrite(usize::from(at), &[to]),
            Edit::Add { file, at, by } => {
                let frame = self.frame(file);
                if let Some(byte) = frame.body.get(usize::from(at)).copied() {
                    frame.overwrite(usize::from(at), &[byte.wrapping_add(by)]);
                }
            }
            Edit::Bytes { file, at, to } => self.frame(file).overwrite(usize::from(at), &to),
            Edit::Fill { file, at, length, to } => {
                self.frame(file).overwrite(usize::from(at), &vec![to; usize::from(length)]);
            }
            Edit::Move { file, from, to, length } => {
                let frame = self.frame(file);
                let from = usize::from(from).min(frame.body.len());
                let end = (from + usize::from(length)).min(frame.body.len());
                let bytes = frame.body[from..end].to_vec();
                frame.overwrite(usize::from(to), &bytes);
            }
            Edit::Parameter { file, which, to } => self.set(file, which, |_| to),
            Edit::Near { file, which, by } => self.set(file, which, |value| value.wrapping_add_signed(by.into())),
            Edit::Rows { file, to } => {
                let name = self.frames[usize::from(file) % self.frames.len()].0.clone();
                let Some((shard, _)) = name.rsplit_once('.').filter(|(shard, _)| *shard != "words") else { return };
                let both = self.frames.iter_mut().filter(|(name, _)| name.starts_with(shard));
                both.for_each(|(_, frame)| frame.parameters[0] = to);
            }
            Edit::Cut { file, to } => {
                let frame = self.frame(file);
                frame.body.truncate(usize::from(to));
            }
            Edit::Lengthen { file, by } => {
                let frame = self.frame(file);
                frame.body.extend(std::iter::repeat_n(by, usize::from(by)));
            }
            Edit::Manifest { which, to } => self.numbers.push((NUMBERS[usize::from(which) % NUMBERS.len()], to)),
        }
    }

    fn set(&mut self, file: u8, which: u8, to: impl FnOnce(u64) -> u64) {
        let frame = self.frame(file);
        let which = usize::from(which) % PARAMETERS;
        if !frame.fsts().iter().any(|&fst| which == fst || which == fst + 1) {
            frame.parameters[which] = to(frame.parameters[which]);
        }
    }

    /// Writes all files: every frame sealed, the manifest of their lengths, seals and numbers of rows, but for the numbers that were set.
    pub(crate) fn write(mut self, folder: &Path) {
        let mut rows = BTreeMap::new();
        let mut entries = BTreeMap::new();
        for (name, frame) in &self.frames {
            if let Some((part, _)) = name.split_once('-').filter(|_| name.ends_with(".keys")) {
                let sum = rows.entry(part).or_insert(0_u64);
                *sum = sum.saturating_add(frame.parameters[0]);
            }
            let (bytes, seal) = frame.seal();
            fs::write(folder.join(name), &bytes).unwrap();
            entries.insert(name.clone(), (bytes.len(), seal));
        }
        fs::write(folder.join("anomalies.csv"), &self.anomalies).unwrap();
        enter(&mut self.manifest, &entries);
        self.manifest["cpf_rows"] = rows["cpf"].into();
        self.manifest["name_rows"] = rows["name"].into();
        for (number, to) in self.numbers {
            *self.manifest.pointer_mut(number).unwrap() = to.into();
        }
        fs::write(folder.join(MANIFEST), with_checksum(self.manifest.to_string().as_bytes())).unwrap();
    }
}

/// Sets length and checksum in each entry of a manifest that names one of these files.
fn enter(value: &mut Value, entries: &BTreeMap<String, (usize, u64)>) {
    if let Some(&(bytes, seal)) = value["name"].as_str().and_then(|name| entries.get(name)) {
        value["bytes"] = bytes.into();
        value["checksum"] = format!("{seal:016x}").into();
        return;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| enter(value, entries)),
        Value::Array(items) => items.iter_mut().for_each(|value| enter(value, entries)),
        _ => {}
    }
}

/// What a generation is asked.
struct Questions {
    cpfs: Vec<Cpf>,
    names: Vec<String>,
}

/// Keys that the golden generation has, and some that it has not.
fn questions() -> Questions {
    let multiplied = |i: u32| i.wrapping_mul(2_654_435_761) % 1_000_000_000;
    let odd = (0..10).map(|i| format!("{:09}00", multiplied(25 * i + 4)));
    let cpfs = (0..40)
        .filter_map(|i| Cpf::from_base(multiplied(i * 13)))
        .chain([0, 999_999_999].map(|base| Cpf::from_base(base).unwrap()));
    let given = ["ABELINO", "BRUNELA", "CORALINO", "DAVINA", "EURIDES", "ØRSTEDA", "M", "A", "DA", "ZZ", "\u{10ffff}"];
    let further = ["", " W000", " W049", " W123 DA PROVA", " DO MODELO", " W2"];
    let names = given.iter().flat_map(|given| further.iter().map(move |further| format!("{given}{further}")));
    Questions { cpfs: cpfs.chain(odd.filter_map(|text| Cpf::parse(&text).ok())).collect(), names: names.collect() }
}

impl Questions {
    /// Asks all, and what a page would fetch. What is answered may be wrong, since the files are forged; that there is an end to it counts.
    fn ask(&self, generation: &Generation) {
        let fetch = |part: Part, ranks: std::ops::Range<u64>| {
            let page = ranks.start..ranks.end.min(ranks.start.saturating_add(PAGE_ROWS));
            let _ = page.map(|rank| generation.rowid(part, rank)).find(Result::is_err);
            let _ = (generation.rowid(part, ranks.end), generation.rowid(part, u64::MAX));
        };
        for cpf in &self.cpfs {
            if let Ok(ranks) = generation.cpf_ranks(*cpf) {
                fetch(Part::Cpf, ranks);
            }
        }
        for name in &self.names {
            for ranks in [generation.name_ranks(name), generation.prefix_ranks(name)].into_iter().flatten() {
                fetch(Part::Name, ranks);
            }
        }
    }
}

/// Edits of a good generation's bytes, sealed again; then every kind of question.
pub fn damaged_generation(data: &[u8]) {
    damaged(data, Forged::golden(), |_| ());
}

/// The same with a generation that has a word index and filter columns, and what these are asked.
pub fn damaged_search(data: &[u8]) {
    damaged(data, Forged::searched(), crate::search::ask);
}

fn damaged(data: &[u8], golden: &Forged, ask: impl Fn(&Generation)) {
    thread_local!(static FOLDER: TempDir = scratch::folder());
    let mut u = Unstructured::new(data);
    let Ok(edits) = Vec::<Edit>::arbitrary(&mut u) else { return };
    let mut forged = golden.clone();
    edits.iter().for_each(|edit| forged.edit(edit));
    FOLDER.with(|folder| {
        forged.write(folder.path());
        let Ok(generation) = Generation::open(folder.path()) else { return };
        let mut questions = questions();
        questions.names.push(normalize(&String::from_utf8_lossy(u.take_rest())).into_owned() + "A");
        questions.ask(&generation);
        ask(&generation);
        let _ = verify(&generation);
    });
}
