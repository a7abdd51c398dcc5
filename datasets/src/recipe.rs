//! `Recipe`: which rows a registry has. Any row can be made from its number alone, in constant memory.
//!
//! It writes no file and starts no thread.

use std::ops::Range;

use balcao_record::Cpf;

use crate::calendar::Date;
use crate::defect::{Column, Defect};
use crate::error::Error;
use crate::names::{Names, Sex};
use crate::random::{Permutation, Purpose, Random, StreamKey};
use crate::spoil::{self, Content};

/// The most rows a registry can have, the number of CPF bases: each row has a base of its own.
pub const ROWS_MAX: u64 = 1_000_000_000;

/// The rows of a registry, told by three numbers.
///
/// Row n depends on the seed, the share of dirty rows and n: a longer registry begins with the rows of a shorter one, and the
/// rows that are clean are the same for every share of dirt.
pub struct Recipe {
    rows: u64,
    seed: u64,
    dirty: f64,
    bases: Permutation,
    people: StreamKey,
    dirt: StreamKey,
}

/// A row of the table, with the bytes of its TEXT cells; `None` is NULL. No cell has another type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Eleven digits in a clean row.
    pub cpf: Option<Vec<u8>>,
    /// Upper-case ASCII in a clean row; need not be UTF-8 in a dirty one.
    pub nome: Option<Vec<u8>>,
    /// Never dirty.
    pub sexo: Sex,
    /// `YYYYMMDD` in a clean row.
    pub nasc: Option<Vec<u8>>,
    /// What is wrong with it, `None` in a clean row.
    pub defect: Option<Defect>,
}

/// The rows of a [`Recipe`], in order.
pub struct Rows<'a> {
    recipe: &'a Recipe,
    block: Block,
    /// The row number that the block begins with, and the place of the next row in it.
    block_start: u64,
    next: usize,
}

/// Rows back to back in one run of bytes. Filling it again allocates nothing once it has its size.
#[derive(Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    rows: Vec<Marks>,
}

/// Where the cells of a row end; it starts where the row before it ends.
struct Marks {
    ends: [u32; 3],
    null: [bool; 3],
    sexo: Sex,
    defect: Option<Defect>,
}

/// The TEXT cells of one row of a [`Block`].
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    pub(crate) cpf: Option<&'a [u8]>,
    pub(crate) nome: Option<&'a [u8]>,
    pub(crate) sexo: Sex,
    pub(crate) nasc: Option<&'a [u8]>,
    pub(crate) defect: Option<Defect>,
}

impl Recipe {
    /// `rows` rows of the seed, each dirty with the probability `dirty`.
    ///
    /// # Errors
    /// [`Error::TooManyRows`] above [`ROWS_MAX`], [`Error::DirtyShare`] for a share outside of 0 to 1.
    pub fn new(rows: u64, seed: u64, dirty: f64) -> Result<Self, Error> {
        if rows > ROWS_MAX {
            return Err(Error::TooManyRows { got: rows });
        }
        if !(0.0..=1.0).contains(&dirty) {
            return Err(Error::DirtyShare { got: dirty });
        }
        Ok(Self {
            rows,
            seed,
            dirty,
            bases: Permutation::new(ROWS_MAX as u32, seed),
            people: StreamKey::new(seed, Purpose::Person),
            dirt: StreamKey::new(seed, Purpose::Dirt),
        })
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The probability of a row to be dirty, 0 to 1.
    #[must_use]
    pub fn dirty(&self) -> f64 {
        self.dirty
    }

    /// The rows in order, made as they are asked for. The n-th of them (from 0) has rowid n + 1 in the file.
    #[must_use]
    pub fn rows(&self) -> Rows<'_> {
        Rows { recipe: self, block: Block::default(), block_start: 0, next: 0 }
    }

    /// Replaces the content of `block` by the rows of a range of row numbers.
    pub(crate) fn fill(&self, range: Range<u64>, block: &mut Block) {
        block.bytes.clear();
        block.rows.clear();
        let names = Names::get();
        for row in range {
            let mut person = self.people.stream(row);
            let cpf = self.own_cpf(row);
            match self.defect(row, cpf) {
                None => block.push_clean(cpf, names, &mut person),
                Some((Defect::CpfShared, mut dirt)) => {
                    let (defect, cpf) = match self.earlier_cpf(row, &mut dirt) {
                        Some(earlier) => (Defect::CpfShared, earlier),
                        // The first rows may find none before them: they are dirty in another way then.
                        None => (Defect::CpfPunctuation, cpf),
                    };
                    block.push_dirty(defect, cpf, names, &mut person, &mut dirt);
                }
                Some((defect, mut dirt)) => block.push_dirty(defect, cpf, names, &mut person, &mut dirt),
            }
        }
    }

