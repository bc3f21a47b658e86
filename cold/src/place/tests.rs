//! Places as text.

use super::*;

const CANARY: &str = "canary/Secret+1=";

fn refused(line: &str) -> String {
    let error = Place::parse(line).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn a_place_is_read_and_shown() {
    for (line, shown) in [
        ("fs:///var/lib/cold", "fs:///var/lib/cold"),
        ("fs:///var//lib/cold/", "fs:///var/lib/cold"),
        ("fs:///a%20b", "fs:///a b"),
        ("memory://", "memory://"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        (
            "s3://b-1.x/pre/fix/?region=eu-1",
            "s3://b-1.x/pre/fix?region=eu-1",
        ),
        (
            "s3://b/p?region=r&endpoint=http://127.0.0.1:9000",
            "s3://b/p?endpoint=http://127.0.0.1:9000&region=r",
        ),
        ("gcs://b/p", "gcs://b/p"),
        (
            "azblob://c/p?account_name=me",
            "azblob://c/p?account_name=me",
        ),
    ] {
        assert_eq!(Place::parse(line).unwrap().to_string(), shown, "{line}");
    }
}

#[test]
fn what_is_shown_of_a_place_names_it_again() {
    for path in [
        "/a b",
        "/100%",
        "/why?",
        "/a%20b",
        "/tail ",
        "/line\nfeed",
        "/ü\u{85}",
    ] {
        let place = Place::folder(Path::new(path)).unwrap();
        assert_eq!(place.path, path);
        let shown = place.to_string();
        assert_eq!(shown.lines().count(), 1, "{shown}");
        // Settings take off what surrounds a value.
        assert_eq!(Place::parse(shown.trim()).unwrap(), place, "{shown}");
    }
    for path in ["relative", "/a/../b", "/"] {
        assert!(Place::folder(Path::new(path)).is_err(), "{path}");
    }
}

#[test]
fn what_is_no_place_is_refused_with_what_to_do() {
    for (line, says) in [
        ("", "fs:///folder"),
        ("/var/cold", "fs:///folder"),
        ("ftp://x", "there are fs, memory, s3"),
        ("S3://x", "there are fs, memory, s3"),
        ("fs://relative/path", "absolute"),
        ("fs:///", "name a folder"),
        ("fs:///a/../b", ".."),
        ("fs:///a?region=x", "no options"),
        ("memory://x", "neither a path"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://b/a b", "ASCII"),
        ("s3://b/../c", "ASCII"),
        ("s3://b?regio=x", "endpoint, region"),
        ("s3://b?region", "region has no value"),
        ("s3://b?region=%zz", "region has no value"),
        ("s3://b?region=a&region=b", "twice"),
        ("s3://b?endpoint=127.0.0.1", "http://"),
        ("s3://b?account_key=x", "access_key_id"),
        ("gcs://b?region=x", "credential_path"),
        ("s3://%", "%"),
    ] {
        let error = refused(line);
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn no_credential_is_shown_wherever_it_stands() {
    let encoded = "canary%2FSecret%2B1%3D";
    for line in [
        format!("s3://b/p?access_key_id={encoded}&secret_access_key={encoded}&region=r"),
        format!("s3://b?session_token={encoded}"),
        format!("gcs://b?credential={encoded}&token={encoded}"),
        format!("azblob://c?account_name=n&account_key={encoded}&sas_token={encoded}"),
    ] {
        let place = Place::parse(&line).unwrap();
        let secrets: Vec<_> = place.secrets.values().collect();
        assert!(secrets.iter().all(|secret| *secret == CANARY), "{line}");
        for shown in [
            place.to_string(),
            format!("{place:?}"),
            format!("{place:#?}"),
        ] {
            assert!(!shown.contains("anary"), "{shown}");
        }
    }
    for line in [
        "s3://canary:canary@bucket/p",
        "s3://b?endpoint=http://canary:canary@host",
        "s3://b?secret=canary",
        "s3://b?canary",
        "s3://b?secret_access_key=canary%",
        "s3://b?secret_access_key=canary&secret_access_key=canary",
        "canary://canary",
        "canary",
        "azblob://c?account_key",
        "s3://b/can ary%20canary",
    ] {
        let error = refused(line);
        assert!(!error.contains("canary"), "{line}: {error}");
    }
}

#[cfg(feature = "azblob")]
#[test]
fn a_place_that_lacks_an_option_is_refused_by_its_name() {
    let secret = "account_key=canary%2FSecret%2B1%3D";
    let place = Place::parse(&format!("azblob://c/p?account_name=n&{secret}")).unwrap();
    let opened = services::open(&place);
    let error = opened.expect_err("it has no endpoint").to_string();
    assert!(error.contains("endpoint is empty"), "{error}");
    assert!(!error.contains("anary"), "{error}");
}

#[test]
fn what_this_build_has_not_is_said() {
    for scheme in Scheme::ALL {
        let built_in = match scheme {
            Scheme::Fs | Scheme::Memory => true,
            Scheme::S3 => cfg!(feature = "s3"),
            Scheme::Gcs => cfg!(feature = "gcs"),
            Scheme::Azblob => cfg!(feature = "azblob"),
        };
        assert_eq!(scheme.is_built_in(), built_in);
    }
}
