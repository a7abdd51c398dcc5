//! `Tree`: rows of a table by rowid, straight from the pages of the database file.
//!
//! SQLite keeps the rows and has the last word on them. This is a short way to the plain ones: a row that lies whole on its page, in a database of UTF-8,
//! in a table whose columns are all stored. For everything else it says `None`, be it unusual, missing or damaged, and SQLite is asked. It never
//! follows a page outside the bytes that it was given, nor a tree deeper than any file has. It does not judge what it does not need: in a damaged file it
//! may find a row that SQLite refuses to.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#b_tree_pages>.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::RegistryError;
use crate::record::{Given, Record, VARINT_BYTES_MAX, varint};

/// Bytes of the file's header, which the first page begins with.
const FILE_HEADER_BYTES: usize = 100;

/// What a file of any kind of SQLite begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Kinds of pages.
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// Bytes of a page's header.
const INTERIOR_HEADER_BYTES: usize = 12;
const LEAF_HEADER_BYTES: usize = 8;

/// The most levels that are followed: SQLite's own bound.
const LEVELS_MAX: usize = 20;

/// Bytes of a page that a cell leaves for others: a longer payload goes on on other pages.
const CELL_RESERVED_BYTES: usize = 35;

/// How a table lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    root: u32,
    page_bytes: usize,
    /// Bytes of a page that hold cells.
    usable: usize,
    /// Inner pages above each row, as many above all of them; [`LEVELS_MAX`] where that was not to be seen.
    inner_levels: usize,
    columns: usize,
    /// The column that is the rowid by another name: its stored value is empty.
    alias: Option<usize>,
    /// Columns whose whole numbers SQLite stores as integers and gives as reals, ascending.
    reals: Box<[usize]>,
}

/// A row's place: found without looking at its page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where its page begins in the file.
    page: usize,
    /// Which cell it is, if the rows of the page have no gaps between their rowids.
    guess: usize,
}

impl Tree {
    /// How the table of this name and this many columns lies in the file that `connection` has open and whose bytes are `bytes`; `None` where its
    /// rows are not read without SQLite.
    ///
    /// # Errors
    /// [`RegistryError::Sqlite`].
    pub fn describe(
        connection: &Connection,
        table: &str,
        columns: usize,
        bytes: &[u8],
    ) -> Result<Option<Self>, RegistryError> {
        let expected = columns;
        let Some((page_bytes, usable)) = page_size(bytes) else { return Ok(None) };
        let Some(root) = root(connection, table)? else { return Ok(None) };
        let mut statement = connection.prepare("SELECT type, pk, hidden FROM pragma_table_xinfo(?1)")?;
        let column = |row: &Row<'_>| {
            // Nobody promises that a declared type is UTF-8.
            let declared = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
            Ok((declared, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        };
        let columns = statement.query_map([table], column)?.collect::<Result<Vec<_>, _>>()?;
        if columns.len() != expected || columns.iter().any(|&(_, _, hidden)| hidden != 0) {
            return Ok(None);
        }
        let keys: Vec<usize> = (0..columns.len()).filter(|&at| columns[at].1 != 0).collect();
        // A key of one INTEGER column is the rowid unless SQLite made an index for it, as it does for `PRIMARY KEY DESC`.
        let has_index: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')",
            [table],
            |row| row.get(0),
        )?;
        let alias = match keys[..] {
            [at] if !has_index && columns[at].0.eq_ignore_ascii_case("INTEGER") => Some(at),
            _ => None,
        };
        let reals = (0..columns.len()).filter(|&at| is_real(&columns[at].0)).collect();
        let mut tree =
            Self { root, page_bytes, usable, inner_levels: LEVELS_MAX, columns: columns.len(), alias, reals };
        tree.inner_levels = tree.count_inner_levels(bytes).unwrap_or(LEVELS_MAX);
        Ok(Some(tree))
    }

    /// Inner pages on the way to the first row; `None` where it does not end at one.
    fn count_inner_levels(&self, bytes: &[u8]) -> Option<usize> {
        let mut number = self.root;
        for level in 0..LEVELS_MAX {
            let (_, page, head) = self.page(bytes, number)?;
            match *page.get(head)? {
                LEAF => return Some(level),
                INTERIOR => number = Inner::read(page, head)?.child(0)?,
                _ => return None,
            }
        }
        None
    }

