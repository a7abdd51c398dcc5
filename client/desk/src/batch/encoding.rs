//! `Text`: the bytes of a file as UTF-8, whatever they were. How they were written is seen by the bytes themselves.
//!
//! What is no text in its own encoding reaches the reader as bytes that are no UTF-8, so that the line which they stand in can be told.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Bytes read from the file at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How far a file is looked through for a byte beyond ASCII: a name list without a single accent in its first 256 MiB has none.
const SEEN_BYTES_MAX: u64 = 256 << 20;

/// So many characters beyond ASCII decide. Portuguese in Windows-1252 has hardly one that would be UTF-8 by chance.
const EVIDENCE_MAX: usize = 1000;

/// A byte that occurs in no UTF-8.
const NO_TEXT: u8 = 0xff;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// The text of a file, from its first character on.
pub(crate) struct Text {
    file: File,
    /// None for UTF-8, which is passed on as it is.
    decoder: Option<Decoder>,
    chunk: Vec<u8>,
    has_bom: bool,
    bytes_read: u64,
}

impl Text {
    /// Looks at the bytes of `file`, which must be a file and no pipe, since it is read twice.
    pub(crate) fn open(mut file: File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut head = Vec::new();
        (&mut file).take(UTF8_BOM.len() as u64).read_to_end(&mut head)?;
        let (encoding, bom_bytes) = if head == UTF8_BOM {
            (None, UTF8_BOM.len())
        } else if head.starts_with(b"\xff\xfe") {
            (Some(UTF_16LE), 2)
        } else if head.starts_with(b"\xfe\xff") {
            (Some(UTF_16BE), 2)
        } else {
            file.seek(SeekFrom::Start(0))?;
            (seen(&mut file)?, 0)
        };
        file.seek(SeekFrom::Start(bom_bytes as u64))?;
        Ok(Self {
            file,
            decoder: encoding.map(Encoding::new_decoder_without_bom_handling),
            chunk: vec![0; CHUNK_BYTES],
            has_bom: bom_bytes > 0,
            bytes_read: bom_bytes as u64,
        })
    }

    /// Whether the file began with a mark of its byte order.
    pub(crate) fn has_bom(&self) -> bool {
        self.has_bom
    }

    /// Bytes of the file that were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Adds the next piece to `text`; whether there was one.
    pub(crate) fn read(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let bytes = loop {
            match self.file.read(&mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.bytes_read += bytes as u64;
        let Some(decoder) = &mut self.decoder else {
            text.extend_from_slice(&self.chunk[..bytes]);
            return Ok(bytes > 0);
        };
        let before = text.len();
        decode(decoder, &self.chunk[..bytes], bytes == 0, text);
        if bytes == 0 {
            // The end is told once.
            self.decoder = None;
        }
        Ok(bytes > 0 || text.len() > before)
    }
}

/// Adds `bytes` to `text` as UTF-8.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], is_last: bool, text: &mut Vec<u8>) {
    loop {
        let start = text.len();
        let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(4 * CHUNK_BYTES).max(16);
        text.resize(start + room, 0);
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(bytes, text.get_mut(start..).unwrap_or_default(), is_last);
        text.truncate(start + written);
        bytes = bytes.get(read..).unwrap_or_default();
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => text.push(NO_TEXT),
        }
    }
}

/// The encoding of a file without a mark: none for UTF-8, by what most of its first characters beyond ASCII are.
fn seen(file: &mut File) -> io::Result<Option<&'static Encoding>> {
    let mut file = file.take(SEEN_BYTES_MAX);
    let mut evidence = Evidence::default();
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    while evidence.characters + evidence.others < EVIDENCE_MAX {
        if (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut bytes)? == 0 {
            break;
        }
        evidence.add(&mut bytes);
    }
    evidence.others += bytes.len();
    Ok((evidence.others > evidence.characters).then_some(WINDOWS_1252))
}

/// What the bytes beyond ASCII are.
#[derive(Default)]
struct Evidence {
    /// Characters in UTF-8.
    characters: usize,
    /// Runs of bytes that are none.
    others: usize,
}

impl Evidence {
    /// Counts those of `bytes`, of which a character that is not whole yet is left.
    fn add(&mut self, bytes: &mut Vec<u8>) {
        let mut rest = bytes.as_slice();
        loop {
            let (valid, bad) = match std::str::from_utf8(rest) {
                Ok(text) => (text, None),
                Err(error) => {
                    let (valid, _) = rest.split_at(error.valid_up_to());
                    (std::str::from_utf8(valid).unwrap_or_default(), Some(error))
                }
            };
            if !valid.is_ascii() {
                self.characters += valid.chars().filter(|c| !c.is_ascii()).count();
            }
            rest = &rest[valid.len()..];
            match bad.and_then(|error| error.error_len()) {
                Some(length) => {
                    self.others += 1;
                    rest = &rest[length..];
                }
                None => break,
            }
        }
        let left = bytes.len() - rest.len();
        bytes.drain(..left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut text = Text::open(file).unwrap();
        let mut all = Vec::new();
        while text.read(&mut all).unwrap() {}
        assert_eq!(text.bytes_read(), bytes.len() as u64);
        (all, text.has_bom())
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "nome;x\nJOSÉ D’ÁVILA;€\n";
        let plain = (text.as_bytes().to_vec(), false);
        let marked = (text.as_bytes().to_vec(), true);
        assert_eq!(read(text.as_bytes()), plain);
        assert_eq!(read(format!("\u{feff}{text}").as_bytes()), marked);
        assert_eq!(read(&utf16(text, u16::to_le_bytes)), marked);
        assert_eq!(read(&utf16(text, u16::to_be_bytes)), marked);
        assert_eq!(read(&WINDOWS_1252.encode(text).0), plain);
        assert_eq!(read(b""), (vec![], false));
    }

    #[test]
    fn a_late_accent_decides_as_well() {
        for (name, is_utf8) in [("JOSÉ".as_bytes(), true), (b"JOS\xc9", false)] {
            let bytes = ["A\n".repeat(CHUNK_BYTES).as_bytes(), name].concat();
            let (text, _) = read(&bytes);
            assert!(text.ends_with("JOSÉ".as_bytes()), "{is_utf8}");
        }
        // A character on the border of two pieces.
        let bytes = ["A".repeat(CHUNK_BYTES - 1).as_bytes(), "É".as_bytes()].concat();
        assert_eq!(read(&bytes).0, bytes);
    }

    #[test]
    fn what_is_no_text_stays_none() {
        let damaged = ["É\n".repeat(9).as_bytes(), b"JOS\xc9\n"].concat();
        assert_eq!(read(&damaged).0, damaged);
        let lone = [b"\xff\xfe".as_slice(), &0xd800_u16.to_le_bytes(), b"A\0"].concat();
        assert_eq!(read(&lone).0, b"\xffA");
        let half = b"\xff\xfeA\0B";
        assert_eq!(read(half).0, b"A\xff");
    }
}
