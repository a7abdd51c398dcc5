//! A strict reader of JSON (RFC 8259): what the protocol calls `bad_json` is refused here, and nothing else is.
//!
//! Beyond what general readers refuse, a member that occurs twice, at any depth, and nesting deeper than
//! [`DEPTH_MAX`](crate::limits::DEPTH_MAX) are errors; and a number of any size is legal and kept as its text. The reasons for an own
//! reader stand in `docs/decisions.md`.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::limits::DEPTH_MAX;

/// Up to this many members are compared pairwise; more go through a hash set, so that a line of thousands stays linear.
const MEMBERS_COMPARED_PAIRWISE: usize = 16;

/// One JSON value, borrowing from the line where no escape stands in the way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool,
    /// The number's own text.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Members<'a>),
}

/// The members of an object, in their order, names unescaped and distinct.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// Why a line is `bad_json`. Tells the place, never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("the line is not UTF-8 at byte {at}")]
    NotUtf8 { at: usize },
    #[error("the line is not JSON at byte {at}")]
    Syntax { at: usize },
    #[error("the line is nested deeper than {DEPTH_MAX} at byte {at}")]
    Depth { at: usize },
    #[error("a member occurs twice in an object that ends at byte {at}")]
    Duplicate { at: usize },
    #[error("a lone surrogate at byte {at}")]
    Surrogate { at: usize },
}

/// Reads the one value that `line` holds.
pub(crate) fn parse(line: &[u8]) -> Result<Value<'_>, JsonError> {
    let text = std::str::from_utf8(line).map_err(|e| JsonError::NotUtf8 { at: e.valid_up_to() })?;
    let mut reader = Reader { text, at: 0 };
    reader.skip_blanks();
    let value = reader.value(0)?;
    reader.skip_blanks();
    if reader.at == text.len() { Ok(value) } else { Err(reader.syntax()) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    /// Reads a value that stands inside `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{') => self.object(depth + 1).map(Value::Object),
            Some(b'[') => self.array(depth + 1).map(Value::Array),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.expect("true").map(|()| Value::Bool),
            Some(b'f') => self.expect("false").map(|()| Value::Bool),
            Some(b'n') => self.expect("null").map(|()| Value::Null),
            _ => Err(self.syntax()),
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::Depth { at: self.at });
        }
        self.at += 1;
        self.skip_blanks();
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'a>>, JsonError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_blanks();
            if self.eat(b']') {
                return Ok(items);
            }
            if !self.eat(b',') {
                return Err(self.syntax());
            }
            self.skip_blanks();
        }
    }

    fn object(&mut self, depth: usize) -> Result<Members<'a>, JsonError> {
        self.enter(depth)?;
        let mut members = Members::new();
        if self.eat(b'}') {
            return Ok(members);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.syntax());
            }
            let name = self.string()?;
            self.skip_blanks();
            if !self.eat(b':') {
                return Err(self.syntax());
            }
            self.skip_blanks();
            let value = self.value(depth)?;
            members.push((name, value));
            self.skip_blanks();
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return Err(self.syntax());
            }
            self.skip_blanks();
        }
        if has_duplicate(&members) { Err(JsonError::Duplicate { at: self.at }) } else { Ok(members) }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut text = String::from(&self.text[start..self.at]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                // What stops a plain run is a quote, a backslash, a control character or the end.
                _ => return Err(self.syntax()),
            }
            let plain = self.at;
            self.skip_plain();
            text.push_str(&self.text[plain..self.at]);
        }
    }

    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && !matches!(bytes[self.at], b'"' | b'\\' | 0..=0x1f) {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(c)
    }

    /// Reads the digits behind `\u`, and the second half of a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let at = self.at;
        let lone = JsonError::Surrogate { at };
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.eat(b'\\') && self.eat(b'u')) {
                    return Err(lone);
                }
                match self.hex4()? {
                    second @ 0xdc00..=0xdfff => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Err(lone),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(lone)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16)).ok_or_else(|| self.syntax())?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