    /// Where the row with this rowid lies, if it is there, in the file with these `bytes`. Reads inner pages only, which are few and stay in memory: the row's own may
    /// have to come from the disk.
    #[must_use]
    pub fn place(&self, bytes: &[u8], rowid: i64) -> Option<Place> {
        let (mut number, mut between) = (self.root, Between::default());
        for level in 0..LEVELS_MAX {
            let (start, page, head) = self.page(bytes, number)?;
            let kind = if level == self.inner_levels { LEAF } else { *page.get(head)? };
            match kind {
                LEAF => {
                    // In a table without gaps the row follows the greatest rowid of the page before.
                    let before = between.above.unwrap_or(0);
                    let guess = rowid.wrapping_sub(before).wrapping_sub(1);
                    return Some(Place { page: start, guess: usize::try_from(guess).unwrap_or(usize::MAX) });
                }
                INTERIOR => {
                    let inner = Inner::read(page, head)?;
                    let at = inner.nearby_lower_bound(rowid, between)?;
                    between.above = at.checked_sub(1).and_then(|before| inner.key(before)).or(between.above);
                    between.up_to = inner.key(at).or(between.up_to);
                    number = inner.child(at)?;
                }
                _ => return None,
            }
        }
        None
    }

    /// Looks at where the row's cell begins, and at its first bytes, and believes nothing: asked for many places one after the other, the memory fetches them all at
    /// once. What is returned only keeps the compiler from leaving this out.
    #[must_use]
    pub fn touch(&self, bytes: &[u8], place: Place) -> u8 {
        let head = if place.page == 0 { FILE_HEADER_BYTES } else { 0 };
        let pointer = place.page + head + LEAF_HEADER_BYTES + place.guess.min(self.page_bytes) * 2;
        let cell = be16(bytes, pointer).unwrap_or(0);
        bytes.get(place.page + cell).copied().unwrap_or(0)
    }

    /// Where a page of rows lies in the file: its first byte, and how many there are.
    #[must_use]
    pub fn extent(&self, place: Place) -> (u64, usize) {
        (place.page as u64, self.page_bytes)
    }

    /// Copies the row at `place` into `room` and reads it there: the file may be written to at any moment. `None`: ask SQLite.
    #[must_use]
    pub fn record<'r>(&'r self, bytes: &[u8], place: Place, rowid: i64, room: &'r mut Vec<u8>) -> Option<Record<'r>> {
        let page = bytes.get(place.page..)?.get(..self.page_bytes)?;
        let head = if place.page == 0 { FILE_HEADER_BYTES } else { 0 };
        let leaf = Leaf::read(page, head, self.usable)?;
        let payload = match leaf.cell(place.guess) {
            Some((found, payload)) if found == rowid => payload,
            _ => leaf.find(rowid)?,
        };
        room.clear();
        room.extend_from_slice(payload);
        self.parse(room, rowid).filter(|&(_, count)| count == self.columns).map(|(record, _)| record)
    }

    /// The rows whose rowids are at least `from`, in order, read where they lie in `bytes`. The values of columns that were added to the table behind a
    /// row are not in its record.
    #[must_use]
    pub fn rows<'a>(&'a self, bytes: &'a [u8], from: i64) -> Rows<'a> {
        Rows {
            tree: self,
            bytes,
            path: Vec::new(),
            leaf: Leaf::default(),
            at: 0,
            next: Next::Descend { page: self.root, from },
        }
    }

    /// A record of no more values than the table has columns, and how many.
    #[inline]
    fn parse<'a>(&'a self, payload: &'a [u8], rowid: i64) -> Option<(Record<'a>, usize)> {
        let given = Given { alias: self.alias.map(|at| (at, rowid)), reals: &self.reals };
        Record::parse(payload, given).filter(|&(_, count)| count <= self.columns)
    }

    /// Page `number`, from 1: where it begins, its bytes, and where its own header begins in them.
    fn page<'a>(&self, bytes: &'a [u8], number: u32) -> Option<(usize, &'a [u8], usize)> {
        let start = (number as usize).checked_sub(1)?.checked_mul(self.page_bytes)?;
        let page = bytes.get(start..)?.get(..self.page_bytes)?;
        Some((start, page, if number == 1 { FILE_HEADER_BYTES } else { 0 }))
    }
}

/// The tree cannot be followed further: the file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// Rows in the order of their rowids. Each is its rowid and its record, `None` where SQLite is to be asked for it.
#[derive(Debug)]
pub struct Rows<'a> {
    tree: &'a Tree,
    bytes: &'a [u8],
    /// The inner pages above, each with the number of its child that comes next.
    path: Vec<(u32, usize)>,
    leaf: Leaf<'a>,
    at: usize,
    next: Next,
}

/// Where [`Rows`] goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Down from this page to the first row at or above `from`.
    Descend {
        page: u32,
        from: i64,
    },
    /// Along the leaf.
    Along,
    Ended,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<(i64, Option<Record<'a>>), Lost>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next {
                Next::Along if self.at < self.leaf.cells() => {
                    let row = self.leaf.head(self.at).ok_or(Lost).map(|(bytes, rowid, cell)| {
                        let payload = self.leaf.payload(bytes, cell);
                        (rowid, payload.and_then(|payload| self.tree.parse(payload, rowid)).map(|(record, _)| record))
                    });
                    self.at += 1;
                    if row.is_err() {
                        self.next = Next::Ended;
                    }
                    return Some(row);
                }
                Next::Ended => return None,
                _ => {
                    if self.turn().is_none() {
                        self.next = Next::Ended;
                        return Some(Err(Lost));
                    }
                }
            }
        }
    }
}

