//! The questions of a run, prepared once and put into a random order.
//!
//! All of them are held in memory, one after the other: about 30 bytes each for CPFs.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use super::framing::Framing;
use crate::rng::Rng;

/// The questions, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Keys {
    bodies: Vec<u8>,
    /// Where each body lies in `bodies`, shuffled.
    places: Vec<Place>,
}

/// One question.
#[derive(Debug)]
struct Place {
    start: usize,
    length: u32,
    /// Its number among the questions of the file, from 0.
    number: u32,
    /// The `total` that its answer must tell, where the file says so.
    total: Option<u32>,
}

impl Keys {
    /// Reads a file of keys, one a line as `framing` wants them; empty lines are skipped. Where the protocol tells totals, the one that is
    /// expected may stand behind a tabulator.
    pub(crate) fn read<F: Framing>(path: &Path, seed: u64, framing: &F) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the keys {}: give a file of keys, one a line", path.display()))?;
        Self::parse(&text, seed, framing).with_context(|| format!("{} cannot be used", path.display()))
    }

    fn parse<F: Framing>(text: &str, seed: u64, framing: &F) -> anyhow::Result<Self> {
        let (mut bodies, mut places) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let (question, total) = match line.split_once('\t').filter(|_| F::TELLS_TOTALS) {
                Some((question, total)) => (question, Some(total.trim())),
                None => (line, None),
            };
            let total = total.map(str::parse).transpose();
            let total = total.with_context(|| format!("line {number} has no number behind its tabulator"))?;
            match framing.prepare(question) {
                Ok(body) => {
                    let length = u32::try_from(body.len()).context("a line of more than 4 GB")?;
                    let number = u32::try_from(places.len()).context("more than 4 billion lines")?;
                    places.push(Place { start: bodies.len(), length, number, total });
                    bodies.extend_from_slice(&body);
                }
                Err(why) => {
                    bail!("line {number} is {why}: write one key a line, as the protocol wants it (load --help)")
                }
            }
        }
        ensure!(!places.is_empty(), "there is no key in it: write one a line");
        Rng::new(seed, 0).shuffle(&mut places);
        Ok(Self { bodies, places })
    }

    /// How many there are, at least 1.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The body of question `at`, counted round and round.
    pub(crate) fn body(&self, at: usize) -> &[u8] {
        let Place { start, length, .. } = *self.place(at);
        &self.bodies[start..start + length as usize]
    }

    /// The number of question `at` in the file, from 0, and the `total` that its answer must tell.
    pub(crate) fn expected(&self, at: usize) -> (usize, Option<u32>) {
        let Place { number, total, .. } = *self.place(at);
        (number as usize, total)
    }

    fn place(&self, at: usize) -> &Place {
        &self.places[at % self.places.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::super::balcao::Balcao;
    use super::super::resp::Resp;
    use super::*;

    #[test]
    fn every_line_is_asked_once_a_round() {
        let keys = Keys::parse("1\r\n\n2\n{\"nome\":\"A\"}\n", 5, &Balcao).unwrap();
        let mut bodies: Vec<&[u8]> = (0..keys.len()).map(|at| keys.body(at)).collect();
        assert_eq!(keys.body(0), keys.body(3));
        bodies.sort_unstable();
        let expected: [&[u8]; 3] = [b",\"cpf\":\"1\"}\n", b",\"cpf\":\"2\"}\n", b",\"nome\":\"A\"}\n"];
        assert_eq!(bodies, expected);
    }

    #[test]
    fn a_question_keeps_its_number_and_its_total() {
        let keys = Keys::parse("1\t7\n\n{\"nome\":\"A\"}\n", 3, &Balcao).unwrap();
        let at = (0..2).find(|&at| keys.body(at) == b",\"cpf\":\"1\"}\n").unwrap();
        assert_eq!((keys.expected(at), keys.expected(at + 1)), ((0, Some(7)), (1, None)));
        // Elsewhere a tabulator is a part of the key.
        assert_eq!(Keys::parse("1\t7\n", 3, &Resp).unwrap().body(0), b"*2\r\n$3\r\nGET\r\n$3\r\n1\t7\r\n");
        assert!(Keys::parse("1\tmany\n", 0, &Balcao).unwrap_err().to_string().starts_with("line 1 "));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert!(Keys::parse("1\n{\n", 0, &Balcao).unwrap_err().to_string().starts_with("line 2 "));
        assert!(Keys::parse("\n", 0, &Balcao).is_err());
    }
}
