//! Times and rates as the pages write them: coarse enough that an idle page stays as it is.

use std::time::Duration;

use weir_proto::units::{short_bytes, short_count, short_duration};

/// How long ago a moment was: `just now`, `12 min ago`, `3 h ago`.
pub(super) fn ago(now_ms: u64, then_ms: u64) -> String {
    let minutes = now_ms.saturating_sub(then_ms) / 60_000;
    match minutes {
        0 => "just now".to_owned(),
        1..60 => format!("{minutes} min ago"),
        60..2_880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1_440),
    }
}

/// How long something that goes on has gone on: whole seconds.
pub(super) fn so_far(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => short_duration(Duration::from_secs(seconds)),
    }
}

/// A time in milliseconds.
pub(super) fn took(ms: u64) -> String {
    short_duration(Duration::from_millis(ms))
}

/// A time in microseconds.
pub(super) fn micros(us: u64) -> String {
    short_duration(Duration::from_micros(us))
}

/// An amount in a second: `0`, `0.4`, `12.5`, `1.20 k`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 0.05 => "0".to_owned(),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => short_count(rate as u64),
    }
}

/// Cores in thousandths: `2`, `0.5`, `0.01`.
pub(super) fn cores(millis: u64) -> String {
    (millis as f64 / 1e3).to_string()
}

/// `1.0 GiB of 4.0 GiB`.
pub(super) fn of_bytes(part: u64, whole: u64) -> String {
    format!("{} of {}", short_bytes(part), short_bytes(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_coarse() {
        let minute = 60_000;
        assert_eq!(ago(100 * minute, 100 * minute - 59_999), "just now");
        assert_eq!(ago(100 * minute, 99 * minute), "1 min ago");
        assert_eq!(ago(200 * minute, 0), "3 h ago");
        assert_eq!(ago(9_000 * minute, 0), "6 days ago");
        assert_eq!(ago(0, 5), "just now", "a clock that stepped back");
        assert_eq!(so_far(59_999), "59 s");
        assert_eq!(so_far(90_500), "1m30s");
    }

    #[test]
    fn rates_have_as_many_figures_as_people_read() {
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(0.4), "0.4");
        assert_eq!(rate(12.34), "12.3");
        assert_eq!(rate(12_345.0), "12.3 k");
        assert_eq!(cores(500), "0.5");
        assert_eq!(cores(2_000), "2");
    }
}
