//! What can be wrong with settings.

use std::io;
use std::path::PathBuf;

use super::keys;

/// Settings that can't be used, and why. Each is one line that names the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is not TOML.
    #[error("line {line}: this is not TOML: {what}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        what: String,
    },
    /// No setting has this name.
    #[error("there is no setting `{key}`{}", did_you_mean(key))]
    UnknownKey {
        /// The name as it was given.
        key: String,
    },
    /// The text of a value makes no sense for its setting.
    #[error("`{key}` can't be `{value}`: {what}")]
    Value {
        /// The setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// What was expected.
        what: String,
    },
    /// A value is out of its bounds, or doesn't go with another one.
    #[error("`{key}` is {value}: {what}")]
    Relation {
        /// The setting to change first.
        key: &'static str,
        /// Its value now.
        value: String,
        /// What it must be.
        what: String,
    },
    /// Something is wrong in a settings file.
    #[error("{}: {source}", path.display())]
    InFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: Box<SettingsError>,
    },
    /// Something is wrong at a line of a TOML text.
    #[error("line {line}: {source}")]
    AtLine {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        source: Box<SettingsError>,
    },
    /// Something is wrong with a variable of the environment.
    #[error("environment variable {variable}: {source}")]
    InEnvironment {
        /// The variable.
        variable: String,
        /// What is wrong.
        source: Box<SettingsError>,
    },
}

impl SettingsError {
    /// The setting that this is about, where it is about one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::File { .. } | Self::Syntax { .. } => None,
            Self::UnknownKey { key } => Some(key),
            Self::Value { key, .. } | Self::Relation { key, .. } => Some(key),
            Self::InFile { source, .. }
            | Self::AtLine { source, .. }
            | Self::InEnvironment { source, .. } => source.key(),
        }
    }

    /// What to do about it, as one short clause.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::File { .. } => "check the path and who may read it",
            Self::Syntax { .. } => "write one `key = \"value\"` a line",
            Self::UnknownKey { .. } => "`tierlog config` lists the settings there are",
            Self::Value { .. } | Self::Relation { .. } => "change the value",
            Self::InFile { source, .. }
            | Self::AtLine { source, .. }
            | Self::InEnvironment { source, .. } => source.advice(),
        }
    }
}

/// `, did you mean …` where a name is near, and nothing where none is.
fn did_you_mean(key: &str) -> String {
    match keys::near(key).as_slice() {
        [] => String::new(),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!(" (did you mean {}?)", names.join(" or "))
        }
    }
}
