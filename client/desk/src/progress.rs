//! Progress bars, for a person who waits: on a terminal's standard error, and never in the middle of a table.

use std::io::{self, IsTerminal};

use balcao_client::Outline;
use indicatif::{ProgressBar, ProgressStyle};

/// How many rows of an answer came.
pub(crate) struct Rows(ProgressBar);

impl Rows {
    /// A bar up to the `total` of an answer's first page; `is_table_there` where the rows themselves go to the terminal.
    pub(crate) fn start(first: &Outline, is_table_there: bool) -> Self {
        if is_table_there {
            return Self(ProgressBar::hidden());
        }
        match (first.total, first.total_at_least) {
            (Some(total), _) => {
                Self(bar(total, "{bar:40} {percent}% {human_pos}/{human_len} rows, {per_sec}, {eta} left"))
            }
            (None, Some(total)) => {
                let counted = format!("{{spinner}} {{human_pos}} rows of at least {total}, {{per_sec}}, {{elapsed}}");
                Self(bar(total, &counted))
            }
            (None, None) => Self(bar(0, "{spinner} {human_pos} rows, {per_sec}, {elapsed}")),
        }
    }

    /// So many rows came by now.
    pub(crate) fn rows(&self, rows: u64) {
        self.0.set_position(rows);
    }
}

/// Takes the bar away, however the run ends.
impl Drop for Rows {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar over the bytes of a file.
pub(crate) fn bytes(bytes: u64) -> ProgressBar {
    bar(bytes, "{bar:40} {percent}% {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left  {msg}")
}

fn bar(length: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [
            "{bar:40} {percent}% {human_pos}/{human_len} rows, {per_sec}, {eta} left",
            "{spinner} {human_pos} rows of at least 7, {per_sec}, {elapsed}",
            "{bar:40} {percent}% {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left  {msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
