//! What may be a key.

use super::{StoreError, StoreErrorKind};

/// Refuses what is no key: `..` would lead out of the prefix, and an empty part is one folder to some
/// services and another to others.
pub(crate) fn checked(key: &str) -> Result<(), StoreError> {
    match !key.is_empty() && key.split('/').all(is_part) {
        true => Ok(()),
        false => Err(StoreError::new(
            StoreErrorKind::Unsupported,
            format!("{key:?} is not a key: parts of ASCII letters, digits, `-`, `_` and `.`"),
        )),
    }
}

/// Whether a part of a key may be so named.
pub(crate) fn is_part(part: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(fine)
}

/// Whether a folder may hold keys that begin with `prefix` and are greater than `after`. Its name ends
/// with `/`, or is empty for the root.
pub(crate) fn leads_on(folder: &str, prefix: &str, after: Option<&str>) -> bool {
    let meant = folder.starts_with(prefix) || prefix.starts_with(folder);
    meant && after.is_none_or(|after| folder >= after || after.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_no_key() {
        for key in ["a", "a/b.c", "streams/0-1_2.tlz", "..a", "a..", "a/.b"] {
            assert!(checked(key).is_ok(), "{key}");
        }
        for key in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a b", "ä", "a\\b", "~tmp",
            "a%2fb", "a?b", "a\0",
        ] {
            assert!(checked(key).is_err(), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn no_folder_is_passed_over_that_holds_what_is_meant(
            folder in "([ab.-]/){0,2}", name in "[ab.-]{1,2}", prefix in "[ab./-]{0,3}", after in "[ab./-]{0,4}",
        ) {
            let key = format!("{folder}{name}");
            if key.starts_with(&prefix) && key > after {
                prop_assert!(leads_on(&folder, &prefix, Some(&after)));
            }
        }
    }
}
