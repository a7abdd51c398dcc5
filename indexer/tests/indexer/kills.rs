//! `kill -9` at random moments of a real build: what was served before still is, or what was published, and nothing stays behind.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use balcao_indexer::{Silent, verify};

use crate::command::{Place, run_json};
use crate::disk::throw;

/// Kills, unless `BALCAO_KILLS` says otherwise.
const KILLS: u32 = 25;

const ROWS: u64 = 20_000;

/// How far a build had come when it died.
#[derive(Debug, Default)]
struct Died {
    before_its_folder: u32,
    writing: u32,
    /// With its manifest, and not yet current.
    publishing: u32,
    /// Current, and not yet at its end.
    after: u32,
    /// It was quicker than the kill.
    not: u32,
}

/// A program that is killed when the test is over.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a build.
pub(crate) fn start(place: &Place, further: &[&str]) -> Running {
    let mut build = Command::new(env!("CARGO_BIN_EXE_indexer"));
    build.args(place.build(further)).stdout(Stdio::null()).stderr(Stdio::piped());
    Running(build.spawn().unwrap())
}

#[test]
fn killed_at_any_moment() {
    killed(&[], "");
}

#[test]
fn killed_at_any_moment_with_a_copy() {
    killed(&["--cluster"], " with a copy");
}

fn killed(further: &[&str], with: &str) {
    let kills = std::env::var("BALCAO_KILLS").map_or(KILLS, |kills| kills.parse().expect("BALCAO_KILLS is a number"));
    let place = Place::registry(ROWS, 0.2);
    let build = || {
        let began = Instant::now();
        run_json(&place.build(further));
        began.elapsed()
    };
    let mut spans = [build(), build(), build()];
    let (mut died, mut coin) = (Died::default(), 0x00ba_1ca0);
    for n in 0..kills {
        // The kills are spread over the time that a build takes here and now, each at random within its share.
        spans.sort();
        let part = (f64::from(n) + throw(&mut coin) as f64 / f64::from(u32::MAX)) / f64::from(kills);
        let (current, before) = (place.generation(), place.names());
        let mut child = start(&place, further);
        thread::sleep(spans[1].mul_f64(part));
        let _ = child.0.kill();
        let ended = child.0.wait().unwrap().success();
        let new = place.names().into_iter().find(|name| name.starts_with('g') && !before.contains(name));
        let has_manifest = |name: &String| Path::new(&place.index).join(name).join("MANIFEST").exists();
        let count = match (ended, place.generation() != current, &new) {
            (true, true, _) => &mut died.not,
            (true, false, _) => panic!("a build ended well and published nothing"),
            (false, true, _) => &mut died.after,
            (false, false, Some(new)) if has_manifest(new) => &mut died.publishing,
            (false, false, Some(_)) => &mut died.writing,
            (false, false, None) => &mut died.before_its_folder,
        };
        *count += 1;
        let verified = verify(Path::new(&place.index), Some(Path::new(&place.db)), &Silent);
        verified.unwrap_or_else(|error| panic!("after kill {n}, {died:?}: {error}"));
        spans[n as usize % 3] = build();
        place.assert_no_litter();
    }
    println!("died: {died:?}");
    println!("fault table: build of {ROWS} rows{with}, kill -9 at random moments: {kills} tried, {kills} survived");
    let Died { before_its_folder, writing, publishing, after, not } = died;
    assert_eq!(before_its_folder + writing + publishing + after + not, kills);
    assert!(kills == 0 || not < kills, "no build was killed");
}
