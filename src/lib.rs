//! A durable, tiered, append-only log for Tokio apps.
