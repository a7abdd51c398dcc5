//! What this client believes a server at most. The protocol's own limits come with `hello`; these hold against a peer that lies.

use std::time::Duration;

use balcao_wire::client::Limits;

/// Bytes of a reply line at most: what a server may send, and room for what stands around the rows. Most replies are a few kilobytes.
pub const REPLY_BYTES_MAX: usize = balcao_wire::limits::REPLY_BYTES_MAX + (1 << 20);

/// Values of a reply line at most, counted as the commas outside of texts. A value costs about a hundred bytes once it is read, however
/// short it is on the wire: without this, the 64 MiB of a line of `{},{},…` would become gigabytes.
pub const REPLY_VALUES_MAX: usize = 2_000_000;

/// Requests in flight at most, whatever `hello` allows: each may have a reply that waits here to be fetched.
pub const IN_FLIGHT_CAP: usize = 1024;

/// The longest single wait before an `overloaded` question is asked again, whatever `retry_after_ms` says.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(10);

/// The wait where an `overloaded` reply names none.
const RETRY_WAIT_DEFAULT: Duration = Duration::from_millis(250);

/// Bytes of a request line and items of a batch that this client will build at most.
const REQUEST_BYTES_CAP: usize = 16 << 20;
const BATCH_ITEMS_CAP: usize = 100_000;

const _: () = assert!(balcao_wire::limits::IN_FLIGHT_MAX <= IN_FLIGHT_CAP);
const _: () = assert!(balcao_wire::limits::LINE_BYTES_MAX <= REQUEST_BYTES_CAP);
const _: () = assert!(balcao_wire::limits::BATCH_ITEMS_MAX <= BATCH_ITEMS_CAP);

/// The server's limits, brought into the range in which a client can work: never zero, never without bound.
pub(crate) fn sane(limits: Limits) -> Limits {
    Limits {
        line_bytes: limits.line_bytes.clamp(1, REQUEST_BYTES_CAP),
        limit_max: limits.limit_max.clamp(1, balcao_wire::limits::LIMIT_MAX),
        batch_items: limits.batch_items.clamp(1, BATCH_ITEMS_CAP),
        batch_rows: limits.batch_rows.max(1),
        in_flight: limits.in_flight.clamp(1, IN_FLIGHT_CAP),
        question_words: limits.question_words.max(1),
        deadline_ms: limits.deadline_ms.clamp(1, balcao_wire::limits::DEADLINE_MS_MAX),
    }
}

/// Whether `line`, a JSON text, holds at most `values_max` commas outside of its texts.
pub(crate) fn few_values(line: &[u8], values_max: usize) -> bool {
    // A line with fewer bytes than this cannot hold more.
    if line.len() <= values_max {
        return true;
    }
    let mut commas = 0_usize;
    let mut rest = line;
    while let Some(at) = memchr::memchr2(b',', b'"', rest) {
        if rest[at] == b',' {
            commas += 1;
            rest = &rest[at + 1..];
        } else {
            rest = after_text(&rest[at + 1..]);
        }
    }
    commas <= values_max
}

/// What follows the closing quote of the text that `rest` begins in.
fn after_text(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

/// The server's hint, kept to what a person would wait for.
pub(crate) fn retry_wait(retry_after_ms: Option<u64>) -> Duration {
    retry_after_ms.map_or(RETRY_WAIT_DEFAULT, Duration::from_millis).min(RETRY_WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_texts_are_no_values() {
        for (line, commas) in
            [(r#"[1,2,3]"#, 2), (r#"{"a":"x,y,z","b":1}"#, 1), (r#"["\",\\",","]"#, 1), (r#"",,,"#, 0), (r#""\"#, 0)]
        {
            assert!(few_values(line.as_bytes(), commas), "{line}");
            if commas > 0 {
                assert!(!few_values(line.as_bytes(), commas - 1), "{line}");
            }
        }
    }

    #[test]
    fn limits_are_never_zero_nor_without_bound() {
        for n in [0, usize::MAX] {
            let limits = sane(Limits {
                line_bytes: n,
                limit_max: n,
                batch_items: n,
                batch_rows: n,
                in_flight: n,
                question_words: n,
                deadline_ms: u32::try_from(n).unwrap_or(u32::MAX),
            });
            assert!((1..=IN_FLIGHT_CAP).contains(&limits.in_flight));
            assert!((1..=REQUEST_BYTES_CAP).contains(&limits.line_bytes));
            assert!((1..=BATCH_ITEMS_CAP).contains(&limits.batch_items));
            assert!((1..=1000).contains(&limits.limit_max));
            assert!(limits.batch_rows >= 1);
        }
    }
}
