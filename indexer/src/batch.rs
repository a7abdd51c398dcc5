//! Batches: the keys that one scanning thread has read, until they fill their memory and are sorted into a run.

use balcao_index::TokenTable;

use crate::keys::{Numbers, name_beginning, pack_name, pack_number, pack_text};
use crate::ranking::Ranking;
use crate::run::{Run, RunWriter};

/// One name in a batch.
#[derive(Clone, Copy, Debug)]
struct NameEntry {
    /// Compares as the names do, but for names that have the same; known when the batch is sorted.
    head: u64,
    row: u64,
    start: u32,
    tokens: u32,
}

/// Marks a token that has no number: the rest is its place among the batch's texts.
const TEXT: u32 = 1 << 31;

/// Bytes that a packed row takes at most, of nearly all.
const PACKED_BYTES: usize = 12;

/// Names and their rows.
#[derive(Debug)]
pub(crate) struct NameBatch {
    entries: Vec<NameEntry>,
    /// The names' tokens, by the numbers in the table.
    tokens: Vec<u32>,
    /// Those that have no number.
    texts: Vec<u8>,
    text_ends: Vec<u32>,
    entries_max: usize,
    tokens_max: usize,
    texts_max: usize,
    table: TokenTable,
    thread: usize,
}

impl NameBatch {
    /// A batch of thread number `thread` that takes about `memory` bytes: half for the entries, a third for their tokens, the rest for texts.
    /// The memory is reserved at once, so that a growing vector never holds its rows twice. Beside it, the tokens' table of `table` bytes.
    pub(crate) fn new(memory: usize, thread: usize, table: usize) -> Self {
        let entries_max = memory / 2 / size_of::<NameEntry>();
        let tokens_max = (memory / 3 / size_of::<u32>()).min(TEXT as usize);
        Self {
            entries: Vec::with_capacity(entries_max),
            tokens: Vec::with_capacity(tokens_max),
            texts: Vec::new(),
            text_ends: Vec::new(),
            entries_max,
            tokens_max,
            texts_max: (memory / 6).min(u32::MAX as usize / 2),
            table: TokenTable::new(table),
            thread,
        }
    }

    pub(crate) fn push(&mut self, name: &[u8], row: u64) {
        let start = self.tokens.len() + self.table.waiting();
        let tokens = self.table.cut(name);
        self.entries.push(NameEntry { head: 0, row, start: start as u32, tokens: tokens as u32 });
        if self.table.is_full_of_waiting() {
            self.number();
        }
    }

    /// Numbers the tokens that wait for it.
    fn number(&mut self) {
        let Self { tokens, texts, text_ends, .. } = self;
        self.table.number_waiting(|number, text| {
            tokens.push(number.unwrap_or_else(|| {
                texts.extend_from_slice(text);
                text_ends.push(texts.len() as u32);
                TEXT | (text_ends.len() - 1) as u32
            }));
        });
    }

    /// Whether the batch must be sorted before one more name is added. A name has its room, however long it is.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.entries_max
            || self.tokens.len() >= self.tokens_max
            || self.texts.len() + self.text_ends.len() * size_of::<u32>() >= self.texts_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn into_table(self) -> TokenTable {
        self.table
    }

    /// Sorts the batch into a run, of stretches `growth` times as long as they must be, and empties it. Counts the tokens that a name does not
    /// share with the one before.
    pub(crate) fn sort(&mut self, growth: usize) -> Run<Vec<u8>> {
        self.sort_entries();
        let mut writer = RunWriter::new(self.entries.len() * PACKED_BYTES, growth);
        let mut before: &[u32] = &[];
        for entry in &self.entries {
            let tokens = &self.tokens[entry.start as usize..][..entry.tokens as usize];
            let shared = before.iter().zip(tokens).take_while(|(a, b)| a == b).count();
            tokens[shared..].iter().filter(|&&token| token < TEXT).for_each(|&token| self.table.count(token));
            let shared = if writer.is_stretch_full() {
                let texts = tokens.iter().map(|&token| text(&self.table, &self.texts, &self.text_ends, token));
                writer.begin_stretch(name_beginning(texts));
                0
            } else {
                shared
            };
            let key = writer.key();
            pack_name(key, shared, tokens.len() - shared);
            for &token in &tokens[shared..] {
                if token < TEXT {
                    pack_number(key, token);
                } else {
                    pack_text(key, text(&self.table, &self.texts, &self.text_ends, token));
                }
            }
            writer.end_row(entry.row);
            before = tokens;
        }
        self.entries.clear();
        self.tokens.clear();
        self.texts.clear();
        self.text_ends.clear();
        writer.finish(self.thread)
    }

    fn sort_entries(&mut self) {
        self.number();
        self.table.sort();
        let Self { entries, tokens, texts, text_ends, table, .. } = self;
        let ranking = Ranking::of(std::slice::from_ref(table));
        let ranks = ranking.ranks(0);
        let rank = |&token: &u32| {
            if token < TEXT { ranks[token as usize] } else { ranking.rank_of(text(table, texts, text_ends, token)) }
        };
        let tokens_of = |entry: &NameEntry| &tokens[entry.start as usize..][..entry.tokens as usize];
        for entry in entries.iter_mut() {
            entry.head = ranking.head(tokens_of(entry).iter().map(rank));
        }
        entries.sort_unstable_by_key(|entry| entry.head);
        let key =
            |token: &u32| (rank(token), if *token < TEXT { &[][..] } else { text(table, texts, text_ends, *token) });
        for same in entries.chunk_by_mut(|a, b| a.head == b.head).filter(|same| same.len() > 1) {
            same.sort_unstable_by(|a, b| {
                let (a_tokens, b_tokens) = (tokens_of(a), tokens_of(b));
                if a_tokens == b_tokens {
                    return a.row.cmp(&b.row);
                }
                a_tokens.iter().map(key).cmp(b_tokens.iter().map(key)).then(a.row.cmp(&b.row))
            });
        }
    }
}

/// The text of a batch's token.
fn text<'t>(table: &'t TokenTable, texts: &'t [u8], text_ends: &[u32], token: u32) -> &'t [u8] {
    if token < TEXT {
        return table.token(token);
    }
    let at = (token - TEXT) as usize;
    let start = if at == 0 { 0 } else { text_ends[at - 1] };
    &texts[start as usize..text_ends[at] as usize]
}

/// Numbers and their rows: CPF codes, and anomalies.
#[derive(Debug)]
pub(crate) struct NumberBatch {
    entries: Vec<(u64, u64)>,
    entries_max: usize,
}

impl NumberBatch {
    /// A batch that takes about `memory` bytes.
    pub(crate) fn new(memory: usize) -> Self {
        let entries_max = (memory / size_of::<(u64, u64)>()).max(1);
        Self { entries: Vec::with_capacity(entries_max), entries_max }
    }

    pub(crate) fn push(&mut self, key: u64, row: u64) {
        self.entries.push((key, row));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.entries_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sorts the batch into a run, of stretches `growth` times as long as they must be, and empties it.
    pub(crate) fn sort(&mut self, growth: usize) -> Run<u64> {
        self.entries.sort_unstable();
        let mut writer = RunWriter::new(self.entries.len() * PACKED_BYTES, growth);
        let mut before = 0;
        for &(key, row) in &self.entries {
            if writer.is_stretch_full() {
                writer.begin_stretch(key);
                before = 0;
            }
            Numbers::pack(writer.key(), before, key);
            writer.end_row(row);
            before = key;
        }
        self.entries.clear();
        writer.finish(0)
    }
}
