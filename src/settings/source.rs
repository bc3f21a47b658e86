//! Where settings come from: a TOML text, a file, the environment.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Settings, SettingsError};

/// What every variable of ours begins with.
const PREFIX: &str = "TIERLOG_";

/// A settings file has a few dozen lines; whatever is longer is another file.
const FILE_LIMIT: u64 = 1 << 20;

impl Settings {
    /// Reads a TOML text over the defaults. A key that doesn't exist is refused by name.
    ///
    /// # Errors
    /// With the line: it is not TOML, or as [`set`](Self::set).
    ///
    /// ```
    /// use tierlog::{FlushPolicy, Settings};
    /// let settings = Settings::from_toml("flush = 'manual'\nio_threads = 2\n")?;
    /// assert_eq!(settings.flush, FlushPolicy::Manual);
    /// assert_eq!(settings.io_threads, 2);
    /// # Ok::<(), tierlog::SettingsError>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
            line: line_of(error.span().map_or(0, |span| span.start)),
            what: error.message().replace('\n', " "),
        })?;
        let mut settings = Self::default();
        let mut found: Vec<_> = table.get_ref().iter().collect();
        // The table is sorted by key; what is wrong first in the file is told first.
        found.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in found {
            settings
                .set_toml(key.get_ref(), value.get_ref())
                .map_err(|source| SettingsError::AtLine {
                    line: line_of(key.span().start),
                    source: Box::new(source),
                })?;
        }
        Ok(settings)
    }

    fn set_toml(&mut self, key: &str, value: &DeValue<'_>) -> Result<(), SettingsError> {
        match value {
            DeValue::String(text) => self.set(key, text),
            DeValue::Integer(number) if number.radix() == 10 => self.set(key, number.as_str()),
            other => {
                // An unknown key is the greater mistake, whatever its value is.
                let entry = super::keys::find(key)?;
                Err(SettingsError::Value {
                    key: entry.name,
                    value: other.type_str().to_owned(),
                    what: "expected a text or a whole number".into(),
                })
            }
        }
    }

    /// Reads a TOML file, of at most 1 MiB, over the defaults.
    ///
    /// # Errors
    /// When it can't be read; otherwise as [`from_toml`](Self::from_toml), with its path.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SettingsError> {
        let path = path.as_ref();
        let text = read_limited(path).map_err(|source| SettingsError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text).map_err(|source| SettingsError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Sets every key for which the environment has a variable: `TIERLOG_SEGMENT_SIZE=16MiB`. A
    /// variable of ours that names no setting is refused, like an unknown key in a file.
    ///
    /// # Errors
    /// As [`set`](Self::set), with the variable. What came before it is set.
    pub fn apply_env(&mut self) -> Result<(), SettingsError> {
        self.apply_vars(std::env::vars_os())
    }

    /// As [`Settings::apply_env`], with variables given by the caller.
    ///
    /// # Errors
    /// As there.
    pub fn apply_vars<I>(&mut self, vars: I) -> Result<(), SettingsError>
    where
        I: IntoIterator<Item = (OsString, OsString)>,
    {
        for (variable, value) in vars {
            let Some(key) = variable.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            self.set_var(&key.to_ascii_lowercase(), value)
                .map_err(|source| SettingsError::InEnvironment {
                    variable: format!("{PREFIX}{key}"),
                    source: Box::new(source),
                })?;
        }
        Ok(())
    }

    fn set_var(&mut self, key: &str, value: OsString) -> Result<(), SettingsError> {
        match (key, value.into_string()) {
            (_, Ok(text)) => self.set(key, &text),
            // A path need not be UTF-8; every other value must.
            ("data", Err(raw)) => {
                self.data = raw.into();
                Ok(())
            }
            (_, Err(raw)) => {
                let entry = super::keys::find(key)?;
                Err(SettingsError::Value {
                    key: entry.name,
                    value: raw.to_string_lossy().into_owned(),
                    what: "this is not UTF-8".into(),
                })
            }
        }
    }
}

fn read_limited(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(FILE_LIMIT + 1)
        .read_to_string(&mut text)?;
    if read as u64 > FILE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is longer than 1 MiB, so it is no settings file",
        ));
    }
    Ok(text)
}
