//! `Progress`: how a build tells how far it is; bars on a terminal, nothing elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Hears how far a build is. Called from many threads, some hundred times a second.
pub trait Progress: Sync {
    /// A stage begins.
    fn stage(&self, name: &'static str);
    /// `rows` more rows are done; all of them so far are the part `done` (0 to 1) of the stage.
    fn rows(&self, rows: u64, done: f64);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &'static str) {}
    fn rows(&self, _: u64, _: f64) {}
}

/// Steps of a bar: its unit is the part that is done, since the number of rows is not known before the scan.
const STEPS: u64 = 10_000;

/// A bar with rate and time left on standard error, where that is a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    rows: AtomicU64,
    began_ms: AtomicU64,
    clock: std::time::Instant,
}

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(STEPS);
        let style = ProgressStyle::with_template("{prefix:>7} {bar:30} {percent:>3} % {msg} left {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, rows: AtomicU64::new(0), began_ms: AtomicU64::new(0), clock: std::time::Instant::now() }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn stage(&self, name: &'static str) {
        self.bar.reset();
        self.bar.set_prefix(name);
        self.rows.store(0, Ordering::Relaxed);
        self.began_ms.store(self.clock.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn rows(&self, rows: u64, done: f64) {
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        let ms = self.clock.elapsed().as_millis() as u64 - self.began_ms.load(Ordering::Relaxed);
        self.bar.set_position((done * STEPS as f64) as u64);
        self.bar.set_message(format!("{rows} rows, {} a second,", rows * 1000 / ms.max(1)));
    }
}
