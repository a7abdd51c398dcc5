//! Spelling classes of Portuguese words.

/// The class of a normalised word.
#[must_use]
pub fn spelling_key(word: &str) -> String {
    word.replace("PH", "F").replace("TH", "T").replace('Y', "I")
}
