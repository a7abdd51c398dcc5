//! A CPF with `where`: the columns of the index go by names, so that the rows themselves are read.

use balcao_index::Part;
use balcao_record::Cpf;

use super::filters::RowFilter;
use super::pages::{Finds, Page, Place};
use super::work::{ROW_COST, Stop, Work};
use crate::snapshot::Snapshot;

/// Rows that are read together: their places are found first, and the memory fetches them at once.
const ROWS_AT_A_TIME: u64 = 64;

impl Snapshot {
    /// Finds the page of rows with this CPF that a filter admits. A place's position counts the rows of the CPF.
    pub(super) fn cpf_page(
        &self,
        cpf: Cpf,
        filter: &RowFilter,
        place: &Place,
        limit: usize,
        work: &mut Work<'_>,
    ) -> Result<Page, Stop> {
        let ranks = self.generation.cpf_ranks(cpf)?;
        let mut finds = Finds::default();
        let mut start = ranks.start.saturating_add(place.position);
        while start < ranks.end {
            if work.is_spent() {
                finds.cut = Some((0, start - ranks.start));
                break;
            }
            work.look()?;
            let end = ranks.end.min(start + ROWS_AT_A_TIME);
            let rowids =
                (start..end).map(|rank| self.generation.rowid(Part::Cpf, rank)).collect::<Result<Vec<_>, _>>()?;
            self.rows.read(&rowids, |at, row| {
                if filter.admits_row(&self.places, |column| row.cell(column))? {
                    finds.counted += 1;
                    finds.rows.push((0, start + at as u64 - ranks.start));
                }
                Ok(())
            })?;
            finds.rows.truncate(limit + 1);
            work.touch((end - start) * ROW_COST);
            work.moved();
            if place.total.is_some() && finds.rows.len() > limit {
                break;
            }
            start = end;
        }
        let mut page = finds.page(place, limit);
        page.ranks.iter_mut().for_each(|rank| *rank += ranks.start);
        Ok(page)
    }
}
