//! `Defect`: the list of what can be wrong with a dirty row, and which one a row has.
//!
//! It does not change any cell: that is the work of `spoil`.

use crate::random::Random;

/// The column that a defect is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// `cpf`.
    Cpf,
    /// `nome`.
    Nome,
    /// `nasc`.
    Nasc,
    /// `cpf` and `nome`.
    CpfAndNome,
}

/// One way a row can be dirty. `sexo` is always clean, and a dirty row has exactly one defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Defect {
    /// Name with letters that bear marks, composed (`É`) or decomposed (`E` and U+0301).
    Accents,
    /// Name in lower case.
    LowerCase,
    /// Name in title case, particles in lower case.
    TitleCase,
    /// Name with two or three blanks between two words.
    DoubleBlanks,
    /// Name with one to four blanks at its end.
    TrailingBlanks,
    /// Name with a tab, a line break, U+0001 or U+007F between words or at an end.
    ControlCharacters,
    /// Name with an apostrophe inside of a word, of any kind in [`crate::APOSTROPHES`].
    Apostrophe,
    /// Name with two words joined by a hyphen.
    Hyphen,
    /// Name in full-width letters, with ideographic blanks (U+3000).
    FullWidth,
    /// Name that is TEXT but not UTF-8: a Latin-1 letter, or a sequence cut short.
    NameInvalidUtf8,
    /// NULL for a name.
    NameNull,
    /// An empty name.
    NameEmpty,
    /// Only punctuation or blanks for a name.
    NamePunctuation,
    /// CPF with its points and hyphen, or with some of them, or with blanks. It reads as the clean one.
    CpfPunctuation,
    /// CPF without its leading zeros, as TEXT; only where the base has some. It reads as the clean one.
    CpfLostZeros,
    /// Eleven digits, with other check digits than the base asks for.
    CpfCheckDigits,
    /// CPF with a letter in the place of a digit, or a word.
    CpfLetters,
    /// An empty CPF.
    CpfEmpty,
    /// NULL for a CPF.
    CpfNull,
    /// The valid CPF of an earlier row, under this row's name.
    CpfShared,
    /// One of the few CPFs that stand for "unknown", see [`crate::PLACEHOLDERS`].
    CpfPlaceholder,
    /// Date as `YYYY-MM-DD`.
    DateIso,
    /// Date as `DD/MM/YYYY`.
    DateBrazilian,
    /// An empty date.
    DateEmpty,
    /// NULL for a date.
    DateNull,
    /// A text that is no date, or a day that no calendar has.
    DateGarbage,
    /// Neither CPF nor name: each is NULL or empty.
    NeitherCpfNorName,
}

impl Defect {
    /// Every defect, in the order of the summary.
    pub const ALL: [Defect; 27] = [
        Defect::Accents,
        Defect::LowerCase,
        Defect::TitleCase,
        Defect::DoubleBlanks,
        Defect::TrailingBlanks,
        Defect::ControlCharacters,
        Defect::Apostrophe,
        Defect::Hyphen,
        Defect::FullWidth,
        Defect::NameInvalidUtf8,
        Defect::NameNull,
        Defect::NameEmpty,
        Defect::NamePunctuation,
        Defect::CpfPunctuation,
        Defect::CpfLostZeros,
        Defect::CpfCheckDigits,
        Defect::CpfLetters,
        Defect::CpfEmpty,
        Defect::CpfNull,
        Defect::CpfShared,
        Defect::CpfPlaceholder,
        Defect::DateIso,
        Defect::DateBrazilian,
        Defect::DateEmpty,
        Defect::DateNull,
        Defect::DateGarbage,
        Defect::NeitherCpfNorName,
    ];

    /// The name in the summary, in snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Defect::Accents => "accents",
            Defect::LowerCase => "lower_case",
            Defect::TitleCase => "title_case",
            Defect::DoubleBlanks => "double_blanks",
            Defect::TrailingBlanks => "trailing_blanks",
            Defect::ControlCharacters => "control_characters",
            Defect::Apostrophe => "apostrophe",
            Defect::Hyphen => "hyphen",
            Defect::FullWidth => "full_width",
            Defect::NameInvalidUtf8 => "name_invalid_utf8",
            Defect::NameNull => "name_null",
            Defect::NameEmpty => "name_empty",
            Defect::NamePunctuation => "name_punctuation",
            Defect::CpfPunctuation => "cpf_punctuation",
            Defect::CpfLostZeros => "cpf_lost_zeros",
            Defect::CpfCheckDigits => "cpf_check_digits",
            Defect::CpfLetters => "cpf_letters",
            Defect::CpfEmpty => "cpf_empty",
            Defect::CpfNull => "cpf_null",
            Defect::CpfShared => "cpf_shared",
            Defect::CpfPlaceholder => "cpf_placeholder",
            Defect::DateIso => "date_iso",
            Defect::DateBrazilian => "date_brazilian",
            Defect::DateEmpty => "date_empty",
            Defect::DateNull => "date_null",
            Defect::DateGarbage => "date_garbage",
            Defect::NeitherCpfNorName => "neither_cpf_nor_name",
        }
    }

    /// Where the defect is; every other column of the row is clean.
    #[must_use]
    pub fn column(self) -> Column {
        match self {
            Defect::Accents
            | Defect::LowerCase
            | Defect::TitleCase
            | Defect::DoubleBlanks
            | Defect::TrailingBlanks
            | Defect::ControlCharacters
            | Defect::Apostrophe
            | Defect::Hyphen
            | Defect::FullWidth
            | Defect::NameInvalidUtf8
            | Defect::NameNull
            | Defect::NameEmpty
            | Defect::NamePunctuation => Column::Nome,
            Defect::CpfPunctuation
            | Defect::CpfLostZeros
            | Defect::CpfCheckDigits
            | Defect::CpfLetters
            | Defect::CpfEmpty
            | Defect::CpfNull
            | Defect::CpfShared
            | Defect::CpfPlaceholder => Column::Cpf,
            Defect::DateIso | Defect::DateBrazilian | Defect::DateEmpty | Defect::DateNull | Defect::DateGarbage => {
                Column::Nasc
            }
            Defect::NeitherCpfNorName => Column::CpfAndNome,
        }
    }

    /// Whether normalisation undoes the defect always: the spoilt name is found under the key of the clean one. Invalid UTF-8 is
    /// undone at times, when it stands between words.
    #[must_use]
    pub fn keeps_name_key(self) -> bool {
        self.column() == Column::Nome
            && !matches!(self, Defect::NameInvalidUtf8 | Defect::NameNull | Defect::NameEmpty | Defect::NamePunctuation)
    }

    /// Draws a defect, each with the same probability over all rows, for a row whose CPF has the base `base`.
    pub(crate) fn draw(random: &mut Random, base: u32) -> Self {
        const LOST_ZEROS: usize = Defect::CpfLostZeros as usize;
        let all = Self::ALL.len();
        // One base in ten can lose a zero. Those lose it ten times as often, the others never: no base need be made up for it,
        // which might be that of another row.
        if base < 100_000_000 && random.below(all) < 10 {
            return Defect::CpfLostZeros;
        }
        let index = random.below(all - 1);
        Self::ALL[if index < LOST_ZEROS { index } else { index + 1 }]
    }
}

/// `ALL` is in the order of the enum, so that a defect's number is its place in `ALL`.
const _: () = {
    let mut index = 0;
    while index < Defect::ALL.len() {
        assert!(Defect::ALL[index] as usize == index);
        index += 1;
    }
};