impl Rows<'_> {
    /// Goes to the next leaf, or to the end; `None` where the tree cannot be followed.
    fn turn(&mut self) -> Option<()> {
        let (page, from) = match self.next {
            Next::Descend { page, from } => (page, from),
            _ => {
                let page = loop {
                    let Some((page, child)) = self.path.pop() else {
                        self.next = Next::Ended;
                        return Some(());
                    };
                    let (_, bytes, head) = self.tree.page(self.bytes, page)?;
                    let inner = Inner::read(bytes, head)?;
                    if child <= inner.cells() {
                        self.path.push((page, child + 1));
                        break inner.child(child)?;
                    }
                };
                (page, i64::MIN)
            }
        };
        self.descend(page, from)
    }

    fn descend(&mut self, mut number: u32, from: i64) -> Option<()> {
        while self.path.len() < LEVELS_MAX {
            let (_, page, head) = self.tree.page(self.bytes, number)?;
            match *page.get(head)? {
                LEAF => {
                    self.leaf = Leaf::read(page, head, self.tree.usable)?;
                    // Only the root of an empty table has none: elsewhere a page without rows could lead on for ever.
                    if self.leaf.cells() == 0 && !self.path.is_empty() {
                        return None;
                    }
                    self.at = if from == i64::MIN { 0 } else { self.leaf.lower_bound(from)? };
                    self.next = Next::Along;
                    return Some(());
                }
                INTERIOR => {
                    let inner = Inner::read(page, head)?;
                    let child = if from == i64::MIN { 0 } else { inner.lower_bound(from)? };
                    self.path.push((number, child + 1));
                    number = inner.child(child)?;
                }
                _ => return None,
            }
        }
        None
    }
}

/// A page of rows.
#[derive(Debug, Default)]
struct Leaf<'a> {
    /// The part that holds cells.
    page: &'a [u8],
    pointers: &'a [u8],
}

impl<'a> Leaf<'a> {
    fn read(page: &'a [u8], head: usize, usable: usize) -> Option<Self> {
        if *page.get(head)? != LEAF {
            return None;
        }
        let cells = be16(page, head + 3)?;
        let pointers = page.get(head + LEAF_HEADER_BYTES..)?.get(..2 * cells)?;
        Some(Self { page: page.get(..usable)?, pointers })
    }

    fn cells(&self) -> usize {
        self.pointers.len() / 2
    }

    /// Rowid and payload of a cell; `None` where there is none, or not all of it is on this page.
    fn cell(&self, at: usize) -> Option<(i64, &'a [u8])> {
        let (bytes, rowid, cell) = self.head(at)?;
        Some((rowid, self.payload(bytes, cell)?))
    }

    /// The payload of so many bytes that `cell` begins with.
    #[inline]
    fn payload(&self, bytes: u64, cell: &'a [u8]) -> Option<&'a [u8]> {
        let here = self.page.len().checked_sub(CELL_RESERVED_BYTES)?;
        let whole = usize::try_from(bytes).ok().filter(|&bytes| bytes <= here)?;
        cell.get(..whole)
    }

    /// The payload's length, the rowid, and the page from the payload on.
    #[inline]
    fn head(&self, at: usize) -> Option<(u64, i64, &'a [u8])> {
        let start = be16(self.pointers, at.checked_mul(2)?)?;
        let cell = self.page.get(start..)?;
        let (mut bytes, taken) = varint(cell)?;
        if taken == VARINT_BYTES_MAX {
            // No file has such a payload, and SQLite takes another length out of those bytes.
            bytes = u64::MAX;
        }
        let cell = &cell[taken..];
        let (rowid, taken) = varint(cell)?;
        Some((bytes, rowid as i64, &cell[taken..]))
    }

    /// The first cell whose rowid is at or above this one.
    fn lower_bound(&self, rowid: i64) -> Option<usize> {
        lower_bound(self.cells(), |at| Some(self.head(at)?.1), rowid)
    }

    /// The payload of the row with this rowid.
    fn find(&self, rowid: i64) -> Option<&'a [u8]> {
        self.cell(self.lower_bound(rowid)?).filter(|cell| cell.0 == rowid).map(|cell| cell.1)
    }
}

/// What is known of the rowids below a page: they are greater than one and not greater than another.
#[derive(Clone, Copy, Debug, Default)]
struct Between {
    above: Option<i64>,
    up_to: Option<i64>,
}

