//! Targets `cpf_reader`, `name_reader`, `rowids` and `words`: sets of keys go through the public writers into a generation, and every answer
//! of the opened generation is compared with a plain `BTreeMap`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use balcao_index::{
    Build, CpfShardWriter, FORMAT_VERSION, Generation, Manifest, NameShardWriter, Part, RowidRange, ShardEntry, Source,
    WordCounter, Words, verify,
};
use balcao_record::{Cpf, NORMALIZATION_VERSION, normalize};

use crate::record::has_right_check_digits;
use crate::scratch;

/// Rows of a target's table at most, so that one input does not take long.
const ROWS_MAX: usize = 1200;

/// Bytes of the names of a target's table at most.
const NAME_BYTES_MAX: usize = 24 * 1024;

/// Prefixes that are asked at most.
const PREFIXES_MAX: usize = 100;

/// A table's rows by their keys.
#[derive(Debug, Default)]
struct Table {
    /// By the code of the CPF, its eleven digits and the rowids.
    cpfs: BTreeMap<u64, (u64, BTreeSet<i64>)>,
    names: BTreeMap<String, BTreeSet<i64>>,
    /// Shards are cut where a key's place in its list, modulo 256, is one of these.
    cuts: [u8; 3],
    rows: usize,
}

impl Table {
    fn add_cpf(&mut self, number: u64, rowid: i64) {
        self.rows += usize::from(self.cpfs.entry(code(number)).or_insert((number, BTreeSet::new())).1.insert(rowid));
    }

    fn add_name(&mut self, name: &str, rowid: i64) {
        if !name.is_empty() {
            self.rows += usize::from(self.names.entry(name.to_owned()).or_default().insert(rowid));
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX
    }

    fn cut<K>(&self, keys: impl Iterator<Item = K>) -> Vec<Vec<K>> {
        let mut shards: Vec<Vec<K>> = Vec::new();
        for (at, key) in keys.enumerate() {
            match shards.last_mut() {
                Some(shard) if !self.cuts.contains(&(at as u8)) => shard.push(key),
                _ => shards.push(vec![key]),
            }
        }
        shards
    }

    fn range(&self) -> RowidRange {
        let rowids = || self.cpfs.values().map(|(_, rowids)| rowids).chain(self.names.values()).flatten().copied();
        RowidRange { min: rowids().min().unwrap_or(0), max: rowids().max().unwrap_or(0) }
    }

    /// Writes and publishes a generation in the folder `index`.
    fn publish(&self, index: &Path, words: Words) -> balcao_index::Result<()> {
        let build = Build::begin(index)?;
        let (folder, range, words) = (build.folder(), self.range(), Arc::new(words));
        let words_entry = words.write(&folder)?;
        let mut cpf = Vec::new();
        for (shard, keys) in (0..).zip(self.cut(self.cpfs.iter())) {
            let mut writer = CpfShardWriter::create(&folder, shard, range)?;
            for (&code, (_, rowids)) in keys {
                rowids.iter().try_for_each(|&rowid| writer.push(code, rowid))?;
            }
            let (keys, rows) = writer.finish()?;
            cpf.push(ShardEntry { keys, rows });
        }
        let mut names = Vec::new();
        for (shard, keys) in (0..).zip(self.cut(self.names.iter())) {
            let mut writer = NameShardWriter::create(&folder, shard, range, Arc::clone(&words))?;
            for (name, rowids) in keys {
                rowids.iter().try_for_each(|&rowid| writer.push(name.as_bytes(), rowid))?;
            }
            let (keys, rows) = writer.finish()?;
            names.push(ShardEntry { keys, rows });
        }
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            normalization_version: NORMALIZATION_VERSION,
            generation: build.name().to_owned(),
            former: None,
            built_at: 0,
            source: Source::default(),
            rows: self.rows as u64,
            cpf_rows: self.cpfs.values().map(|(_, rowids)| rowids.len() as u64).sum(),
            name_rows: self.names.values().map(|rowids| rowids.len() as u64).sum(),
            anomalies: BTreeMap::new(),
            words: words_entry,
            cpf,
            names,
            anomalies_file: build.anomalies()?.finish()?,
            cluster: None,
            word_index: None,
            filters: None,
        };
        build.check(&manifest)?;
        build.publish(&manifest)
    }

    /// Publishes, opens, verifies, and compares every answer; `asked` are further keys to ask for.
    fn check(&self, words: Words, asked: &Table) {
        let folder = scratch::folder();
        self.publish(folder.path(), words).unwrap();
        let generation = Generation::open_current(folder.path()).unwrap();
        let verified = verify(&generation).unwrap();
        let manifest = generation.manifest();
        assert_eq!((verified.cpf_rows, verified.name_rows), (manifest.cpf_rows, manifest.name_rows));
        assert_eq!(verified.distinct_names, self.names.len() as u64);
        self.check_cpfs(&generation, asked);
        self.check_names(&generation, asked);
        self.check_prefixes(&generation, asked);
    }

