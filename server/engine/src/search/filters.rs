//! `RowFilter`: what `where` asks of a row, by the index's columns and by the row's own cells.

use std::ops::ControlFlow;

use balcao_index::{FilterColumns, FilterValue, Filters};
use balcao_record::{BirthDay, Cell, Sex};
use balcao_wire::{Code, Fault, Filter, Test};

use super::walk::is_dense;
use super::work::{Stop, Work};

/// Days that a birth day must lie between; without bounds there must be one.
#[derive(Clone, Copy, Debug)]
struct Days {
    from: Option<BirthDay>,
    to: Option<BirthDay>,
}

/// What every row of an answer must have. A row without a value never has it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowFilter {
    sex: Option<Sex>,
    birth: Option<Days>,
}

impl RowFilter {
    /// Reads the filters of a question by the columns that the index has.
    pub(crate) fn resolve(filters: &[Filter], columns: Option<&FilterColumns>) -> Result<Self, Fault> {
        let mut resolved = Self::default();
        for filter in filters {
            let Some(columns) = columns else {
                return Err(bad("this index filters by no column; build it with `--sex-column` or `--birth-column`"));
            };
            let is = |column: &Option<String>| column.as_deref() == Some(&*filter.column);
            if is(&columns.sex) {
                resolved.sex = Some(sex(&filter.test)?);
            } else if is(&columns.birth) {
                resolved.birth = Some(days(&filter.test)?);
            } else {
                return Err(bad(
                    "`where` names a column that this index does not filter by; `hello` tells those it does",
                ));
            }
        }
        Ok(resolved)
    }

    /// Which of the ranks from `base` on, a bit for each, have what is asked for. Each that is looked at counts.
    pub(crate) fn pass(&self, filters: &Filters, base: u64, asked: u64, work: &mut Work<'_>) -> Result<u64, Stop> {
        let mut passed = 0;
        if is_dense(asked) {
            let (first, end) = (u64::from(asked.trailing_zeros()), 64 - u64::from(asked.leading_zeros()));
            work.touch(end - first);
            filters.for_each(base + first..base + end, |rank, value| {
                passed |= u64::from(self.admits(value)) << (rank - base);
                ControlFlow::Continue(())
            })?;
            return Ok(passed & asked);
        }
        work.touch(u64::from(asked.count_ones()));
        let mut rest = asked;
        while rest != 0 {
            let at = rest.trailing_zeros();
            rest &= rest - 1;
            passed |= u64::from(self.admits(filters.get(base + u64::from(at))?)) << at;
        }
        Ok(passed)
    }

    fn admits(&self, value: FilterValue) -> bool {
        self.has_sex(|| value.sex) && self.has_birth(|| value.birth)
    }

    fn has_sex(&self, found: impl FnOnce() -> Option<Sex>) -> bool {
        self.sex.is_none_or(|asked| found() == Some(asked))
    }

    fn has_birth(&self, found: impl FnOnce() -> Option<BirthDay>) -> bool {
        let Some(Days { from, to }) = self.birth else { return true };
        found().is_some_and(|day| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day <= to))
    }

    /// Whether a row whose cells `cell_at` gives has what is asked for.
    ///
    /// # Errors
    /// Those of `cell_at`.
    pub(crate) fn admits_row<'v, E>(
        &self,
        places: &FilterPlaces,
        cell_at: impl Fn(usize) -> Result<Cell<'v>, E>,
    ) -> Result<bool, E> {
        let value = |asked: bool, at: Option<usize>| match at.filter(|_| asked) {
            Some(at) => cell_at(at),
            None => Ok(Cell::Null),
        };
        let sex = value(self.sex.is_some(), places.sex)?;
        let birth = value(self.birth.is_some(), places.birth)?;
        Ok(self.has_sex(|| sex.sex()) && self.has_birth(|| birth.birth()))
    }
}

/// Where the filtered columns stand in the table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FilterPlaces {
    pub(crate) sex: Option<usize>,
    pub(crate) birth: Option<usize>,
}

impl FilterPlaces {
    /// Finds the columns of the index among those of the table; `None` where one of them is not there.
    pub(crate) fn find(filtered: Option<&FilterColumns>, columns: &[String]) -> Option<Self> {
        let Some(FilterColumns { sex, birth }) = filtered else { return Some(Self::default()) };
        let place = |wanted: &Option<String>| match wanted {
            Some(wanted) => columns.iter().position(|column| column == wanted).map(Some),
            None => Some(None),
        };
        Some(Self { sex: place(sex)?, birth: place(birth)? })
    }
}

fn sex(test: &Test) -> Result<Sex, Fault> {
    match test {
        Test::Text(text) => Sex::parse(text).ok_or_else(|| bad("a sex begins with a letter or a digit")),
        Test::Days { .. } => Err(bad("a sex is a text")),
    }
}

fn days(test: &Test) -> Result<Days, Fault> {
    match test {
        Test::Text(text) => match BirthDay::parse(text) {
            Some(day) => Ok(Days { from: Some(day), to: Some(day) }),
            None => Err(bad("a birth day is a real day of 1800 to 2157: YYYY-MM-DD, YYYYMMDD or DD/MM/YYYY")),
        },
        &Test::Days { from, to } => Ok(Days { from, to }),
    }
}

fn bad(message: &'static str) -> Fault {
    Fault::new(Code::BadRequest, message)
}
