//! Durations as people write them: `5ms`, `30s`, `7d`.

use std::time::Duration;

/// From the greatest unit down, so that printing takes the first that divides.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads `5ms`, `30 s`, `2m`, `7d`. A number without a unit is refused, except 0: a bare `30`
/// meant seconds to whoever wrote it and milliseconds to whoever reads it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err("a duration is a number and a unit, like 5ms or 30s".into());
    }
    let too_long = || "this is longer than any clock counts".to_owned();
    let number: u128 = number.parse().map_err(|_| too_long())?;
    if number == 0 && unit.is_empty() {
        return Ok(Duration::ZERO);
    }
    let known = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let &(_, factor) = known.ok_or_else(|| match unit {
        "" => "a duration needs its unit: ns, us, ms, s, m, h or d".to_owned(),
        _ if unit.starts_with(['.', ',']) => {
            "a duration is a whole number and a unit: 1500ms for 1.5s".to_owned()
        }
        _ => format!("`{unit}` is no unit of time: use ns, us, ms, s, m, h or d"),
    })?;
    number
        .checked_mul(factor)
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(Duration::from_nanos)
        .ok_or_else(too_long)
}

/// Prints what [`parse`] reads, in the greatest unit that loses nothing.
pub(crate) fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0".into();
    }
    let (name, unit) = UNITS
        .into_iter()
        .find(|(_, unit)| nanos.is_multiple_of(*unit))
        .unwrap_or(("ns", 1));
    format!("{}{name}", nanos / unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, nanos) in [
            ("0", 0),
            ("7ns", 7),
            ("5us", 5_000),
            ("5ms", 5_000_000),
            ("30 s", 30_000_000_000),
            ("2m", 120_000_000_000),
            ("1H", 3_600_000_000_000),
            (" 7d ", 604_800_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "a number and a unit"),
            ("soon", "a number and a unit"),
            ("-1s", "a number and a unit"),
            ("30", "needs its unit"),
            ("5 weeks", "no unit of time"),
            ("1.5s", "whole number"),
            ("999999999999d", "longer than any clock"),
            (
                "9999999999999999999999999999999999999999999s",
                "longer than any clock",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_as_it_was_printed(nanos in any::<u64>(), shift in 0u32..64) {
            let duration = Duration::from_nanos(nanos >> shift);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }
    }
}