    fn check_cpfs(&self, generation: &Generation, asked: &Table) {
        let mut end = 0;
        for (number, rowids) in self.cpfs.values() {
            let ranks = generation.cpf_ranks(read_cpf(*number)).unwrap();
            assert_eq!(ranks, end..end + rowids.len() as u64);
            end = ranks.end;
            let found = ranks.map(|rank| generation.rowid(Part::Cpf, rank).unwrap());
            assert!(found.eq(rowids.iter().copied()));
        }
        assert_eq!(generation.manifest().cpf_rows, end);
        check_beyond(generation, Part::Cpf, end);
        let near = |code: u64| [code.saturating_sub(1), code + 1];
        let near = self.cpfs.iter().flat_map(|(&code, _)| near(code)).filter(|&code| code < 1_000_000_000);
        let near = near.filter_map(|base| Some(Cpf::from_base(base as u32)?.number()));
        for number in near.chain(asked.cpfs.values().map(|(number, _)| *number)) {
            if !self.cpfs.contains_key(&code(number)) {
                assert!(generation.cpf_ranks(read_cpf(number)).unwrap().is_empty());
            }
        }
    }

    fn check_names(&self, generation: &Generation, asked: &Table) {
        let mut end = 0;
        for (name, rowids) in &self.names {
            let ranks = generation.name_ranks(name).unwrap();
            assert_eq!(ranks, end..end + rowids.len() as u64);
            end = ranks.end;
            let found = ranks.map(|rank| generation.rowid(Part::Name, rank).unwrap());
            assert!(found.eq(rowids.iter().copied()));
        }
        assert_eq!(generation.manifest().name_rows, end);
        check_beyond(generation, Part::Name, end);
        for name in asked.names.keys().filter(|name| !self.names.contains_key(*name)) {
            assert!(generation.name_ranks(name).unwrap().is_empty());
        }
    }

    fn check_prefixes(&self, generation: &Generation, asked: &Table) {
        let mut end = 0;
        let ends: Vec<u64> = self
            .names
            .values()
            .map(|rowids| {
                end += rowids.len() as u64;
                end
            })
            .collect();
        let names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        let rank = |place: usize| if place == 0 { 0 } else { ends[place - 1] };
        let all = asked.names.keys().chain(self.names.keys());
        let prefixes = all.flat_map(|name| {
            let ends = name.char_indices().map(|(at, c)| at + c.len_utf8());
            let few = name.len() / 8 + 1;
            ends.enumerate().filter(move |(at, end)| at % few == 0 || *end == name.len()).map(|(_, end)| &name[..end])
        });
        for prefix in prefixes.collect::<BTreeSet<_>>().into_iter().take(PREFIXES_MAX) {
            let start = names.partition_point(|name| *name < prefix);
            let count = names[start..].iter().take_while(|name| name.starts_with(prefix)).count();
            let ranks = generation.prefix_ranks(prefix).unwrap();
            assert!(ranks == (rank(start)..rank(start + count)) || count == 0 && ranks.is_empty());
        }
    }
}

/// The code of a CPF by docs/formats.md.
fn code(number: u64) -> u64 {
    if has_right_check_digits(number) { number / 100 } else { 1_000_000_000 + number }
}

fn read_cpf(number: u64) -> Cpf {
    Cpf::parse(&format!("{number:011}")).unwrap()
}

fn check_beyond(generation: &Generation, part: Part, end: u64) {
    for rank in [end, end + 1, u64::MAX] {
        assert!(generation.rowid(part, rank).is_err(), "a rank beyond the last one");
    }
}

/// A rowid: near the one before, or any.
fn next_rowid(u: &mut Unstructured<'_>, before: &mut i64) -> Result<i64> {
    *before = match u.arbitrary::<u8>()? {
        step @ 0..=200 => before.wrapping_add(i64::from(step)),
        201..=230 => i64::from(u.arbitrary::<i16>()?),
        _ => u.arbitrary()?,
    };
    Ok(*before)
}

/// CPFs: dense and sparse ones, wrong check digits, and runs of one CPF over many rows.
fn cpf_table(u: &mut Unstructured<'_>) -> Result<Table> {
    let mut table = Table { cuts: u.arbitrary()?, ..Table::default() };
    let (mut base, mut rowid) = (0_u32, 0_i64);
    while !u.is_empty() && !table.is_full() {
        let kind: u8 = u.arbitrary()?;
        base = match kind & 3 {
            0 => base,
            1 => base + u32::from(u.arbitrary::<u8>()?),
            2 => base + u32::from(u.arbitrary::<u16>()?),
            _ => u.arbitrary()?,
        } % 1_000_000_000;
        let number = if kind & 4 == 0 {
            Cpf::from_base(base).map_or(0, Cpf::number)
        } else {
            u64::from(base) * 100 + u64::from(u.arbitrary::<u8>()? % 100)
        };
        let run = if kind & 0x38 == 0x38 { u16::from(u.arbitrary::<u8>()?) * 2 } else { u16::from(kind >> 6 == 3) };
        for _ in 0..=run {
            table.add_cpf(number, if run > 1 { rowid.wrapping_add(1) } else { next_rowid(u, &mut rowid)? });
            rowid = rowid.wrapping_add(1);
        }
    }
    Ok(table)
}

