//! Text that steers no terminal, whatever it was made of.
//!
//! A stream of an earlier version may have a name that turns the rest of its line around, and paths,
//! keys and payloads may hold anything.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use tierlog::is_plain;

/// What is not plain is shown by its number, as `\u{202e}`.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_plain(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

/// A value as one line of JSON, without the newline. It says the same to whoever parses it.
pub(crate) fn write_json(to: impl io::Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(to, Plain);
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// The same as text.
pub(crate) fn json_text(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    // A value that was put together here has no keys that are not text, which is all that can fail.
    let _ = write_json(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        // JSON itself escapes what ASCII has of these, but for DEL, which nobody minds.
        if fragment.is_ascii() || fragment.chars().all(is_plain) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut escaped = String::with_capacity(fragment.len() + 16);
        for c in fragment.chars() {
            match is_plain(c) {
                true => escaped.push(c),
                // None of them lies beyond U+FFFF.
                false => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
            }
        }
        writer.write_all(escaped.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_by_its_number_and_json_means_the_same() {
        let name = "a\u{202e}b\u{2028}c\u{85} ü";
        assert_eq!(shown(name), r"a\u{202e}b\u{2028}c\u{85} ü");
        assert!(matches!(shown("ü 日本"), Cow::Borrowed(_)));
        let value = json!({ name: [name, "\u{7f}\n\"", 1] });
        let text = json_text(&value);
        assert!(
            text.chars().all(|c| is_plain(c) || c == '\u{7f}'),
            "{text:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }
}
