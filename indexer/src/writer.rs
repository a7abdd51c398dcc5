//! The second half of a build: the sorted runs are merged, shard by shard, into the files of a generation.
//!
//! Each shard is a job of one thread. Names come first; the thread that ends the last of them merges the words, while others go on with CPFs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use balcao_index::{
    Build, CpfShardWriter, FORMAT_VERSION, FileEntry, FilterEntry, FilterWriter, Manifest, NameShardWriter, NameToken,
    RowidRange, ShardEntry, Source, Storage, WordIndexWriter, Words,
};
use balcao_record::NORMALIZATION_VERSION;

use crate::anomaly::Anomaly;
use crate::build::BuildError;
use crate::filters::FilterPlan;
use crate::keys::{NameKeys, Numbers};
use crate::merge::{Merge, bounds};
use crate::occurrences::{Dictionary, Occurrences};
use crate::progress::Progress;
use crate::ranking::Ranking;
use crate::run::{Keys, READ_BYTES, Run};
use crate::scan::Scanned;
use crate::segments::{self, Segment, Step};
use crate::store::Store;

/// Writes the files of a generation.
pub(crate) struct Writer<'a> {
    pub(crate) generation: &'a Build<'a>,
    pub(crate) storage: &'a dyn Storage,
    pub(crate) store: &'a Store<'a>,
    pub(crate) range: RowidRange,
    pub(crate) shards: usize,
    pub(crate) threads: usize,
    pub(crate) filters: &'a FilterPlan,
    /// Whether to write the word index.
    pub(crate) words: bool,
    pub(crate) progress: &'a dyn Progress,
}

/// The tokens of all names: the dictionary of codes, the code of each where it has one, and their order; and their words, where those are indexed.
struct Tokens<'s> {
    codes_of: Arc<Words>,
    codes: Vec<Option<u32>>,
    ranking: &'s Ranking<'s>,
    words: Option<Dictionary<'s>>,
}

/// What is written shard by shard.
struct Shards<'r> {
    cpf: &'r [Run<u64>],
    cpf_bounds: Vec<u64>,
    names: &'r [Run<Vec<u8>>],
    name_bounds: Vec<Vec<u8>>,
}

/// A shard to be written: which part of which index.
enum Job {
    Cpf(usize),
    Name(usize),
}

/// What came of it.
enum Done {
    Cpf(ShardEntry),
    Name(ShardEntry, Option<FileEntry>),
    /// Of the last shard of names, with the word index and how many words it has.
    Words(FileEntry, u64),
}

/// The shards' files, and the word index with its number of words.
#[derive(Default)]
struct Entries {
    cpf: Vec<ShardEntry>,
    names: Vec<ShardEntry>,
    filters: Vec<FileEntry>,
    word_index: Option<(FileEntry, u64)>,
}

/// The words of the shards of names that are written, and how many are not yet.
struct Gathered {
    shards: Mutex<Vec<(usize, u64, Vec<Segment>)>>,
    left: AtomicUsize,
}

