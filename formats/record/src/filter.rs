//! What filters compare: the sex and the day of birth of a row.

/// Bits of a [`Sex`]'s code.
pub const SEX_BITS: u32 = 6;

/// Bits of a [`BirthDay`]'s days.
pub const BIRTH_BITS: u32 = 17;

/// Days from 1800-01-01 to 2157-12-31.
pub const BIRTH_DAYS: u32 = 130_757;

/// A day of birth, in days since 1800-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BirthDay(u32);

impl BirthDay {
    /// Days since 1800-01-01.
    #[must_use]
    pub fn days(self) -> u32 {
        self.0
    }

    /// The day that is so many days after 1800-01-01.
    #[must_use]
    pub fn from_days(days: u32) -> Option<Self> {
        (days < BIRTH_DAYS).then_some(Self(days))
    }
}

/// A sex: a letter or digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sex(u8);

impl Sex {
    /// 1 to 36.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0
    }

    /// The sex of a code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        matches!(code, 1..=36).then_some(Self(code))
    }
}
