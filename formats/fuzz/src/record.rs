//! Targets `cpf` and `name`: the registry's vocabulary against a second definition, step by step as `docs/protocol.md` puts it; a text is taken for a name, for
//! its words, for a day and for a sex.

use balcao_record::{
    BIRTH_DAYS, BirthDay, Cell, Cpf, CpfError, NAME_KEY_BYTES_MAX, NameKey, Sex, edits_max, normalize, normalize_into,
    spelling_key, words,
};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::vocabulary;

/// A text, and the same bytes as numbers, as a CPF.
pub fn cpf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = Cpf::parse(&text);
    assert_eq!(read.map(Cpf::number).ok(), cpf_number(&text));
    let kept = kept_of_a_cpf(&text);
    let short = !kept.is_empty() && kept.len() < 11 && kept.bytes().all(|b| b.is_ascii_digit());
    assert_eq!(read == Err(CpfError::CheckDigits), short && read.is_err());
    if let Ok(cpf) = read {
        assert_eq!(cpf.digits().as_slice(), format!("{:011}", cpf.number()).as_bytes());
        assert_eq!((Cpf::parse(&cpf.to_string()), u64::from(cpf.base())), (Ok(cpf), cpf.number() / 100));
        assert_eq!(cpf.has_right_check_digits(), has_right_check_digits(cpf.number()));
        assert_eq!(Cpf::from_base(cpf.base()) == Some(cpf), cpf.has_right_check_digits());
    }
    // A number is its digits and nothing else.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    assert_eq!(Cpf::parse_number(&text).ok(), read.ok().filter(|_| digits));
    // What a database holds is read as a question is.
    assert_eq!(Cell::Text(data).cpf(), if text.as_bytes() == data { read.ok() } else { None });
    if let Some(&bytes) = data.first_chunk() {
        let number = i64::from_le_bytes(bytes);
        for number in [number, number % 100_000_000_000, number % 1_000_000] {
            let expected = Cpf::parse_number(&number.to_string()).ok();
            assert_eq!((Cpf::from_integer(number).ok(), Cell::Integer(number).cpf()), (expected, expected));
        }
    }
}

/// A text as a name.
pub fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let once = normalize(&text).into_owned();
    assert_eq!(once, name_key(&text));
    // The one letter that comes to an apostrophe after the apostrophes were deleted: ŉ.
    if !once.contains('\u{2bc}') {
        assert_eq!(normalize(&once), once.as_str(), "twice is not once");
    }
    let mut key = String::from("what stood before");
    normalize_into(&text, &mut key);
    assert_eq!(key, once);
    let found = Cell::Text(data).name_key(&mut key);
    assert!(once.starts_with(&key) && (key.len() == once.len() || key.len() > NAME_KEY_BYTES_MAX - 4));
    assert_eq!(found == NameKey::Empty, key.is_empty());
    words_of(&once);
    day_and_sex(data, &text);
}

/// The words of a normalised name, and the spelling of each.
fn words_of(name: &str) {
    assert_eq!(words(name).collect::<Vec<_>>().join(" "), name);
    for word in words(name) {
        assert_eq!(edits_max(word), vocabulary::edits(word));
        let key = spelling_key(word);
        assert_eq!(key, vocabulary::spelling(word), "{word}");
        assert!(!key.is_empty() && key.len() <= word.len());
        assert_eq!(spelling_key(&key), key, "{word}");
    }
}

/// A text as a day and as a sex, in a question and in a cell; and its bytes as an integer.
fn day_and_sex(data: &[u8], text: &str) {
    let (day, sex) = (BirthDay::parse(text), Sex::parse(text));
    assert_eq!(day.map(BirthDay::days), vocabulary::day(text));
    assert_eq!(sex.map(Sex::code), vocabulary::sex(text));
    // What is not UTF-8 is no day, and U+FFFD in a name.
    assert_eq!((Cell::Text(data).birth(), Cell::Text(data).sex()), (day, sex));
    assert_eq!(day.and_then(|day| BirthDay::from_days(day.days())), day);
    assert_eq!(sex.and_then(|sex| Sex::from_code(sex.code())), sex);
    if let Some(&bytes) = data.first_chunk() {
        let number = i64::from_le_bytes(bytes);
        for number in [number, number % 100_000_000, number % 10_000] {
            let text = number.to_string();
            assert_eq!(Cell::Integer(number).birth(), BirthDay::parse(&text).filter(|_| number > 0));
            assert_eq!(Cell::Integer(number).sex(), Sex::parse(&text));
        }
        assert_eq!(BirthDay::from_days(number as u32).is_some(), (number as u32) < BIRTH_DAYS);
    }
}

/// All eleven digits of the CPF that a question's text stands for; `None` where the question is `invalid_cpf`.
pub(crate) fn cpf_number(text: &str) -> Option<u64> {
    let kept = kept_of_a_cpf(text);
    if kept.is_empty() || kept.len() > 11 || !kept.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = kept.parse().ok()?;
    (kept.len() == 11 || has_right_check_digits(number)).then_some(number)
}

/// The text without what may stand between digits.
fn kept_of_a_cpf(text: &str) -> String {
    text.chars().filter(|&c| !matches!(c, '.' | '-' | '/') && !c.is_whitespace()).collect()
}

/// The textbook's check digits: weights 10 to 2 over nine digits, then 11 to 2 over ten.
pub(crate) fn has_right_check_digits(number: u64) -> bool {
    let digits: Vec<u32> = format!("{number:011}").bytes().map(|b| u32::from(b - b'0')).collect();
    [9, 10].into_iter().all(|count| {
        let sum: u32 = digits[..count].iter().zip((2..=count as u32 + 1).rev()).map(|(d, w)| d * w).sum();
        digits[count] == if sum % 11 < 2 { 0 } else { 11 - sum % 11 }
    })
}

/// A name's key by the six steps of the protocol, over whole strings.
pub(crate) fn name_key(name: &str) -> String {
    const APOSTROPHES: [char; 7] = ['\u{27}', '\u{60}', '\u{b4}', '\u{2bc}', '\u{2018}', '\u{2019}', '\u{ff07}'];
    let without: String = name.chars().filter(|c| !APOSTROPHES.contains(c)).collect();
    let bare: String = without.nfkd().filter(|c| c.general_category_group() != GeneralCategoryGroup::Mark).collect();
    let is_kept =
        |c: &char| matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number);
    let kept: String = bare.to_uppercase().chars().map(|c| if is_kept(&c) { c } else { ' ' }).collect();
    kept.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
