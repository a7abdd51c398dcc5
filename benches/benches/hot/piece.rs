//! `Piece`: an operation that goes round in a ring of questions.

use std::hint::black_box;

use criterion::Throughput;

use crate::house::House;

/// Makes a piece.
pub(crate) type Make = for<'a> fn(&'a House) -> Piece<'a>;

/// An operation, and what one of it comes to.
pub(crate) struct Piece<'a> {
    elements: u64,
    bytes: Option<u64>,
    run: Box<dyn FnMut(u64) -> u64 + 'a>,
}

impl<'a> Piece<'a> {
    /// `operation` is given one item after the other, and says whether what came out is right as far as a glance tells.
    pub(crate) fn over<T: 'a>(items: Vec<T>, mut operation: impl FnMut(&T) -> bool + 'a) -> Self {
        assert!(!items.is_empty(), "nothing to ask for; give the registry more rows");
        let mut at = 0;
        // The loop is in here, so that no operation pays for the call through the box.
        let run = move |times| {
            let mut good = 0;
            for _ in 0..times {
                good += u64::from(operation(black_box(&items[at])));
                at = if at + 1 == items.len() { 0 } else { at + 1 };
            }
            good
        };
        Self { elements: 1, bytes: None, run: Box::new(run) }
    }

    /// Rows or items of an operation, where it is not one.
    pub(crate) fn of_elements(mut self, elements: usize) -> Self {
        self.elements = elements as u64;
        self
    }

    /// Bytes that an operation reads or writes.
    pub(crate) fn of_bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes as u64);
        self
    }

    pub(crate) fn throughput(&self) -> Throughput {
        let elements = self.elements;
        self.bytes.map_or(Throughput::Elements(elements), |bytes| Throughput::ElementsAndBytes { elements, bytes })
    }

    pub(crate) fn elements(&self) -> u64 {
        self.elements
    }

    /// Does the operation so many times. How many of them were right.
    pub(crate) fn run(&mut self, times: u64) -> u64 {
        (self.run)(times)
    }
}

/// The mean length, rounded.
pub(crate) fn mean_bytes<T: AsRef<[u8]>>(items: &[T]) -> usize {
    let sum: usize = items.iter().map(|item| item.as_ref().len()).sum();
    (sum + items.len() / 2) / items.len().max(1)
}
