//! Numbers as people write and read them: `5G` of fuel, `64MiB`, `1m30s`, `1,000,000`.

use std::{
    num::{IntErrorKind, ParseIntError},
    time::Duration,
};

use crate::malformed::Malformed;

/// A count with thousands separated: `5,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with three figures and a decimal unit: `999`, `5.00 G`.
pub fn short_count(number: u64) -> String {
    scaled(number, 1000.0, &["", " k", " M", " G", " T", " P", " E"])
}

/// A size with a binary unit: `64.0 MiB`.
pub fn short_bytes(bytes: u64) -> String {
    scaled(bytes, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

fn scaled(number: u64, base: f64, units: &[&str]) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let decimals = match (unit, value) {
        (0, _) => 0,
        (_, v) if v < 10.0 => 2,
        (_, v) if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", units[unit])
}

/// A time with the unit that suits it: `4.1 us`, `12 ms`, `1.50 s`, `2m05s`.
pub fn short_duration(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e4 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us if us < 60e6 => format!("{:.2} s", us / 1e6),
        us if us < 3600e6 => format!("{}m{:02}s", time.as_secs() / 60, time.as_secs() % 60),
        _ => format!("{}h{:02}m", time.as_secs() / 3600, time.as_secs() / 60 % 60),
    }
}

/// Reads a count such as `5G`, `1.5M` or `200,000`; decimal units k, M, G, T.
///
/// # Errors
/// `Invalid` when it is not a number with such a unit, or too large for 64 bits.
pub fn parse_count(text: &str) -> Result<u64, Malformed> {
    let units =
        [("", 1), ("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000), ("t", 1_000_000_000_000)];
    parse_scaled(text, &units, "count", "`200000`, `1.5M` or `5G`")
}

/// Reads a size such as `64MiB`, `1G`, `512k` or `100` (bytes); `k`, `M`, `G` and `T` are binary.
///
/// # Errors
/// `Invalid` when it is not a number with such a unit, or too large for 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, Malformed> {
    let units = [
        ("", 1),
        ("b", 1),
        ("k", 1 << 10),
        ("kib", 1 << 10),
        ("kb", 1_000),
        ("m", 1 << 20),
        ("mib", 1 << 20),
        ("mb", 1_000_000),
        ("g", 1 << 30),
        ("gib", 1 << 30),
        ("gb", 1_000_000_000),
        ("t", 1 << 40),
        ("tib", 1 << 40),
        ("tb", 1_000_000_000_000),
    ];
    parse_scaled(text, &units, "size", "`65536`, `64MiB` or `1.5G`")
}

fn parse_scaled(
    text: &str,
    units: &[(&str, u64)],
    what: &'static str,
    examples: &str,
) -> Result<u64, Malformed> {
    let wrong = |why: &str| Malformed::invalid(what, format!("{text:?} {why}; write {examples}"));
    let plain = text.trim().replace([',', '_', ' '], "").to_ascii_lowercase();
    let split = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
    let (number, unit) = plain.split_at(split);
    let Some(&(_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(wrong("has no unit known here"));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => wrong("does not fit 64 bits"),
        _ => wrong("is not a number"),
    })?;
    let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| wrong("is not a number"))?;
    whole
        .checked_mul(factor)
        .and_then(|n| n.checked_add((fraction * factor as f64).round() as u64))
        .ok_or_else(|| wrong("does not fit 64 bits"))
}

/// Reads a time such as `1m30s`, `2h`, `250ms` or `1.5s`; the unit is never left out.
///
/// # Errors
/// `Invalid` when a part is not a number with a unit, or the whole does not fit.
pub fn parse_duration(text: &str) -> Result<Duration, Malformed> {
    let wrong =
        || Malformed::invalid("time", format!("{text:?} is not like `30s`, `250ms` or `1m30s`"));
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(split);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "us" => number / 1e6,
            "ms" => number / 1e3,
            "s" => number,
            "m" | "min" => number * 60.0,
            "h" => number * 3600.0,
            "d" => number * 86_400.0,
            _ => return Err(wrong()),
        };
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_in_decimal_units() {
        assert_eq!(parse_count("5G"), Ok(5_000_000_000));
        assert_eq!(parse_count("1.5M"), Ok(1_500_000));
        assert_eq!(parse_count("200,000"), Ok(200_000));
        assert!(parse_count("5X").is_err());
        assert!(parse_count("").is_err());
        assert!(parse_count("-1").is_err());
        assert!(parse_count("99999999T").is_err());
    }

    #[test]
    fn sizes_read_in_binary_units() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("64M"), Ok(64 << 20));
        assert_eq!(parse_bytes("1.5G"), Ok(3 << 29));
        assert_eq!(parse_bytes("1MB"), Ok(1_000_000));
        assert!(parse_bytes("64 parsecs").is_err());
    }

    #[test]
    fn times_read_with_one_or_more_units() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(parse_duration("30").is_err());
        assert!(parse_duration("").is_err());
        assert!(parse_duration("1e400s").is_err());
    }

    #[test]
    fn numbers_print_for_people() {
        assert_eq!(grouped(5_000_000), "5,000,000");
        assert_eq!(grouped(999), "999");
        assert_eq!(short_count(5_000_000_000), "5.00 G");
        assert_eq!(short_bytes(64 << 20), "64.0 MiB");
        assert_eq!(short_duration(Duration::from_secs(125)), "2m05s");
    }
}
