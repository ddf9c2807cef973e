//! Moments: now, as UTC for people and programs, and `--since`. The calendar is the proleptic
//! Gregorian one, without leap seconds, as in Unix time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_sdk::proto::units::{parse_duration, short_duration};

const DAY_MS: u64 = 86_400_000;

/// Now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago a moment was: `3m05s ago`.
pub(crate) fn ago(then_ms: u64, now_ms: u64) -> String {
    format!("{} ago", short_duration(Duration::from_millis(now_ms.saturating_sub(then_ms))))
}

/// A moment as RFC 3339 in UTC, to the second: `2026-11-22T15:04:05Z`.
pub(crate) fn utc(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    let (year, month, day) = date(days);
    let s = ms / 1000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
}

/// A moment as `--since` takes it: how long ago (`10m`, `2h`), or a date in UTC, with a time or
/// without (`2026-11-22`, `2026-11-22T15:04:05Z`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Duration),
    /// Then, in Unix milliseconds.
    At(u64),
}

impl Since {
    /// The moment in Unix milliseconds.
    pub(crate) fn unix_ms(self, now_ms: u64) -> u64 {
        match self {
            Since::Ago(time) => {
                now_ms.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
            }
            Since::At(unix_ms) => unix_ms,
        }
    }
}

/// Reads the value of `--since`.
///
/// # Errors
/// A sentence when it is none of these.
pub(crate) fn parse_since(text: &str) -> Result<Since, String> {
    let text = text.trim();
    if let Ok(time) = parse_duration(text) {
        return Ok(Since::Ago(time));
    }
    parse_utc(text).map(Since::At).ok_or_else(|| {
        "write how long ago, such as `10m` or `2h`, or a date in UTC, such as `2026-11-22` or \
         `2026-11-22T15:04:05Z`"
            .to_owned()
    })
}

fn parse_utc(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', &[4, 2, 2])?;
    let days = days_since_epoch(year, month, day)?;
    let [hours, minutes, seconds] = match time {
        None => [0; 3],
        Some(time) => {
            let time = time.strip_suffix(['Z', 'z']).unwrap_or(time);
            numbers(time, ':', &[2, 2, 2]).or_else(|| {
                let [hours, minutes] = numbers(time, ':', &[2, 2])?;
                Some([hours, minutes, 0])
            })?
        }
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let second = (hours * 60 + minutes) * 60 + seconds;
    Some(days * DAY_MS + second * 1000)
}

/// Exactly these many numbers, each of as many digits as is said.
fn numbers<const N: usize>(text: &str, between: char, digits: &[usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != *digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Year, month and day of a day, counted from 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    // In 400 years there are 97 leap years; what is left is at most 400 years to walk.
    let (cycles, rest) = (days / 146_097, days % 146_097);
    days = rest;
    let mut year = 1970 + cycles * 400;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

/// The day of a date, counted from 1970-01-01; none before that, or where there is no such date.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let possible = year >= 1970 && (1..=12).contains(&month);
    if !possible || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(days_of_year).sum();
    let months: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
    Some(years + months + day - 1)
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_in_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_359_845_999), "2026-11-22T15:04:05Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00Z");
        assert!(utc(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn a_moment_reads_back_as_it_prints() {
        for unix_ms in (0..5_000_000_000_000).step_by(97_654_321_000) {
            assert_eq!(parse_since(&utc(unix_ms)), Ok(Since::At(unix_ms)), "{unix_ms}");
        }
    }

    #[test]
    fn since_is_how_long_ago_or_a_date() {
        let now_ms = 1_795_359_845_000;
        let since = |text: &str| parse_since(text).map(|since| since.unix_ms(now_ms));
        assert_eq!(since("10m"), Ok(now_ms - 600_000));
        assert_eq!(since("2026-11-22"), Ok(1_795_305_600_000));
        assert_eq!(since("2026-11-22T15:04:05Z"), Ok(now_ms));
        assert_eq!(since("2026-11-22 15:04"), Ok(now_ms - 5_000));
        assert_eq!(since("200000d"), Ok(0));
    }

    #[test]
    fn what_is_no_moment_is_told_with_examples() {
        for text in ["", "10", "yesterday", "2026-13-01", "2026-02-29", "1969-12-31", "2026-1-1"] {
            let error = parse_since(text).expect_err(text);
            assert!(error.contains("`10m`") && error.contains("2026-11-22"), "{error}");
        }
        for text in ["2026-11-22T24:00:00Z", "2026-11-22T15:04:05+01:00", "2026-11-22-01"] {
            assert!(parse_since(text).is_err(), "{text}");
        }
    }
}
