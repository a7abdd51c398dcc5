//! The machine and the day of a measurement.
//!
//! No name of the machine and no path on it.

use std::time::{SystemTime, UNIX_EPOCH};

/// CPU model, cores, memory and kernel, as far as the machine tells.
pub(crate) fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let model = field(&cpuinfo, "model name").unwrap_or("CPU of unknown model");
    let gib = memory_bytes() as f64 / (1024.0 * 1024.0 * 1024.0);
    format!("{model}, {cores} cores, {gib:.1} GiB of memory, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

/// The machine's memory; 0 where it does not tell.
pub(crate) fn memory_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = field(&meminfo, "MemTotal").and_then(|text| text.trim_end_matches("kB").trim().parse::<u64>().ok());
    total.unwrap_or(0) * 1024
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
        .map(|(_, value)| value.trim())
}

/// The day, UTC, as YYYY-MM-DD.
pub(crate) fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 86_400);
    civil(days)
}

/// The day that is `days` after 1970-01-01, counted year by year.
fn civil(mut days: u64) -> String {
    let is_leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (364, "1970-12-31"),
            (789, "1972-02-29"),
            (790, "1972-03-01"),
            (11_016, "2000-02-29"),
            (20_454, "2026-01-01"),
        ] {
            assert_eq!(civil(days), expected, "{days}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(field("model\t: 1\nmodel name\t: X Y\n", "model name"), Some("X Y"));
        assert!(describe().contains(" cores, "));
    }
}
