//! Moments as people and scripts write them: RFC 3339, in UTC when printed.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Nanoseconds since 1970 as `2026-03-14T09:26:53.589793238Z`.
pub(crate) fn show(nanos: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        // Past the year 9999, which RFC 3339 can't say.
        .unwrap_or_else(|| format!("{nanos}ns"))
}

/// Nanoseconds since 1970; what is before that is 0, where no record can be.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let moment =
        OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("as a moment: {error}"))?;
    Ok(u64::try_from(moment.unix_timestamp_nanos().max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_to_the_nanosecond_and_from_any_zone() {
        for nanos in [0, 1, 1_773_480_413_589_793_238] {
            assert_eq!(parse(&show(nanos)), Ok(nanos));
        }
        assert_eq!(parse("1970-01-01T02:00:01+02:00"), Ok(1_000_000_000));
        assert_eq!(parse("1969-12-31T23:00:00Z"), Ok(0));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-03-14",
            "2026-13-14T00:00:00Z",
            "2026-03-14T09:26:53",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(show(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }
}
