//! The services of opendal.

use std::sync::Arc;

use opendal::{Operator, services};

use super::{Place, Scheme};
use crate::store::{OpendalStore, Store, StoreError, StoreErrorKind, told_by};

pub(super) fn open(place: &Place) -> Result<Arc<dyn Store>, StoreError> {
    // Without it there is nothing that speaks HTTP; the first one to be installed stays.
    opendal::install_default();
    let secrets: Vec<String> = place.secrets.values().cloned().collect();
    let operator = operator(place).map_err(|error| {
        // Its message may quote what was given.
        let what = format!("{place} can't be opened: {}", told_by(&error, &secrets));
        StoreError::new(StoreErrorKind::Unsupported, what)
    })?;
    Ok(Arc::new(OpendalStore::with_secrets(
        operator,
        place.to_string(),
        secrets,
    )))
}

fn operator(place: &Place) -> opendal::Result<Operator> {
    let get = |name: &str| {
        let value = place.options.get(name).or(place.secrets.get(name));
        value.map(String::as_str)
    };
    // As a builder takes it: each call gives the builder back.
    macro_rules! with {
        ($builder:expr, $($name:ident)+) => {{
            let mut builder = $builder;
            $(if let Some(value) = get(stringify!($name)) {
                builder = builder.$name(value);
            })+
            builder
        }};
    }
    let root = format!("/{}", place.path);
    match place.scheme {
        #[cfg(feature = "s3")]
        Scheme::S3 => {
            let builder = services::S3::default().bucket(&place.bucket).root(&root);
            let mut builder = with!(
                builder,
                endpoint region access_key_id secret_access_key session_token
            );
            if get("virtual_host_style") == Some("true") {
                builder = builder.enable_virtual_host_style();
            }
            Operator::new(builder)
        }
        #[cfg(feature = "gcs")]
        Scheme::Gcs => {
            let builder = services::Gcs::default().bucket(&place.bucket).root(&root);
            let mut builder = with!(builder, endpoint credential credential_path);
            if let Some(token) = get("token") {
                builder = builder.token(token.to_owned());
            }
            Operator::new(builder)
        }
        #[cfg(feature = "azblob")]
        Scheme::Azblob => {
            let builder = services::Azblob::default();
            let builder = builder.container(&place.bucket).root(&root);
            let builder = with!(builder, endpoint account_name account_key sas_token);
            Operator::new(builder)
        }
        _ => Err(opendal::Error::new(
            opendal::ErrorKind::Unsupported,
            "not in this build",
        )),
    }
}