impl Writer<'_> {
    /// Writes all files: the manifest, and how many words are indexed.
    pub(crate) fn write(&self, scanned: Scanned, source: Source) -> Result<(Manifest, u64), BuildError> {
        self.progress.stage("writing");
        // Taken apart, so that the runs go with the end of this: a copy of the rows may come next.
        let Scanned { cpf: cpf_runs, names: name_runs, anomalies, tokens: tables, rows, counts, unreadable, .. } =
            scanned;
        let ranking = Ranking::of(&tables);
        let (codes_of, codes) = Words::frequent(&ranking.counted());
        let words = self.words.then(|| Dictionary::of(&ranking));
        let tokens = Tokens { codes_of: Arc::new(codes_of), codes, ranking: &ranking, words };
        let words_entry = tokens.codes_of.write_with(self.storage, &self.generation.folder())?;
        let anomalies_file = self.write_anomalies(&anomalies)?;
        let shards = Shards {
            cpf_bounds: bounds(&cpf_runs, self.shards),
            name_bounds: bounds(&name_runs, self.shards),
            cpf: &cpf_runs,
            names: &name_runs,
        };
        let entries = self.write_shards(&shards, &tokens)?;
        let built_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let counted = Anomaly::ALL.iter().zip(counts).filter(|&(_, count)| count > 0);
        let (word_index, words) = entries.word_index.unzip();
        let filters = (!self.filters.is_empty()).then(|| FilterEntry {
            sex_column: self.filters.columns.sex.clone(),
            birth_column: self.filters.columns.birth.clone(),
            sex_unreadable: unreadable.sex,
            birth_unreadable: unreadable.birth,
            files: entries.filters,
        });
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            normalization_version: NORMALIZATION_VERSION,
            generation: self.generation.name().to_owned(),
            former: self.generation.former().map(str::to_owned),
            built_at,
            source,
            rows,
            cpf_rows: cpf_runs.iter().map(|run| run.rows).sum(),
            name_rows: name_runs.iter().map(|run| run.rows).sum(),
            anomalies: counted.map(|(kind, count)| (kind.as_str().to_owned(), count)).collect(),
            words: words_entry,
            cpf: entries.cpf,
            names: entries.names,
            anomalies_file,
            cluster: None,
            word_index,
            filters,
        };
        Ok((manifest, words.unwrap_or_default()))
    }

    /// Writes all shards and the word index, as many at once as there are threads.
    fn write_shards(&self, shards: &Shards<'_>, tokens: &Tokens<'_>) -> Result<Entries, BuildError> {
        let count = |rows: u64, bounds: usize| if rows == 0 { 0 } else { bounds + 1 };
        let cpf_shards = count(shards.cpf.iter().map(|run| run.rows).sum(), shards.cpf_bounds.len());
        let name_shards = count(shards.names.iter().map(|run| run.rows).sum(), shards.name_bounds.len());
        // The dear ones first, so that no thread is left with one at the end.
        let jobs: Vec<Job> = (0..name_shards).map(Job::Name).chain((0..cpf_shards).map(Job::Cpf)).collect();
        let total = shards.cpf.iter().map(|run| run.rows).chain(shards.names.iter().map(|run| run.rows)).sum();
        let written = Written { rows: AtomicU64::new(0), total, progress: self.progress };
        let gathered = Gathered { shards: Mutex::new(Vec::new()), left: AtomicUsize::new(name_shards) };
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Done)>, BuildError> {
            let mut done = Vec::new();
            while let Some((number, job)) = take(&jobs, &next) {
                let result = match job {
                    Job::Cpf(shard) => self.write_cpf(shards, *shard, &written).map(|entry| vec![Done::Cpf(entry)]),
                    Job::Name(shard) => self.write_names_and_words(shards, *shard, tokens, &gathered, &written),
                };
                let result = result.inspect_err(|_| next.store(jobs.len(), Ordering::Relaxed))?;
                done.extend(result.into_iter().map(|done| (number, done)));
            }
            Ok(done)
        };
        let results: Vec<_> = thread::scope(|scope| {
            let handles: Vec<_> = (0..self.threads.min(jobs.len())).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or(Err(BuildError::Thread))).collect()
        });
        let mut done = Vec::with_capacity(jobs.len() + 1);
        for result in results {
            done.extend(result?);
        }
        done.sort_by_key(|(number, _)| *number);
        let mut entries = Entries::default();
        for (_, done) in done {
            match done {
                Done::Cpf(entry) => entries.cpf.push(entry),
                Done::Name(entry, filters) => {
                    entries.names.push(entry);
                    entries.filters.extend(filters);
                }
                Done::Words(entry, words) => entries.word_index = Some((entry, words)),
            }
        }
        // Without names nobody has come to it.
        if let (0, Some(dictionary)) = (name_shards, &tokens.words) {
            entries.word_index = Some(self.write_words(Vec::new(), dictionary)?);
        }
        Ok(entries)
    }

    fn write_cpf(&self, shards: &Shards<'_>, shard: usize, written: &Written<'_>) -> Result<ShardEntry, BuildError> {
        let folder = self.generation.folder();
        let mut writer = CpfShardWriter::create_with(self.storage, &folder, shard as u32, self.range)?;
        let range =
            (shard.checked_sub(1).and_then(|before| shards.cpf_bounds.get(before)), shards.cpf_bounds.get(shard));
        let merge = Merge::new(shards.cpf, |_| Numbers::default(), range, self.read_bytes(shards.cpf.len()));
        self.feed(merge.map_err(BuildError::Spill)?, written, |code, row| Ok(writer.push(code.0, self.rowid(row))?))?;
        let (keys, rows) = writer.finish()?;
        Ok(ShardEntry { keys, rows })
    }

    /// Writes a shard of names, and after the last of them the word index.
    fn write_names_and_words(
        &self,
        shards: &Shards<'_>,
        shard: usize,
        tokens: &Tokens<'_>,
        gathered: &Gathered,
        written: &Written<'_>,
    ) -> Result<Vec<Done>, BuildError> {
        let (done, rows, segments) = self.write_names(shards, shard, tokens, written)?;
        let Some(dictionary) = &tokens.words else { return Ok(vec![done]) };
        gathered.shards.lock().unwrap_or_else(PoisonError::into_inner).push((shard, rows, segments));
        // The others' come before their count.
        if gathered.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(vec![done]);
        }
        let shards = std::mem::take(&mut *gathered.shards.lock().unwrap_or_else(PoisonError::into_inner));
        let (entry, words) = self.write_words(shards, dictionary)?;
        Ok(vec![done, Done::Words(entry, words)])
    }

    /// Writes a shard of names with its filters: the files, its rows, and its words.
    fn write_names(
        &self,
        shards: &Shards<'_>,
        shard: usize,
        tokens: &Tokens<'_>,
        written: &Written<'_>,
    ) -> Result<(Done, u64, Vec<Segment>), BuildError> {
        let folder = self.generation.folder();
        let codes_of = Arc::clone(&tokens.codes_of);
        let mut writer = NameShardWriter::create_with(self.storage, &folder, shard as u32, self.range, codes_of)?;
        let columns = &self.filters.columns;
        let filters =
            (!self.filters.is_empty()).then(|| FilterWriter::create_with(self.storage, &folder, shard as u32, columns));
        let mut filters = filters.transpose()?;
        let mut occurrences = tokens.words.as_ref().map(|dictionary| Occurrences::new(dictionary, self.store));
        let range =
            (shard.checked_sub(1).and_then(|before| shards.name_bounds.get(before)), shards.name_bounds.get(shard));
        let keys = |run: &Run<Vec<u8>>| NameKeys::new(tokens.ranking, run.thread);
        let merge = Merge::new(shards.names, keys, range, self.read_bytes(shards.names.len()));
        let mut before = NameKeys::new(tokens.ranking, 0);
        let rows = self.feed(merge.map_err(BuildError::Spill)?, written, |name, packed| {
            let (row, value) = self.filters.unpack(packed);
            let shared = name.shared(&before);
            if shared == name.len() && shared == before.len() {
                writer.push_row(self.rowid(row))?;
            } else {
                let further = (shared..name.len()).map(|at| {
                    let code = name.place(at).and_then(|place| tokens.codes[place]);
                    code.map_or_else(|| NameToken::Rare(name.token(at)), NameToken::Frequent)
                });
                writer.push_tokens(shared, further, self.rowid(row))?;
                if let Some(occurrences) = &mut occurrences {
                    occurrences.begin_name(name, shared)?;
                }
                before.copy(name);
            }
            if let Some(occurrences) = &mut occurrences {
                occurrences.add_row();
            }
            filters.as_mut().map_or(Ok(()), |filters| Ok(filters.push(value)?))
        })?;
        let segments = occurrences.map_or_else(|| Ok(Vec::new()), Occurrences::finish)?;
        let filters = filters.map(FilterWriter::finish).transpose()?;
        let (keys, rowids) = writer.finish()?;
        Ok((Done::Name(ShardEntry { keys, rows: rowids }, filters), rows, segments))
    }

    /// Writes the word index out of what all shards of names had, each with its number and its rows: the file, and how many words it has.
    fn write_words(
        &self,
        mut shards: Vec<(usize, u64, Vec<Segment>)>,
        dictionary: &Dictionary<'_>,
    ) -> Result<(FileEntry, u64), BuildError> {
        shards.sort_unstable_by_key(|(shard, ..)| *shard);
        let mut base = 0;
        let mut all = Vec::new();
        for (_, rows, segments) in shards {
            // There are not more names than a word index takes.
            let first = base as u32;
            all.extend(segments.into_iter().map(|segment| (first, segment)));
            base += rows;
        }
        let mut writer = WordIndexWriter::create_with(self.storage, &self.generation.folder())?;
        let mut words = 0;
        segments::merge(&all, dictionary, self.read_bytes(all.len()), |step| match step {
            Step::Word(word) => {
                words += 1;
                writer.begin_word(word)
            }
            Step::Run(start, length) => writer.push_run(start, length),
        })?;
        Ok((writer.finish()?, words))
    }

    /// Feeds merged keys with their rows to `push`, in order: how many there are.
    fn feed<D: Keys>(
        &self,
        mut merge: Merge<'_, D>,
        written: &Written<'_>,
        mut push: impl FnMut(&D, u64) -> Result<(), BuildError>,
    ) -> Result<u64, BuildError> {
        let (mut all, mut since) = (0, 0);
        while let Some((key, row)) = merge.current() {
            push(key, row)?;
            merge.advance().map_err(BuildError::Spill)?;
            since += 1;
            if since == Written::STEP {
                written.add(since);
                all += since;
                since = 0;
            }
        }
        written.add(since);
        Ok(all + since)
    }

    fn rowid(&self, row: u64) -> i64 {
        self.range.min.wrapping_add(row as i64)
    }

    /// An eighth of the memory is for the buffers of spilled runs: each thread reads all of them at once.
    fn read_bytes(&self, runs: usize) -> usize {
        let share = self.store.budget.whole / 8 / (runs.max(1) * self.threads) as u64;
        (share as usize).clamp(*READ_BYTES.start(), *READ_BYTES.end())
    }

    fn write_anomalies(&self, runs: &[Run<u64>]) -> Result<FileEntry, BuildError> {
        let mut file = self.generation.anomalies()?;
        let mut merge = Merge::new(runs, |_| Numbers::default(), (None, None), self.read_bytes(runs.len()))
            .map_err(BuildError::Spill)?;
        while let Some((&Numbers(row), kind)) = merge.current() {
            let kind = Anomaly::ALL.get(kind as usize).ok_or(BuildError::Thread)?;
            file.push(self.rowid(row), kind.as_str())?;
            merge.advance().map_err(BuildError::Spill)?;
        }
        Ok(file.finish()?)
    }
}

/// The next job that no thread has taken.
fn take<'a, T>(jobs: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(number).map(|job| (number, job))
}

/// How many keys are written.
struct Written<'a> {
    rows: AtomicU64,
    total: u64,
    progress: &'a dyn Progress,
}

impl Written<'_> {
    /// Keys between two reports.
    const STEP: u64 = 65_536;

    fn add(&self, rows: u64) {
        let done = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        self.progress.rows(rows, done as f64 / self.total.max(1) as f64);
    }
}