fn has_duplicate(members: &Members<'_>) -> bool {
    if members.len() <= MEMBERS_COMPARED_PAIRWISE {
        return members.iter().enumerate().any(|(i, (name, _))| members[..i].iter().any(|(other, _)| other == name));
    }
    let mut seen = HashSet::with_capacity(members.len());
    members.iter().any(|(name, _)| !seen.insert(name.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn refuses(line: &str, expected: JsonError) {
        assert_eq!(parse(line.as_bytes()), Err(expected), "{line}");
    }

    #[test]
    fn what_is_bad_json() {
        refuses("", JsonError::Syntax { at: 0 });
        refuses("{\"a\":1", JsonError::Syntax { at: 6 });
        refuses("{\"a\":01}", JsonError::Syntax { at: 6 });
        refuses("{a:1}", JsonError::Syntax { at: 1 });
        refuses("{} {}", JsonError::Syntax { at: 3 });
        refuses("\"\u{1}\"", JsonError::Syntax { at: 1 });
        refuses("[1,]", JsonError::Syntax { at: 3 });
        refuses("-", JsonError::Syntax { at: 1 });
        refuses("1.", JsonError::Syntax { at: 2 });
        refuses("NaN", JsonError::Syntax { at: 0 });
        refuses("\u{feff}{}", JsonError::Syntax { at: 0 });
        refuses("{\"a\":1,\"a\":2}", JsonError::Duplicate { at: 13 });
        refuses("{\"a\":1,\"\\u0061\":2}", JsonError::Duplicate { at: 18 });
        refuses("{\"x\":[{\"b\":1,\"b\":1}]}", JsonError::Duplicate { at: 19 });
        refuses("\"\\ud800\"", JsonError::Surrogate { at: 3 });
        refuses("\"\\udc00\"", JsonError::Surrogate { at: 3 });
        refuses("\"\\ud800\\u0041\"", JsonError::Surrogate { at: 3 });
        assert_eq!(parse(b"\"\xff\""), Err(JsonError::NotUtf8 { at: 1 }));
        assert_eq!(parse(b"\"\xed\xa0\x80\""), Err(JsonError::NotUtf8 { at: 1 }));
    }

    #[test]
    fn depth_is_counted_from_the_outermost() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        refuses(&nested(DEPTH_MAX + 1), JsonError::Depth { at: DEPTH_MAX });
    }

    #[test]
    fn numbers_keep_their_text() {
        for text in ["0", "-0", "1e400", "-1.5E-7", "123456789012345678901234567890"] {
            assert_eq!(parse(text.as_bytes()), Ok(Value::Number(text)));
        }
    }

    #[test]
    fn many_members_are_compared_too() {
        let mut line: String = (0..1000).map(|i| format!("\"m{i}\":{i},")).collect();
        assert!(parse(format!("{{{line}\"x\":0}}").as_bytes()).is_ok());
        line.push_str("\"m500\":0");
        assert!(matches!(parse(format!("{{{line}}}").as_bytes()), Err(JsonError::Duplicate { .. })));
    }

    /// Our value as the general reader would have it, where both can hold it.
    fn same(ours: &Value<'_>, theirs: &serde_json::Value) -> bool {
        match (ours, theirs) {
            (Value::Null, serde_json::Value::Null) | (Value::Bool, serde_json::Value::Bool(_)) => true,
            (Value::Number(text), serde_json::Value::Number(number)) => text.parse::<f64>().ok() == number.as_f64(),
            (Value::Text(text), serde_json::Value::String(string)) => text == string,
            (Value::Array(items), serde_json::Value::Array(others)) => {
                items.len() == others.len() && items.iter().zip(others).all(|(a, b)| same(a, b))
            }
            (Value::Object(members), serde_json::Value::Object(map)) => {
                members.len() == map.len()
                    && members
                        .iter()
                        .all(|(name, value)| map.get(name.as_ref()).is_some_and(|other| same(value, other)))
            }
            _ => false,
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_the_general_reader_writes(value in any_json()) {
            let line = value.to_string();
            let ours = parse(line.as_bytes());
            prop_assert!(same(&ours.unwrap(), &value), "{}", line);
        }

        /// Over texts that are nearly JSON, both readers agree but for the four stricter rules.
        #[test]
        fn refuses_what_the_general_reader_refuses(line in "[\\[\\]{}:,\"\\\\u0-9dDaef.truen +-]{0,24}") {
            let theirs = serde_json::from_str::<serde_json::Value>(&line);
            match (parse(line.as_bytes()), theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert!(same(&ours, &theirs), "{}", line),
                (Err(JsonError::Duplicate { .. } | JsonError::Depth { .. }), Ok(_)) => {}
                (Err(error), Ok(_)) => prop_assert!(false, "{} refused: {}", line, error),
                (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{}: {}", line, error),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
