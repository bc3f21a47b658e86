//! Settings as a TOML text, and as `key=value` lines: what is taken is shown as it was meant.
//!
//! Byte 0: bit 0 chooses lines of `key=value`.

use tierlog::Settings;

use crate::take;

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if mode & 1 == 0 {
        match Settings::from_toml(text) {
            Ok(settings) => check(&settings),
            Err(error) => told(&error.to_string()),
        }
        return;
    }
    let mut settings = Settings::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let before = settings.clone();
        if let Err(error) = settings.set(key, value) {
            told(&error.to_string());
            assert_eq!(
                settings.entries(),
                before.entries(),
                "what is refused changes nothing"
            );
        }
    }
    check(&settings);
}

fn told(message: &str) {
    assert!(
        !message.is_empty() && !message.contains('\n'),
        "one line: {message:?}"
    );
}

/// Every value, set as it is shown, gives the same settings.
fn check(settings: &Settings) {
    let mut again = Settings::default();
    for (key, value) in settings.entries() {
        again.set(key, &value).unwrap_or_else(|error| {
            panic!("{key} is shown as {value:?}, which is refused: {error}")
        });
    }
    assert_eq!(again.entries(), settings.entries());
    if let Err(error) = settings.validate() {
        told(&error.to_string());
    }
}