    /// The valid CPF that is this row's own.
    fn own_cpf(&self, row: u64) -> Cpf {
        let base = self.bases.at(row as u32);
        Cpf::from_base(base).expect("the permutation stays below the number of bases")
    }

    /// What is wrong with a row, if anything, and the rest of its stream of dirt.
    fn defect(&self, row: u64, cpf: Cpf) -> Option<(Defect, Random)> {
        if self.dirty == 0.0 {
            return None;
        }
        let mut dirt = self.dirt.stream(row);
        let unit = (dirt.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        (unit < self.dirty).then(|| (Defect::draw(&mut dirt, cpf.base()), dirt))
    }

    /// The CPF of some row before this one that shows its own CPF clean.
    fn earlier_cpf(&self, row: u64, dirt: &mut Random) -> Option<Cpf> {
        const TRIES: usize = 32;
        (0..if row == 0 { 0 } else { TRIES }).find_map(|_| {
            let earlier = dirt.below_u64(row);
            let cpf = self.own_cpf(earlier);
            let clean = self
                .defect(earlier, cpf)
                .is_none_or(|(defect, _)| matches!(defect.column(), Column::Nome | Column::Nasc));
            clean.then_some(cpf)
        })
    }
}

impl Block {
    fn push_clean(&mut self, cpf: Cpf, names: &Names, person: &mut Random) {
        let bytes = &mut self.bytes;
        bytes.extend_from_slice(&cpf.digits());
        let cpf_end = bytes.len() as u32;
        let sexo = names.draw(person, bytes);
        let nome_end = bytes.len() as u32;
        bytes.extend_from_slice(&Date::birth(person).digits());
        let ends = [cpf_end, nome_end, bytes.len() as u32];
        self.rows.push(Marks { ends, null: [false; 3], sexo, defect: None });
    }

    fn push_dirty(&mut self, defect: Defect, cpf: Cpf, names: &Names, person: &mut Random, dirt: &mut Random) {
        let mut name = Vec::with_capacity(64);
        let sexo = names.draw(person, &mut name);
        let date = Date::birth(person);
        let mut marks = Marks { ends: [0; 3], null: [false; 3], sexo, defect: Some(defect) };
        for (column, (end, null)) in marks.ends.iter_mut().zip(&mut marks.null).enumerate() {
            let content = match column {
                0 => spoil::cpf(defect, cpf, dirt, &mut self.bytes),
                1 => spoil::name(defect, &name, dirt, &mut self.bytes),
                _ => spoil::birth(defect, date, dirt, &mut self.bytes),
            };
            *end = self.bytes.len() as u32;
            *null = content == Content::Null;
        }
        self.rows.push(marks);
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn cells(&self, index: usize) -> Cells<'_> {
        let start = if index == 0 { 0 } else { self.rows[index - 1].ends[2] };
        let Marks { ends: [cpf, nome, nasc], null, sexo, defect } = self.rows[index];
        let cell =
            |column: usize, start: u32, end: u32| (!null[column]).then(|| &self.bytes[start as usize..end as usize]);
        Cells { cpf: cell(0, start, cpf), nome: cell(1, cpf, nome), sexo, nasc: cell(2, nome, nasc), defect }
    }
}

impl Rows<'_> {
    /// Rows that are made at a time.
    const BLOCK: u64 = 64;

    fn number(&self) -> u64 {
        self.block_start + self.next as u64
    }
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.next == self.block.len() {
            self.block_start = self.number();
            let end = (self.block_start + Self::BLOCK).min(self.recipe.rows);
            self.recipe.fill(self.block_start..end, &mut self.block);
            self.next = 0;
            if self.block.len() == 0 {
                return None;
            }
        }
        let cells = self.block.cells(self.next);
        self.next += 1;
        Some(Row {
            cpf: cells.cpf.map(<[u8]>::to_vec),
            nome: cells.nome.map(<[u8]>::to_vec),
            sexo: cells.sexo,
            nasc: cells.nasc.map(<[u8]>::to_vec),
            defect: cells.defect,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.recipe.rows - self.number()) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Rows<'_> {}
