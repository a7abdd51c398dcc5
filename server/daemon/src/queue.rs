//! `Queue`: what waits for the threads of one lane, bounded and in its order; what nobody waits for any more can be taken out of its middle, and a thread
//! may leave what is not for it to others.
//!
//! It answers nobody: who takes something out does.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A bounded queue of one lane.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    length_max: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    /// Threads that wait for something to do.
    idle: usize,
    /// Of these, those that do not take everything.
    choosy: usize,
    /// Nothing more comes.
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty one, for at most `length_max`.
    pub(crate) fn new(length_max: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), idle: 0, choosy: 0, closed: false });
        Self { state, filled: Condvar::new(), length_max }
    }

    /// Appends it; gives it back where there is no room, or nobody to take it out again.
    pub(crate) fn push(&self, one: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.length_max {
            return Err(one);
        }
        state.waiting.push_back(one);
        let (is_waited_for, is_anyones) = (state.idle > 0, state.choosy == 0);
        drop(state);
        match is_waited_for {
            true if is_anyones => self.filled.notify_one(),
            // The one that is woken might not take it.
            true => self.filled.notify_all(),
            false => {}
        }
        Ok(())
    }

    /// Waits for the first one; `None` where nothing is left and nothing more comes.
    pub(crate) fn pop(&self) -> Option<T> {
        self.wait_for(0, VecDeque::pop_front)
    }

    /// Waits for the first one that `is_taken` is true of; `None` where no such one is left and nothing more comes. Others must [`pop`](Self::pop) the rest.
    pub(crate) fn pop_only(&self, is_taken: impl Fn(&T) -> bool) -> Option<T> {
        self.wait_for(1, |waiting| waiting.iter().position(&is_taken).and_then(|at| waiting.remove(at)))
    }

    fn wait_for(&self, choosy: usize, take: impl Fn(&mut VecDeque<T>) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(one) = take(&mut state.waiting) {
                return Some(one);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state.choosy += choosy;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.choosy -= choosy;
        }
    }

    /// Takes out those that `is_over` is true of; the others stay in their order.
    pub(crate) fn take_out(&self, is_over: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.lock();
        if !state.waiting.iter().any(&is_over) {
            return Vec::new();
        }
        let (over, rest): (Vec<T>, Vec<T>) = std::mem::take(&mut state.waiting).into_iter().partition(is_over);
        state.waiting = rest.into();
        over
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Nothing more comes: who waits for something to do goes home when nothing is left.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn bounded_and_in_order() {
        let queue = Queue::new(3);
        assert_eq!([1, 2, 3, 4].map(|one| queue.push(one)), [Ok(()), Ok(()), Ok(()), Err(4)]);
        assert_eq!((queue.pop(), queue.len()), (Some(1), 2));
        assert_eq!(queue.push(5), Ok(()));
        queue.close();
        assert_eq!(queue.push(6), Err(6));
        // What was in it before comes out all the same.
        assert_eq!([(); 4].map(|()| queue.pop()), [Some(2), Some(3), Some(5), None]);
    }

    #[test]
    fn what_is_over_leaves_from_anywhere() {
        let queue = Queue::new(10);
        (0..10).for_each(|one| queue.push(one).unwrap());
        assert!(queue.take_out(|one| *one > 20).is_empty());
        assert_eq!(queue.take_out(|one| one % 3 == 0), [0, 3, 6, 9]);
        assert_eq!([(); 6].map(|()| queue.pop().unwrap()), [1, 2, 4, 5, 7, 8]);
    }

    #[test]
    fn what_is_not_for_one_is_left_to_others() {
        let queue = Queue::new(10);
        (1..=6).for_each(|one| queue.push(one).unwrap());
        let even = |one: &i32| one % 2 == 0;
        assert_eq!([queue.pop_only(even), queue.pop_only(even), queue.pop()], [Some(2), Some(4), Some(1)]);
        queue.close();
        assert_eq!([queue.pop_only(even), queue.pop_only(even), queue.pop()], [Some(6), None, Some(3)]);
    }

    #[test]
    fn who_waits_is_woken_for_what_another_leaves() {
        let queue = Queue::new(10);
        thread::scope(|scope| {
            let only_even =
                scope.spawn(|| std::iter::from_fn(|| queue.pop_only(|one| one % 2 == 0)).collect::<Vec<_>>());
            let (gives, taken) = std::sync::mpsc::channel();
            let queue = &queue;
            scope.spawn(move || std::iter::from_fn(|| queue.pop()).try_for_each(|one| gives.send(one)));
            let is_taken = |one: i32| {
                queue.push(one).unwrap();
                // Were the wrong one woken for it alone, it would lie there for ever.
                taken.recv_timeout(std::time::Duration::from_secs(60)) == Ok(one)
            };
            let are_taken = (1..2000).step_by(2).all(is_taken);
            queue.close();
            assert!(are_taken && only_even.join().unwrap().is_empty());
        });
    }

    #[test]
    fn everything_comes_out_once_whoever_takes_it() {
        const EACH: u64 = 20_000;
        let queue = Arc::new(Queue::new(16));
        let takers: Vec<_> = (0..4)
            .map(|number| {
                let queue = Arc::clone(&queue);
                let pop = move || if number == 0 { queue.pop_only(|one| one % 3 == 0) } else { queue.pop() };
                thread::spawn(move || std::iter::from_fn(pop).sum::<u64>())
            })
            .collect();
        thread::scope(|scope| {
            for giver in 0..2 {
                let queue = &queue;
                scope.spawn(move || {
                    for at in 0..EACH {
                        let mut one = giver * EACH + at;
                        while let Err(back) = queue.push(one) {
                            one = back;
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        queue.close();
        let taken: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(taken, 2 * EACH * (2 * EACH - 1) / 2);
    }
}
