//! The section of a Markdown file between two markers, which each run replaces.
//!
//! Everything outside of the markers is left as it is.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, bail};

/// What stands before and behind a section, and the markers around it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Around {
    begin: String,
    end: String,
    before: String,
    behind: String,
}

/// Reads the file around the section of this name; a file that does not exist yet, in a folder that does, is empty.
pub(crate) fn read(path: &Path, name: &str) -> anyhow::Result<Around> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => String::new(),
        outcome => outcome.with_context(|| format!("cannot read {}", path.display()))?,
    };
    split(&text, name).with_context(|| format!("{} cannot take the section", path.display()))
}

/// What stands between the markers now; nothing where there are none.
pub(crate) fn inside(path: &Path, name: &str) -> anyhow::Result<String> {
    let Around { begin, end, before, behind } = read(path, name)?;
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(String::new()) };
    let inner = text.strip_prefix(before.as_str()).and_then(|text| text.strip_suffix(behind.as_str()));
    let inner = inner.and_then(|text| text.strip_prefix(begin.as_str())?.strip_suffix(end.as_str()));
    Ok(inner.unwrap_or_default().trim().to_owned())
}

/// Writes the file with `section` between the markers.
pub(crate) fn write(path: &Path, around: &Around, section: &str) -> anyhow::Result<()> {
    let Around { begin, end, before, behind } = around;
    let text = format!("{before}{begin}\n{}\n{end}{behind}", section.trim_end());
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn split(text: &str, name: &str) -> anyhow::Result<Around> {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let (before, behind) = match (text.find(&begin), text.find(&end)) {
        (Some(from), Some(to)) if from < to => (text[..from].to_owned(), text[to + end.len()..].to_owned()),
        (None, None) if text.is_empty() => (String::new(), "\n".to_owned()),
        (None, None) => (format!("{}\n\n", text.trim_end()), "\n".to_owned()),
        _ => bail!("it must hold `{begin}` and behind that `{end}`, or neither"),
    };
    Ok(Around { begin, end, before, behind })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- x:begin -->";
    const END: &str = "<!-- x:end -->";

    #[test]
    fn only_the_section_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.md");
        let put = |section: &str| {
            write(&path, &read(&path, "x").unwrap(), section).unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(put("one\n"), format!("{BEGIN}\none\n{END}\n"));
        assert_eq!(put("two"), format!("{BEGIN}\ntwo\n{END}\n"));
        std::fs::write(&path, "# Title\n").unwrap();
        put("three");
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "\nafter\n").unwrap();
        assert_eq!(put("four"), format!("# Title\n\n{BEGIN}\nfour\n{END}\n\nafter\n"));
        // Another section beside it.
        write(&path, &read(&path, "y").unwrap(), "five").unwrap();
        assert_eq!((inside(&path, "x").unwrap(), inside(&path, "y").unwrap()), ("four".to_owned(), "five".to_owned()));
        assert_eq!(inside(&path, "z").unwrap(), "");
        let text = put("six");
        assert!(text.contains("\nsix\n") && text.contains("<!-- y:begin -->\nfive\n"), "{text}");
    }

    #[test]
    fn half_a_section_is_refused() {
        assert!(read(Path::new("no such folder/results.md"), "x").is_err());
        for text in [BEGIN, END, &format!("{END}{BEGIN}")] {
            assert!(split(text, "x").is_err(), "{text}");
            assert!(split(text, "y").is_ok(), "{text}");
        }
    }
}