/// Words of names: particles, short and long ones, letters of two and four bytes.
const WORDS: [&str; 16] =
    ["ANA", "DA", "DE", "DO", "DOS", "DAS", "E", "SILVA", "A", "AB", "Ø", "ØRSTED", "𪛖", "ZZ", "1", "DAA"];

/// Names: of the words above, further ones to the name before, numbered ones, long ones, any texts; and runs of one name.
fn name_table(u: &mut Unstructured<'_>) -> Result<Table> {
    let mut table = Table { cuts: u.arbitrary()?, ..Table::default() };
    let (mut name, mut rowid, mut bytes) = (String::new(), 0_i64, 0);
    while !u.is_empty() && !table.is_full() && bytes < NAME_BYTES_MAX {
        let kind: u8 = u.arbitrary()?;
        match kind & 7 {
            0 => name.truncate(name.rfind(' ').unwrap_or(0)),
            1 => name = format!("{} {}", name, WORDS[usize::from(u.arbitrary::<u8>()? & 15)]),
            2 => name = WORDS[usize::from(u.arbitrary::<u8>()? & 15)].to_owned(),
            3 => name = format!("{name}{}", u.arbitrary::<u8>()?),
            4 => name = "A".repeat(usize::from(u.arbitrary::<u16>()? % 5000)),
            5 => name = u.arbitrary::<String>()?,
            6 => name.push(u.arbitrary()?),
            _ => name = format!("{name} {}", u.arbitrary::<&str>()?),
        }
        name = normalize(&name).into_owned();
        let run = if kind >> 4 == 15 { u16::from(u.arbitrary::<u8>()?) * 2 } else { 0 };
        for _ in 0..=run {
            table.add_name(&name, if run > 0 { rowid } else { next_rowid(u, &mut rowid)? });
            rowid = rowid.wrapping_add(1);
        }
        bytes += name.len();
    }
    Ok(table)
}

/// A dictionary that several threads counted, each over its own part, in little memory.
fn counted_words(table: &Table, counters: usize, memory: usize) -> Words {
    let mut words = WordCounter::new(memory);
    for part in 0..counters {
        let mut counter = WordCounter::new(memory);
        let mut before = "";
        for name in table.names.keys().skip(part).step_by(counters) {
            counter.count(before.as_bytes(), name.as_bytes());
            before = name;
        }
        words.merge(counter);
    }
    words.into_words()
}

/// A table of CPFs, and other CPFs to ask for.
pub fn cpf_reader(data: &[u8]) {
    let (asked, rows) = data.split_at(data.len() / 4);
    let tables = (cpf_table(&mut Unstructured::new(rows)), cpf_table(&mut Unstructured::new(asked)));
    if let (Ok(table), Ok(asked)) = tables {
        table.check(Words::default(), &asked);
    }
}

/// A table of names with the dictionary of its own tokens, and other names to ask for.
pub fn name_reader(data: &[u8]) {
    let (asked, rows) = data.split_at(data.len() / 4);
    let tables = (name_table(&mut Unstructured::new(rows)), name_table(&mut Unstructured::new(asked)));
    if let (Ok(table), Ok(asked)) = tables {
        table.check(counted_words(&table, 1, 1 << 20), &asked);
    }
}

/// A dictionary changes the size of an index, never an answer: one of another table, counted by many in little memory.
pub fn words(data: &[u8]) {
    let [memory, counters, data @ ..] = data else { return };
    let (other, rows) = data.split_at(data.len() / 2);
    let tables = (name_table(&mut Unstructured::new(rows)), name_table(&mut Unstructured::new(other)));
    let (Ok(table), Ok(mut other)) = tables else { return };
    if counters & 0x80 != 0 {
        // More tokens than have a code of one byte.
        (0..300).for_each(|i| other.add_name(&format!("{} W{i}", WORDS[i % 16]), 0));
        (0..300).for_each(|i| other.add_name(&format!("{} W{i}", WORDS[(i + 1) % 16]), 0));
    }
    let words = counted_words(&other, usize::from(counters & 3) + 1, usize::from(*memory) * 1000);
    table.check(words, &other);
}

/// Any rowids, each under a key of its own, so that their order is any.
pub fn rowids(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut table = Table { cuts: u.arbitrary().unwrap_or_default(), ..Table::default() };
    let mut rowid = 0;
    for base in 0..ROWS_MAX as u32 / 2 {
        if u.is_empty() || next_rowid(&mut u, &mut rowid).is_err() {
            break;
        }
        table.add_cpf(Cpf::from_base(base).map_or(0, Cpf::number), rowid);
        table.add_name(&format!("N{base:04}"), rowid);
    }
    table.check(Words::default(), &Table::default());
}
