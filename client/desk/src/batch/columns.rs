//! Which columns of a file are asked by: found by the header, or named by the user.

use anyhow::{Result, bail};
use balcao_record::normalize;

use super::records::Records;
use super::value::is_like_cpf;
use crate::args::Column;

/// So many lines are looked at to see what a column holds.
const LOOKED_AT_MAX: usize = 100;

/// Places of the columns that are asked by; at least one is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) cpf: Option<usize>,
    pub(crate) name: Option<usize>,
}

/// The columns of `header` that are asked by: those that are `named`, else `cpf` and `nome`. `records` stands behind the header, and stays.
pub(crate) fn asked(header: &[Vec<u8>], named: &[Column], records: &mut Records) -> Result<Asked> {
    let mut asked = Asked::default();
    if named.is_empty() {
        asked = Asked { cpf: place(header, "cpf")?, name: place(header, "nome")? };
        if asked == Asked::default() {
            bail!("its first line names neither `cpf` nor `nome`; name the column to ask by with --column");
        }
    }
    for column in named {
        let Some(at) = place(header, column.name())? else {
            bail!("its first line has no column {:?}; name one as it is written there", column.name());
        };
        let is_cpf = match column {
            Column::Cpf(_) => true,
            Column::Name(_) => false,
            Column::Unknown(_) => holds_cpfs(at, header.len(), records)?,
        };
        let asked_by = if is_cpf { &mut asked.cpf } else { &mut asked.name };
        if asked_by.replace(at).is_some() {
            bail!(
                "two columns are named for the same; say which holds what with --column cpf=NAME and --column nome=NAME"
            );
        }
    }
    Ok(asked)
}

/// The place of the column `name`, compared as names are, if the header has it.
fn place(header: &[Vec<u8>], name: &str) -> Result<Option<usize>> {
    let wanted = normalize(name);
    let is_wanted = |cell: &[u8]| {
        let cell = String::from_utf8_lossy(cell);
        // A name of signs alone is compared as it stands.
        if wanted.is_empty() { cell.trim() == name.trim() } else { normalize(&cell) == wanted }
    };
    let mut places = header.iter().enumerate().filter(|(_, cell)| is_wanted(cell)).map(|(at, _)| at);
    let place = places.next();
    if places.next().is_some() {
        bail!("its first line names {name:?} twice; rename the one that is not to be asked by");
    }
    Ok(place)
}

/// Whether most cells of a column look like CPFs.
fn holds_cpfs(at: usize, width: usize, records: &mut Records) -> Result<bool> {
    let (mut cpfs, mut others) = (0, 0);
    records.peek(LOOKED_AT_MAX, Some(width), |record| {
        let cell = String::from_utf8_lossy(record.cell(at));
        if is_like_cpf(&cell) {
            cpfs += 1;
        } else if !record.is_bad && !cell.trim().is_empty() {
            others += 1;
        }
    })?;
    Ok(cpfs > others)
}
