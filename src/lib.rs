//! A durable, tiered, append-only log for Tokio apps.

mod settings;

pub use settings::{FlushPolicy, ReadMode, SettingKey, Settings, SettingsError, Size};
