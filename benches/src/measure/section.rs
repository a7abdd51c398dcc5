//! The section of a Markdown file between two markers, which each run replaces.
//!
//! Everything outside of the markers is left as it is.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, bail};

/// The two markers of the section called `name`.
fn markers(name: &str) -> [String; 2] {
    [format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->")]
}

/// What stands before and behind the section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Around {
    name: &'static str,
    before: String,
    behind: String,
}

/// Reads the file around the section called `name`; one that does not exist yet, in a folder that does, is empty.
pub(crate) fn read(path: &Path, name: &'static str) -> anyhow::Result<Around> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => String::new(),
        outcome => outcome.with_context(|| format!("cannot read {}", path.display()))?,
    };
    split(&text, name).with_context(|| format!("{} cannot take the section", path.display()))
}

/// Writes the file with `section` between the markers.
pub(crate) fn write(path: &Path, around: &Around, section: &str) -> anyhow::Result<()> {
    let [begin, end] = markers(around.name);
    let text = format!("{}{begin}\n{}\n{end}{}", around.before, section.trim_end(), around.behind);
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn split(text: &str, name: &'static str) -> anyhow::Result<Around> {
    let [begin_marker, end_marker] = markers(name);
    let (begin, end) = (text.find(&begin_marker), text.find(&end_marker));
    let (before, behind) = match (begin, end) {
        (Some(begin), Some(end)) if begin < end => {
            (text[..begin].to_owned(), text[end + end_marker.len()..].to_owned())
        }
        (None, None) if text.is_empty() => (String::new(), "\n".to_owned()),
        (None, None) => (format!("{}\n\n", text.trim_end()), "\n".to_owned()),
        _ => bail!("it must hold `{begin_marker}` and behind that `{end_marker}`, or neither"),
    };
    Ok(Around { name, before, behind })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- measure:begin -->";
    const END: &str = "<!-- measure:end -->";

    #[test]
    fn only_the_section_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.md");
        let put = |section: &str| {
            write(&path, &read(&path, "measure").unwrap(), section).unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(put("one\n"), format!("{BEGIN}\none\n{END}\n"));
        assert_eq!(put("two"), format!("{BEGIN}\ntwo\n{END}\n"));
        std::fs::write(&path, "# Title\n").unwrap();
        put("three");
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "\nafter\n").unwrap();
        assert_eq!(put("four"), format!("# Title\n\n{BEGIN}\nfour\n{END}\n\nafter\n"));
    }

    #[test]
    fn half_a_section_is_refused() {
        assert!(read(Path::new("no such folder/results.md"), "measure").is_err());
        for half in [BEGIN, END, &format!("{END}{BEGIN}")] {
            assert!(split(half, "measure").is_err());
            assert!(split(half, "another").is_ok());
        }
    }
}
