//! What reaches a person's terminal: messages on standard error, and the escaping of everything that others wrote.
//!
//! A failure to write a message is no failure of the run, so none is reported.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// What to say when rows cannot be written; a closed pipe is passed over in `main`.
pub(crate) const UNWRITTEN: &str = "cannot write to standard output; make room where it leads";

/// What to say where the check digits of a CPF do not hold.
pub(crate) const WRONG_CHECK_DIGITS: &str =
    "the check digits of this CPF do not hold; it was looked up as it is, so look for a typing error";

/// Writes a reply line as it came, but a terminal is not to obey it.
pub(crate) fn reply_line(line: &str, is_terminal: bool, out: &mut impl Write) -> io::Result<()> {
    let line = if is_terminal { printable_json(line) } else { Cow::Borrowed(line) };
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")
}

/// `error: …`, with what to do about it.
pub(crate) fn error(text: &str) {
    message("error", "1;31", text);
}

/// `warning: …`
pub(crate) fn warning(text: &str) {
    message("warning", "1;33", text);
}

/// A remark beside the output.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// Text of our own, lines and all.
pub(crate) fn plain(text: &str) {
    let _ = write!(io::stderr(), "{text}");
}

fn message(kind: &str, colour: &str, text: &str) {
    let mut stderr = io::stderr().lock();
    let text = printable(text);
    let _ = if stderr.is_terminal() && is_colour_welcome() {
        writeln!(stderr, "\x1b[{colour}m{kind}:\x1b[0m {text}")
    } else {
        writeln!(stderr, "{kind}: {text}")
    };
}

/// Whether the user has not asked for plain output (<https://no-color.org>).
pub(crate) fn is_colour_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` with everything that a terminal would obey, or that would reorder what stands beside it, spelled out.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_command(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A reply line for a terminal: the same JSON, with what [`printable`] would spell out in JSON's own escapes.
fn printable_json(line: &str) -> Cow<'_, str> {
    if !line.contains(is_command) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_command(c) {
            // All of them lie in the basic plane. Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), line and paragraph separators, marks and overrides of direction, and the byte order mark.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        for (text, expected) in [
            ("MARIA D'ÁVILA", "MARIA D'ÁVILA"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\tb\r\n\0", "a\\tb\\r\\n\\u{0}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}AIRAM\u{2069}", "\\u{202e}AIRAM\\u{2069}"),
        ] {
            assert_eq!(printable(text), expected);
            assert!(!printable(text).contains(is_command));
        }
    }

    #[test]
    fn json_for_a_terminal_is_the_same_json() {
        let line = "{\"a\":\"x\u{9b}2J\u{202e}é\"}";
        let shown = printable_json(line);
        assert_eq!(shown, "{\"a\":\"x\\u009b2J\\u202eé\"}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(line));
    }
}
