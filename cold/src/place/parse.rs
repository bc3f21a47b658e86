//! Reads and writes the line.

use std::collections::BTreeMap;

use super::{Place, PlaceError, Scheme};
use crate::store::is_key_part;

fn wrong(what: impl Into<String>) -> PlaceError {
    PlaceError(what.into())
}

pub(super) fn place(line: &str) -> Result<Place, PlaceError> {
    let (scheme, rest) = line.split_once("://").ok_or_else(|| {
        wrong("a store is named as fs:///folder, s3://bucket/prefix, gcs://…, azblob://… or memory://")
    })?;
    let scheme = Scheme::ALL
        .into_iter()
        .find(|known| known.name() == scheme)
        .ok_or_else(|| wrong("there is no such store; there are fs, memory, s3, gcs and azblob"))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (options, secrets) = options(scheme, query)?;
    let path = decoded(path).ok_or_else(|| wrong("a `%` with no byte behind it, in the path"))?;
    let (bucket, path) = match scheme {
        Scheme::Fs => (String::new(), folder(&path)?),
        Scheme::Memory if path.is_empty() => (String::new(), String::new()),
        Scheme::Memory => return Err(wrong("memory:// has neither a path nor options")),
        _ => in_bucket(scheme, &path)?,
    };
    Ok(Place {
        scheme,
        bucket,
        path,
        options,
        secrets,
    })
}

fn folder(path: &str) -> Result<String, PlaceError> {
    if !path.starts_with('/') {
        return Err(wrong("fs:// needs an absolute path: fs:///folder"));
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err(wrong("fs:// takes no `.` and no `..` in the path"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.is_empty() {
        true => Err(wrong("fs:/// is all of this machine: name a folder")),
        false => Ok(format!("/{}", parts.join("/"))),
    }
}

fn in_bucket(scheme: Scheme, path: &str) -> Result<(String, String), PlaceError> {
    let name = scheme.name();
    if path.contains('@') {
        // Perhaps a secret: not a word of it.
        let what = "takes no credentials before the bucket; see its options, or the environment";
        return Err(wrong(format!("{name}:// {what}")));
    }
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    if bucket.is_empty() {
        return Err(wrong(format!(
            "{name}:// names no bucket: {name}://bucket/prefix"
        )));
    }
    let prefix = prefix.trim_matches('/');
    let fine = |part: &str| is_key_part(part);
    if !fine(bucket) || !(prefix.is_empty() || prefix.split('/').all(fine)) {
        let what = "bucket and prefix are of ASCII letters, digits, `-`, `_` and `.`";
        return Err(wrong(format!("{name}:// {what}")));
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

type Options = BTreeMap<&'static str, String>;

fn options(scheme: Scheme, query: &str) -> Result<(Options, Options), PlaceError> {
    let (mut options, mut secrets) = (Options::new(), Options::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = scheme.options();
        let Some(&(name, is_secret)) = known.iter().find(|(known, _)| *known == name) else {
            // What stands there may be a secret behind a slip of the pen: the known names alone.
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let scheme = scheme.name();
            return Err(wrong(match names.is_empty() {
                true => format!("{scheme}:// takes no options"),
                false => format!(
                    "an option that {scheme} has not; it has {}",
                    names.join(", ")
                ),
            }));
        };
        let value = decoded(value)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| wrong(format!("option {name} has no value, or a broken one")))?;
        if name == "endpoint" {
            endpoint(&value)?;
        }
        let into = if is_secret {
            &mut secrets
        } else {
            &mut options
        };
        if into.insert(name, value).is_some() {
            return Err(wrong(format!("option {name} stands there twice")));
        }
    }
    Ok((options, secrets))
}

fn endpoint(value: &str) -> Result<(), PlaceError> {
    let rest = value
        .strip_prefix("http://")
        .or(value.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) => Ok(()),
        _ => Err(wrong(
            "option endpoint is http:// or https:// with a host, and no credentials in it",
        )),
    }
}

/// Resolves `%` and two digits.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?].map(|b| char::from(b).to_digit(16));
                let [Some(high), Some(low)] = digits else {
                    return None;
                };
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The other way, of what would not be read back in a path, and of what is no part of a line.
pub(super) fn encoded_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '%' | '?' => out += &format!("%{:02X}", u32::from(c)),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out += &format!("%{byte:02X}");
                }
            }
            c => out.push(c),
        }
    }
    // What surrounds a line is not taken for a part of it.
    let kept = out.trim_end().len();
    let tail: String = out[kept..].bytes().map(|b| format!("%{b:02X}")).collect();
    out.truncate(kept);
    out + &tail
}

/// The other way, of what would not be read back in an option.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | b'&' | b'#' | b'?' | b' ' | 0..=31 | 127.. => out += &format!("%{byte:02X}"),
            _ => out.push(char::from(byte)),
        }
    }
    out
}
