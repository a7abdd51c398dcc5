//! Threads of the house: those that do not stay dead, where one whose work panics begins anew; and those that let others go first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{io, thread};

use crate::limits::THREAD_PAUSE;
use crate::metrics::Metrics;

/// Starts a thread that does `work` until it returns; where it panics, it is counted and done again. The panic hook has logged the place.
pub(crate) fn start(
    name: String,
    metrics: &Arc<Metrics>,
    mut work: impl FnMut() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let metrics = Arc::clone(metrics);
    let shown = name.clone();
    thread::Builder::new().name(name).spawn(move || {
        // State that the work shares stands behind locks that survive a panic, or is atomic.
        while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
            metrics.threads_replaced.add_one();
            tracing::error!(thread = shown, "a thread died and begins anew");
            // Work that fails at once, again and again, must not take a core.
            thread::sleep(THREAD_PAUSE);
        }
    })
}

/// Lets sessions and short questions go first: from now on this thread has a fraction of the weight of theirs where all want a core at once, and all of
/// one that nobody else wants. So dear questions in masses cost the others little, and are never starved.
pub(crate) fn let_others_first(niceness: i32) {
    // On Linux it holds for the calling thread alone. Where it is refused, it serves all the same.
    if niceness != 0
        && let Err(error) = rustix::process::setpriority_process(None, niceness)
    {
        tracing::debug!(%error, "the priority of a thread for dear questions could not be lowered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_dies_is_replaced() {
        let metrics = Arc::<Metrics>::default();
        let mut left = 3;
        let work = move || {
            left -= 1;
            assert!(left < 0, "as it may happen");
        };
        start("test".to_owned(), &metrics, work).unwrap().join().unwrap();
        assert_eq!(metrics.threads_replaced.get(), 3);
    }
}
