//! `verify`: whether what an asker holds of a person agrees with the registry. Nothing of a row goes into the reply.

use balcao_index::Part;
use balcao_wire::{Agreement, Claim, Code, Fault, Id, Last, NameAgreement, write_agreement};

use crate::rows::RowError;
use crate::search::{Question, Stop, Work};
use crate::snapshot::{Answer, Snapshot, refuse};

/// Rows of a CPF that a claim is held against; those behind them, of a placeholder that thousands of rows carry, are not looked at.
const VERIFY_ROWS_MAX: u64 = 1000;

/// Rows that are read together.
const ROWS_AT_A_TIME: u64 = 64;

/// How a claimed name is held against a row's.
struct ClaimedName<'a> {
    name: &'a str,
    words: Question,
    fuzzy: Question,
}

impl ClaimedName<'_> {
    fn grade(&self, name: &str) -> NameAgreement {
        if name == self.name {
            NameAgreement::Exact
        } else if self.words.level(name).is_some() {
            NameAgreement::Words
        } else if self.fuzzy.level(name).is_some() {
            NameAgreement::Fuzzy
        } else {
            NameAgreement::No
        }
    }
}

impl Snapshot {
    /// Appends the reply to a claim.
    pub(crate) fn verify(
        &self,
        claim: &Claim,
        id: &Id,
        out: &mut Vec<u8>,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Answer {
        let agreement = self.trust().and_then(|()| {
            let agreement = self.agreement(claim, &Work::new(self.bounds, goes_on));
            // What a failed map gave is not believed, neither as rows nor as damage.
            self.trust()?;
            Ok(agreement?)
        });
        match agreement {
            Ok(agreement) => {
                write_agreement(out, id, &agreement);
                Ok(())
            }
            Err(fault) => refuse(out, id, &fault),
        }
    }

    /// The agreement of the row that agrees best: first by its name, then by its birth day.
    fn agreement(&self, claim: &Claim, work: &Work<'_>) -> Result<Agreement, Stop> {
        if claim.birth.is_some() && self.places.birth.is_none() {
            let message = "this index has no birth days; build it with `--birth-column`, or ask without `nasc`";
            return Err(Fault::new(Code::BadRequest, message).into());
        }
        let claimed = claim.name.as_deref().map(|name| ClaimedName {
            name,
            words: Question::words(name, Last::Whole),
            fuzzy: Question::fuzzy(name, Last::Whole, claim.spelling),
        });
        let ranks = self.generation.cpf_ranks(claim.cpf)?;
        let (mut best, mut key) = (None, String::new());
        let end = ranks.end.min(ranks.start.saturating_add(VERIFY_ROWS_MAX));
        for start in (ranks.start..end).step_by(ROWS_AT_A_TIME as usize) {
            work.look()?;
            let page = start..end.min(start + ROWS_AT_A_TIME);
            let rowids = page.map(|rank| self.generation.rowid(Part::Cpf, rank)).collect::<Result<Vec<_>, _>>()?;
            self.rows.read(&rowids, |at, row| {
                if row.cell(self.rows.table().cpf_at)?.cpf() != Some(claim.cpf) {
                    return Err(RowError::OtherKey { rowid: rowids[at] });
                }
                let name = match &claimed {
                    Some(claimed) => {
                        row.cell(self.rows.table().name_at)?.name_key(&mut key);
                        Some(claimed.grade(&key))
                    }
                    None => None,
                };
                let birth = match (claim.birth, self.places.birth) {
                    (Some(claimed), Some(at)) => Some(row.cell(at)?.birth() == Some(claimed)),
                    _ => None,
                };
                best = best.max(Some((name, birth)));
                Ok(())
            })?;
        }
        let none = (claim.name.as_ref().map(|_| NameAgreement::No), claim.birth.map(|_| false));
        let (name, birth) = best.unwrap_or(none);
        let check_digits_warning = !claim.cpf.has_right_check_digits();
        Ok(Agreement { cpf: best.is_some(), name, birth, check_digits_warning })
    }
}
