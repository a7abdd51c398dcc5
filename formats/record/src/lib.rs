//! The registry's vocabulary: what a CPF is, how a name is compared, and how both are read out of a database cell.
//!
//! No I/O, no index, no wire: every other room speaks these words and this one knows none of them.

mod cell;
mod cpf;
mod filter;
mod name;
mod spelling;

pub use cell::{Cell, NAME_KEY_BYTES_MAX, NameKey};
pub use cpf::{Cpf, CpfError};
pub use filter::{BIRTH_BITS, BIRTH_DAYS, BirthDay, SEX_BITS, Sex};
pub use name::{NORMALIZATION_VERSION, NameError, normalize, normalize_into};
pub use spelling::spelling_key;
