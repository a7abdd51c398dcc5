//! `FilterPlan`: which columns go along as filters, and how a row's values travel with its number from the scan to the index.
//!
//! What a cell means is `balcao-record`'s, how the columns are kept `balcao-index`'s.

use balcao_index::{FILTER_BITS, FilterColumns, FilterEntry, FilterValue};
use balcao_record::Cell;
use balcao_registry::Table;
use serde::Serialize;

use crate::build::BuildError;
use crate::ranges::RowidSpan;

/// The columns that are taken where the table has them and none was named.
const SEX_COLUMN: &str = "sexo";
const BIRTH_COLUMN: &str = "nasc";

/// Distance of the greatest rowid from the least at most: above it there is no room for a row's values beside its number.
const SPAN_MAX: u64 = 1 << 40;

const _: () = assert!(SPAN_MAX.leading_zeros() >= FILTER_BITS);

/// What is built beside the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPlan {
    /// Whether to write the word index.
    pub words: bool,
    /// The column with the sex: `None` for `sexo` where the table has it, an empty name for none.
    pub sex_column: Option<String>,
    /// The column with the day of birth: `None` for `nasc` where the table has it, an empty name for none.
    pub birth_column: Option<String>,
}

impl Default for SearchPlan {
    /// All that the table has.
    fn default() -> Self {
        Self { words: true, sex_column: None, birth_column: None }
    }
}

/// What was built of filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterSummary {
    /// The column with the sex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sex_column: Option<String>,
    /// The column with the day of birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_column: Option<String>,
    /// Bytes of the columns.
    pub bytes: u64,
    /// Rows, with a name or without, that have no sex.
    pub sex_unreadable: u64,
    /// Rows, with a name or without, that have no day of birth.
    pub birth_unreadable: u64,
}

impl From<&FilterEntry> for FilterSummary {
    fn from(entry: &FilterEntry) -> Self {
        Self {
            sex_column: entry.sex_column.clone(),
            birth_column: entry.birth_column.clone(),
            bytes: entry.files.iter().map(|file| file.bytes).sum(),
            sex_unreadable: entry.sex_unreadable,
            birth_unreadable: entry.birth_unreadable,
        }
    }
}

/// Which columns go along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilterPlan {
    pub(crate) columns: FilterColumns,
    /// Where they are in the table.
    sex_at: Option<usize>,
    birth_at: Option<usize>,
}

/// The cells of a row that filters are made of; NULL where there is no such column.
#[derive(Clone, Copy)]
pub(crate) struct FilterCells<'c> {
    pub(crate) sex: Cell<'c>,
    pub(crate) birth: Cell<'c>,
}

/// Rows without a value, by column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) sex: u64,
    pub(crate) birth: u64,
}

impl Unreadable {
    pub(crate) fn add(&mut self, other: Self) {
        self.sex += other.sex;
        self.birth += other.birth;
    }
}

impl FilterPlan {
    /// The columns that are wanted of a table whose rowids have this span; none, and why, where they cannot go along and none was named.
    pub(crate) fn of(
        table: &Table,
        wanted: &SearchPlan,
        span: Option<RowidSpan>,
    ) -> Result<(Self, Option<String>), BuildError> {
        let sex_at = column(table, wanted.sex_column.as_deref(), SEX_COLUMN, "--sex-column")?;
        let birth_at = column(table, wanted.birth_column.as_deref(), BIRTH_COLUMN, "--birth-column")?;
        if sex_at.is_some() && sex_at == birth_at {
            return Err(BuildError::OneColumn);
        }
        let plan = Self::at(table, sex_at, birth_at);
        if plan.is_empty() || span.is_none_or(|(least, greatest)| greatest.wrapping_sub(least) as u64 <= SPAN_MAX) {
            return Ok((plan, None));
        }
        let is_named = [&wanted.sex_column, &wanted.birth_column].into_iter().flatten().any(|name| !name.is_empty());
        if is_named {
            return Err(BuildError::FilterSpan);
        }
        Ok((Self::default(), Some(span_message())))
    }

    /// The columns that an index has.
    pub(crate) fn of_index(table: &Table, columns: &FilterColumns) -> Result<Self, BuildError> {
        let at = |name: &Option<String>, option| name.as_ref().map(|name| table.column_at(name, option)).transpose();
        Ok(Self::at(table, at(&columns.sex, "--sex-column")?, at(&columns.birth, "--birth-column")?))
    }

    fn at(table: &Table, sex_at: Option<usize>, birth_at: Option<usize>) -> Self {
        let name = |at: Option<usize>| at.and_then(|at| table.columns.get(at)).cloned();
        Self { columns: FilterColumns { sex: name(sex_at), birth: name(birth_at) }, sex_at, birth_at }
    }

    /// Whether there is no column.
    pub(crate) fn is_empty(&self) -> bool {
        self.sex_at.is_none() && self.birth_at.is_none()
    }

    /// Where the columns are in the table: that of the sex first.
    pub(crate) fn further(&self) -> Vec<usize> {
        self.sex_at.into_iter().chain(self.birth_at).collect()
    }

