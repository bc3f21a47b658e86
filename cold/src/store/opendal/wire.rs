//! How services speak of uploads in parts, on the wire.
//!
//! ```text
//!   S3, and what speaks like it          POST KEY?uploads                 ─▶ <UploadId>ID</UploadId>
//!                                        PUT KEY?partNumber=N&uploadId=ID
//!                                        POST KEY?uploadId=ID             completes
//!                                        DELETE KEY?uploadId=ID           aborts
//!   Google Cloud Storage                 POST …?uploadType=resumable      ─▶ Location: ID
//!                                        PUT ID                           parts; the last one completes
//!                                        DELETE ID                        aborts
//! ```
//!
//! Sources: "Multipart upload" in the documentation of Amazon S3, "Resumable uploads" in that of Google Cloud
//! Storage.

use http::{HeaderMap, Method, Uri, header::LOCATION};

/// How an upload in parts is begun, and where the answer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Initiation {
    /// In the body.
    Multipart,
    /// In a header.
    Session,
}

impl Initiation {
    /// Whether a request begins one.
    pub(super) fn of(method: &Method, uri: &Uri) -> Option<Self> {
        if method != Method::POST {
            return None;
        }
        match (parameter(uri, "uploads"), parameter(uri, "uploadType")) {
            (Some(none), _) if none.is_empty() => Some(Self::Multipart),
            (_, Some(kind)) if kind == "resumable" => Some(Self::Session),
            _ => None,
        }
    }

    /// What the answer calls it.
    pub(super) fn named_in(self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        match self {
            Self::Multipart => upload_id(std::str::from_utf8(body).ok()?),
            Self::Session => Some(headers.get(LOCATION)?.to_str().ok()?.to_owned()),
        }
    }
}

/// The id of the upload that a request is about, where its address has one.
pub(super) fn upload_of(uri: &Uri) -> Option<String> {
    parameter(uri, "uploadId")
}

/// An answer that names an upload, as a server would give it.
pub(super) fn answer(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for c in id.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            c => escaped.push(c),
        }
    }
    format!(
        "<InitiateMultipartUploadResult><UploadId>{escaped}</UploadId></InitiateMultipartUploadResult>"
    )
}

/// A parameter of an address, decoded.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = uri.query()?.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, value)
    });
    let (_, value) = pairs.find(|(found, _)| *found == name)?;
    decoded(value)
}

fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// What stands in the element `UploadId`. Anything but text in it is not understood, and an upload whose
/// name is not understood is not gone on with.
fn upload_id(xml: &str) -> Option<String> {
    let mut tags = xml.split('<').skip(1);
    let text = tags.find_map(|tag| {
        let (name, text) = tag.split_once('>')?;
        let name = name.split_ascii_whitespace().next()?;
        let is_id = name.rsplit(':').next() == Some("UploadId");
        is_id.then_some(text)
    })?;
    let ends = tags.next().is_some_and(|tag| tag.starts_with('/'));
    let text = unescaped(text.trim())?;
    (ends && !text.is_empty()).then_some(text)
}

fn unescaped(text: &str) -> Option<String> {
    let mut pieces = text.split('&');
    let mut plain = pieces.next()?.to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(';')?;
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            other => {
                let number = other.strip_prefix('#')?;
                let number = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(number)?
            }
        });
        plain += rest;
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_request_that_begins_an_upload_in_parts_is_told_from_others() {
        for (method, address, expected) in [
            (
                Method::POST,
                "http://h/b/k?uploads",
                Some(Initiation::Multipart),
            ),
            (
                Method::POST,
                "http://h/b/k?uploads=&x-id=1",
                Some(Initiation::Multipart),
            ),
            (
                Method::POST,
                "http://h/upload/storage/v1/b/b/o?uploadType=resumable&name=k",
                Some(Initiation::Session),
            ),
            (Method::GET, "http://h/b?uploads", None),
            (Method::POST, "http://h/b/k?uploadId=7", None),
            (Method::POST, "http://h/b?uploads=7", None),
            (Method::POST, "http://h/o?uploadType=media", None),
            (Method::POST, "http://h/uploads", None),
        ] {
            assert_eq!(
                Initiation::of(&method, &uri(address)),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn the_id_is_found_as_servers_spell_it() {
        let minio = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<InitiateMultipartUploadResult \
                     xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket><Key>k</Key>\
                     <UploadId>VXBsb2Fk.2~x_-</UploadId></InitiateMultipartUploadResult>";
        for (xml, expected) in [
            (minio, Some("VXBsb2Fk.2~x_-")),
            ("<r><n:UploadId a='b'>\n 7 \n</n:UploadId></r>", Some("7")),
            (
                "<r><UploadId>a&amp;b&#x2f;&#47;&lt;</UploadId></r>",
                Some("a&b//<"),
            ),
            ("<r><Key>UploadId</Key></r>", None),
            ("<r><UploadId></UploadId></r>", None),
            ("<r><UploadId/></r>", None),
            ("<r><UploadId><![CDATA[7]]></UploadId></r>", None),
            ("<r><UploadId>7</r", Some("7")),
            ("<r><UploadId>7", None),
            ("<r><UploadId>a&b</UploadId></r>", None),
            ("", None),
        ] {
            let found = Initiation::Multipart.named_in(&HeaderMap::new(), xml.as_bytes());
            assert_eq!(found.as_deref(), expected, "{xml}");
        }
    }

    proptest! {
        #[test]
        fn an_answer_of_our_own_names_the_upload(id in "[!-~]{1,80}") {
            let xml = answer(&id);
            let found = Initiation::Multipart.named_in(&HeaderMap::new(), xml.as_bytes());
            prop_assert_eq!(found, Some(id));
        }

        #[test]
        fn the_upload_of_a_request_is_found_as_it_was_encoded(id in "\\PC{1,40}") {
            let encoded = opendal::raw::percent_encode_path(&id);
            let part = uri(&format!("http://h/b/k?partNumber=3&uploadId={encoded}"));
            prop_assert_eq!(upload_of(&part), Some(id));
        }

        #[test]
        fn any_answer_at_all_is_understood_or_not(body: Vec<u8>, text in "[<>&;/a-zU:# ]{0,60}") {
            let _ = Initiation::Multipart.named_in(&HeaderMap::new(), &body);
            let _ = Initiation::Multipart.named_in(&HeaderMap::new(), text.as_bytes());
        }
    }
}