/// A page of pages.
struct Inner<'a> {
    page: &'a [u8],
    head: usize,
    pointers: &'a [u8],
}

impl<'a> Inner<'a> {
    fn read(page: &'a [u8], head: usize) -> Option<Self> {
        let cells = be16(page, head + 3)?;
        Some(Self { page, head, pointers: page.get(head + INTERIOR_HEADER_BYTES..)?.get(..2 * cells)? })
    }

    fn cells(&self) -> usize {
        self.pointers.len() / 2
    }

    /// The greatest rowid on the child of this number.
    fn key(&self, at: usize) -> Option<i64> {
        let cell = be16(self.pointers, 2 * at)?;
        varint(self.page.get(cell + 4..)?).map(|(key, _)| key as i64)
    }

    /// The number of the first child that may have this rowid. Behind the last cell is one more.
    fn lower_bound(&self, rowid: i64) -> Option<usize> {
        lower_bound(self.cells(), |at| self.key(at), rowid)
    }

    /// The same, where the children's rowids lie `between` these. They are about evenly spread, and a page has hundreds of them: a search that begins where the
    /// rowid should be looks at some neighbours, one by halves at places all over the page, each of which the memory has to fetch.
    fn nearby_lower_bound(&self, rowid: i64, between: Between) -> Option<usize> {
        let cells = self.cells();
        let above = between.above.or_else(|| self.key(0))?;
        let up_to = between.up_to.or_else(|| self.key(cells.checked_sub(1)?))?;
        let (distance, span) = (rowid.wrapping_sub(above) as u64, up_to.wrapping_sub(above) as u64);
        // A wrong guess costs time, no more.
        let guess = (distance as f64 / span as f64 * cells as f64) as usize;
        let mut at = guess.min(cells);
        let (mut low, mut high, mut step) = (0, cells, 1);
        // Away from the guess in longer and longer steps, until the place lies between two of them.
        while at > low && at < high {
            if self.key(at)? < rowid {
                low = at + 1;
                at += step;
            } else {
                high = at;
                at = at.saturating_sub(step);
            }
            step *= 2;
        }
        lower_bound(high - low, |at| self.key(low + at), rowid).map(|at| low + at)
    }

    /// The page of a child, from 0 to [`Inner::cells`].
    fn child(&self, at: usize) -> Option<u32> {
        let at = if at < self.cells() { be16(self.pointers, 2 * at)? } else { self.head + 8 };
        Some(u32::from_be_bytes(*self.page.get(at..)?.first_chunk()?))
    }
}

/// The first of `count` ascending keys that is at or above `wanted`.
fn lower_bound(count: usize, key: impl Fn(usize) -> Option<i64>, wanted: i64) -> Option<usize> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = usize::midpoint(low, high);
        if key(middle)? < wanted { low = middle + 1 } else { high = middle }
    }
    Some(low)
}

#[inline]
fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    let [high, low] = *bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_be_bytes([high, low])))
}

/// The first page of a table. `None` where the file's schema has it twice in any spelling, or not as SQLite writes it: what is made of that is SQLite's to say.
fn root(connection: &Connection, table: &str) -> Result<Option<u32>, RegistryError> {
    let mut statement = connection
        .prepare("SELECT rootpage, type = 'table' AND name = ?1 FROM sqlite_schema WHERE type = 'table' COLLATE NOCASE AND name = ?1 COLLATE NOCASE")?;
    let mut rows = statement.query([table])?;
    let mut root = None;
    while let Some(row) = rows.next()? {
        match row.get_ref(0)? {
            ValueRef::Integer(number) if root.is_none() && row.get(1)? => root = u32::try_from(number).ok(),
            _ => return Ok(None),
        }
    }
    Ok(root)
}

/// The size of a page and of its usable part, out of the file's header; `None` where the texts are not UTF-8, or it is no such header.
fn page_size(head: &[u8]) -> Option<(usize, usize)> {
    let head: &[u8; FILE_HEADER_BYTES] = head.first_chunk()?;
    let page_bytes = match be16(head, 16)? {
        1 => 65536,
        bytes => bytes,
    };
    let reserved = usize::from(head[20]);
    let is_plain = head.starts_with(MAGIC) && head[56..60] == [0, 0, 0, 1] && page_bytes.is_power_of_two();
    // SQLite's own bounds.
    (is_plain && page_bytes >= 512 && page_bytes - reserved >= 480).then_some((page_bytes, page_bytes - reserved))
}

/// Whether SQLite's rules give a column of this declared type the affinity REAL.
fn is_real(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    !has("INT")
        && !has("CHAR")
        && !has("CLOB")
        && !has("TEXT")
        && !has("BLOB")
        && (has("REAL") || has("FLOA") || has("DOUB"))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
