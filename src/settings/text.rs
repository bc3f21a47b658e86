//! Every setting has one text form, the same in a file, in the environment, on a command line and
//! in what `config` prints.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

use super::{ColdUri, FlushPolicy, ReadMode, Size, span};

/// A value of a setting, from its text and back.
pub(crate) trait Value: Sized {
    /// Reads the text; the error says what was expected.
    fn parse(text: &str) -> Result<Self, String>;
    /// Prints what [`Value::parse`] reads.
    fn show(&self) -> String;
}

macro_rules! value_by_display {
    ($($name:ty),*) => {$(
        impl Value for $name {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse()
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

value_by_display!(Size, FlushPolicy, ReadMode);

macro_rules! value_by_count {
    ($($name:ty),*) => {$(
        impl Value for $name {
            fn parse(text: &str) -> Result<Self, String> {
                let digits = text.trim();
                digits.parse().map_err(|_| {
                    match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
                        true => "this is more than can be counted".to_owned(),
                        false => "expected a whole number".to_owned(),
                    }
                })
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

value_by_count!(u32, usize);

impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        span::parse(text)
    }
    fn show(&self) -> String {
        span::show(*self)
    }
}

/// No limit on a size.
impl Value for Option<Size> {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().eq_ignore_ascii_case("unlimited") {
            true => Ok(None),
            false => text
                .parse()
                .map(Some)
                .map_err(|why: String| format!("{why}, or `unlimited`")),
        }
    }
    fn show(&self) -> String {
        self.map_or_else(|| "unlimited".into(), |size| size.to_string())
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("expected `true` or `false`".into()),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A tier that need not be there.
impl Value for Option<ColdUri> {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().eq_ignore_ascii_case("none") {
            true => Ok(None),
            false => text.parse().map(Some),
        }
    }
    fn show(&self) -> String {
        self.as_ref()
            .map_or_else(|| "none".into(), ToString::to_string)
    }
}

/// A thing that need not happen by time at all.
impl Value for Option<Duration> {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().eq_ignore_ascii_case("never") {
            true => Ok(None),
            false => span::parse(text)
                .map(Some)
                .map_err(|why| format!("{why}, or `never`")),
        }
    }
    fn show(&self) -> String {
        self.map_or_else(|| "never".into(), span::show)
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        match text.is_empty() {
            true => Err("expected a directory".into()),
            false => Ok(text.into()),
        }
    }
    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// For `#[serde(with = "text")]`.
pub(crate) fn serialize<T: Value, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.show())
}

/// For `#[serde(with = "text")]`: a text, or a bare number where somebody wrote one.
pub(crate) fn deserialize<'de, T: Value, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);

    impl<T: Value> de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the text of a setting, or a number")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::parse(text).map_err(E::custom)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    from.deserialize_any(Text(PhantomData))
}
