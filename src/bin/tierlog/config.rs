//! `config`: the settings in effect, as a file that `--config` takes.

use serde_json::{Map, Value};
use tierlog::Settings;

use crate::exit::Ending;
use crate::session::Session;

pub(crate) fn run(session: &mut Session) -> Result<(), Ending> {
    let entries = session.settings.entries();
    if session.json {
        let entries = entries.into_iter();
        let map: Map<String, Value> = entries.map(|(k, v)| (k.to_owned(), v.into())).collect();
        session.out.json(&map)?;
        return session.out.flush();
    }
    let width = |(key, value): &(&str, String)| key.len() + quoted(value).len() + 3;
    let column = entries.iter().map(width).max().unwrap_or(0).min(48);
    for (key, value) in &entries {
        let line = format!("{key} = {}", quoted(value));
        let meaning = Settings::keys().iter().find(|known| known.name == *key);
        let meaning = meaning.map_or("", |known| known.meaning);
        session
            .out
            .line(format_args!("{line:<column$}  # {meaning}"))?;
    }
    session.out.flush()
}

/// A TOML string: JSON's escapes are all TOML escapes.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