    /// The cells of a row, with what gives the value of any column of the table; `None` where that gives none.
    #[inline]
    pub(crate) fn cells<'c>(&self, mut value: impl FnMut(usize) -> Option<Cell<'c>>) -> Option<FilterCells<'c>> {
        let mut cell = |at: Option<usize>| at.map_or(Some(Cell::Null), &mut value);
        Some(FilterCells { sex: cell(self.sex_at)?, birth: cell(self.birth_at)? })
    }

    /// The same with what gives the columns of [`FilterPlan::further`], counted from 0.
    pub(crate) fn further_cells<'c, E>(
        &self,
        mut value: impl FnMut(usize) -> Result<Cell<'c>, E>,
    ) -> Result<FilterCells<'c>, E> {
        let sex = if self.sex_at.is_some() { value(0)? } else { Cell::Null };
        let birth = if self.birth_at.is_some() { value(self.sex_at.is_some().into())? } else { Cell::Null };
        Ok(FilterCells { sex, birth })
    }

    /// The values of a row. What has none is counted, in the columns that there are.
    #[inline]
    pub(crate) fn read(&self, cells: FilterCells<'_>, unreadable: &mut Unreadable) -> FilterValue {
        let value = FilterValue { sex: cells.sex.sex(), birth: cells.birth.birth() };
        unreadable.sex += u64::from(self.sex_at.is_some() && value.sex.is_none());
        unreadable.birth += u64::from(self.birth_at.is_some() && value.birth.is_none());
        value
    }

    /// The number of a row with its values behind: in the order of the rows still.
    #[inline]
    pub(crate) fn pack(&self, row: u64, value: FilterValue) -> u64 {
        if self.is_empty() { row } else { row << FILTER_BITS | u64::from(value.bits()) }
    }

    /// What [`FilterPlan::pack`] packed.
    #[inline]
    pub(crate) fn unpack(&self, packed: u64) -> (u64, FilterValue) {
        if self.is_empty() {
            return (packed, FilterValue::default());
        }
        (packed >> FILTER_BITS, FilterValue::from_bits((packed & ((1 << FILTER_BITS) - 1)) as u32))
    }
}

/// Where the wanted column is: the one that was named, or the usual one where the table has it.
fn column(table: &Table, wanted: Option<&str>, usual: &str, option: &'static str) -> Result<Option<usize>, BuildError> {
    match wanted {
        Some("") => Ok(None),
        Some(name) => Ok(Some(table.column_at(name, option)?)),
        None => Ok(table.column_at(usual, option).ok()),
    }
}

/// Why filters cannot go along, and what to do.
pub(crate) fn span_message() -> String {
    format!(
        "the rowids lie more than {SPAN_MAX} apart, which leaves no room for filters; copy the rows into a new table to have them numbered anew, or \
         build with --sex-column '' --birth-column ''"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use balcao_record::{BirthDay, Sex};
    use balcao_registry::TableName;
    use rusqlite::Connection;

    fn table(columns: &str) -> Table {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&format!("CREATE TABLE cpf({columns})")).unwrap();
        let name = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        Table::describe(&connection, &name).unwrap()
    }

    fn wanted(sex: Option<&str>, birth: Option<&str>) -> SearchPlan {
        SearchPlan { words: true, sex_column: sex.map(str::to_owned), birth_column: birth.map(str::to_owned) }
    }

    #[track_caller]
    fn check(columns: &str, sex: Option<&str>, birth: Option<&str>, expected: (Option<&str>, Option<&str>)) {
        let table = table(columns);
        let (plan, left_out) = FilterPlan::of(&table, &wanted(sex, birth), Some((1, 9))).unwrap();
        assert_eq!(
            (plan.columns.sex.as_deref(), plan.columns.birth.as_deref(), left_out),
            (expected.0, expected.1, None)
        );
        assert_eq!(FilterPlan::of_index(&table, &plan.columns).unwrap(), plan);
    }

    #[test]
    fn the_usual_columns_the_named_ones_and_none() {
        check("cpf, nome", None, None, (None, None));
        check("cpf, nome, SEXO, Nasc", None, None, (Some("SEXO"), Some("Nasc")));
        check("cpf, nome, sexo, nasc", Some(""), None, (None, Some("nasc")));
        check("cpf, nome, sexo, nasc", Some(""), Some(""), (None, None));
        check("cpf, nome, g, sexo, n", Some("G"), Some("n"), (Some("g"), Some("n")));
        let refused = |sex, birth| FilterPlan::of(&table("cpf, nome, sexo"), &wanted(sex, birth), None).unwrap_err();
        assert!(refused(Some("sex"), None).to_string().contains("--sex-column"));
        assert!(refused(None, Some("nasc")).to_string().contains("--birth-column"));
        assert!(refused(None, Some("sexo")).to_string().contains("--birth-column"));
    }

    #[test]
    fn rowids_that_lie_too_far_apart() {
        let table = table("cpf, nome, nasc");
        let span = |distance: i64| Some((-7, distance - 7));
        let of = |birth, span| FilterPlan::of(&table, &wanted(None, birth), span);
        assert!(of(None, span(SPAN_MAX as i64)).unwrap().1.is_none());
        for span in [span(SPAN_MAX as i64 + 1), Some((i64::MIN, i64::MAX))] {
            let (plan, left_out) = of(None, span).unwrap();
            assert!(plan.is_empty() && left_out.unwrap().contains("--birth-column ''"));
            assert!(of(Some("nasc"), span).unwrap_err().to_string().contains("--birth-column ''"));
            assert_eq!(of(Some(""), span).unwrap(), (FilterPlan::default(), None));
        }
    }

    #[test]
    fn rows_with_values_keep_their_order() {
        let plan = FilterPlan { birth_at: Some(1), ..FilterPlan::default() };
        let value = FilterValue { sex: Sex::from_code(36), birth: BirthDay::parse("31/12/2157") };
        assert!(value.birth.is_some());
        let mut before = None;
        for row in [0, 1, SPAN_MAX] {
            for value in [FilterValue::default(), value] {
                let packed = plan.pack(row, value);
                assert_eq!(plan.unpack(packed), (row, value));
                assert!(before.replace(packed) < Some(packed));
            }
        }
        let none = FilterPlan::default();
        assert_eq!(none.unpack(none.pack(u64::MAX, value)), (u64::MAX, FilterValue::default()));
    }
}
