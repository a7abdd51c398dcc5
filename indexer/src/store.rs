//! `Store`: what a build keeps of what it has sorted, in memory as far as its share goes, and spilled beyond.
//!
//! It decides what is spilled, and how long the stretches of runs are. What the bytes mean it does not know.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use balcao_index::Storage;

use crate::build::BuildError;
use crate::run::{Run, SpillFile, Whole};

/// Bytes of a batch at most. A batch that fits the processor's cache is sorted twice as fast as one of 64 MiB, and the merge hardly feels
/// the greater number of runs.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// How the memory of a build is shared out, in bytes. Half of it is for sorted runs and their stretches, a quarter for the batches of all threads, an
/// eighth for the tokens, the rest for what a run takes while it is packed, the merge's buffers, and the sparse indexes. When all rows are read, the
/// quarter of the batches is for the occurrences of words.
pub(crate) struct Budget {
    pub(crate) whole: u64,
    pub(crate) runs: u64,
    pub(crate) name_batch: usize,
    pub(crate) cpf_batch: usize,
    pub(crate) anomaly_batch: usize,
    pub(crate) tokens: usize,
    pub(crate) occurrences: usize,
}

impl Budget {
    pub(crate) fn new(memory: u64, threads: usize) -> Self {
        let share = |part: u64| (memory / part / threads as u64).min(BATCH_BYTES_MAX) as usize;
        Self {
            whole: memory,
            runs: memory / 2,
            name_batch: share(6),
            cpf_batch: share(16),
            anomaly_batch: share(64),
            tokens: (memory / 8 / threads as u64) as usize,
            occurrences: share(4),
        }
    }
}

/// Where the threads put their runs.
pub(crate) struct Store<'a> {
    pub(crate) budget: Budget,
    storage: &'a dyn Storage,
    folder: PathBuf,
    resident: AtomicU64,
    spill: Mutex<Option<Arc<SpillFile>>>,
}

impl<'a> Store<'a> {
    /// A store of `memory` bytes in all for so many threads, which spills into `folder`.
    pub(crate) fn new(memory: u64, threads: usize, storage: &'a dyn Storage, folder: PathBuf) -> Self {
        let budget = Budget::new(memory, threads);
        Self { budget, storage, folder, resident: AtomicU64::new(0), spill: Mutex::new(None) }
    }

    /// Takes a run in, spilled where the memory for runs is used up.
    pub(crate) fn keep<K: Whole>(&self, mut run: Run<K>, runs: &mut Vec<Run<K>>) -> Result<(), BuildError> {
        let bytes = run.memory_bytes();
        if !self.has_room(bytes) {
            run.spill(&self.spill_file()?).map_err(BuildError::Spill)?;
            self.resident.fetch_add(run.memory_bytes(), Ordering::Relaxed);
        }
        runs.push(run);
        Ok(())
    }

    /// Whether so many bytes may stay in memory, beside all that do; they are counted then.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let room = |resident: u64| resident.checked_add(bytes).filter(|&resident| resident <= self.budget.runs);
        self.resident.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// How many times longer the stretches of the next run are to be: the more was spilled, the longer, so that what is remembered of the
    /// stretches of all runs grows as the logarithm of what was spilled, and does not fill the memory however large the table is.
    pub(crate) fn growth(&self) -> usize {
        (self.spilled_bytes() / self.budget.whole.max(1)) as usize + 1
    }

    /// Bytes that were spilled so far.
    pub(crate) fn spilled_bytes(&self) -> u64 {
        let spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
        spill.as_ref().map_or(0, |file| file.bytes())
    }

    /// The file to spill to, made when it is first asked for.
    pub(crate) fn spill_file(&self) -> Result<Arc<SpillFile>, BuildError> {
        let mut spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = spill.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(SpillFile::create(self.storage, &self.folder).map_err(BuildError::Spill)?);
        *spill = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// So that a spill's error says what to do.
pub(crate) fn spill_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space, or raise --memory so that less is spilled".to_owned()
        }
        io::ErrorKind::FileTooLarge => {
            "the spilled keys may not grow so large here; raise the limit of a file (`ulimit -f`), or --memory so that less is spilled".to_owned()
        }
        _ => format!("cannot spill to the index folder: {error}; check the disk, or raise --memory so that less is spilled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::NameBatch;
    use balcao_index::RealFiles;

    /// Forty times the memory of names that share nothing: were the stretches as short as ever, the keys of them would take half of it.
    #[test]
    fn what_is_remembered_of_spilled_runs_stays_within_the_memory() {
        const MEMORY: u64 = 4 << 20;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(MEMORY, 1, &RealFiles, folder.path().to_owned());
        let mut batch = NameBatch::new(store.budget.name_batch, 0, 0);
        let mut runs = Vec::new();
        let same = "X".repeat(134);
        for row in 0..1_120_000_u64 {
            if batch.is_full() {
                store.keep(batch.sort(store.growth()), &mut runs).unwrap();
            }
            batch.push(format!("{:016X}{same}", row.wrapping_mul(0x9E37_79B9_7F4A_7C15)).as_bytes(), row);
        }
        assert!(store.spilled_bytes() > 39 * MEMORY);
        let taken: u64 = runs.iter().map(Run::memory_bytes).sum();
        assert_eq!(taken, store.resident.into_inner());
        assert!(taken < MEMORY / 2 + MEMORY / 8, "{taken} bytes");
    }
}
