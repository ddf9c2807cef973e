//! Numbers that flags take, told with their range: what the standard library says of a number that is
//! none is for programmers.

use std::ops::RangeInclusive;

use weir_sdk::proto::units::{grouped, parse_count};

/// A parser of numbers in a range, such as `20000` or `20k`.
pub(crate) fn within(
    range: RangeInclusive<u32>,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    move |text| {
        let number = parse_count(text).ok().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let [least, most] = [range.start(), range.end()].map(|end| grouped((*end).into()));
            format!("write a number from {least} to {most}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_or_no_number_is_told_the_range() {
        let parse = within(1..=10_000);
        assert_eq!(parse("2k"), Ok(2_000));
        for text in ["0", "10001", "-1", "many", "", "99999999999999999999"] {
            assert_eq!(parse(text), Err("write a number from 1 to 10,000".to_owned()), "{text}");
        }
    }
}
