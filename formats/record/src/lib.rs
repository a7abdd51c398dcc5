//! The registry's vocabulary: what a CPF is, how names and their words are compared, what a birth day and a sex are, and how all of them are read
//! out of a database cell.
//!
//! No I/O, no index, no wire: every other room speaks these words and this one knows none of them.

mod birth;
mod cell;
mod cpf;
mod name;
mod sex;
mod spelling;
mod words;

pub use birth::{BIRTH_BITS, BIRTH_DAYS, BirthDay};
pub use cell::{Cell, NAME_KEY_BYTES_MAX, NameKey};
pub use cpf::{Cpf, CpfError};
pub use name::{NORMALIZATION_VERSION, NameError, normalize, normalize_into};
pub use sex::{SEX_BITS, Sex};
pub use spelling::spelling_key;
pub use words::{edits_max, words};
