//! What an app brings along, in the place of what settings would open.

use std::{fmt, sync::Arc};

use tierlog_actors::Error;
use tierlog_cold::store::Store;

use crate::settings::Settings;

/// What an app brings along, in the place of what its settings would open: the store of Tier 2.
///
/// ```
/// # #[cfg(feature = "opendal")]
/// # {
/// use tierlog::{Parts, Settings, Supervisor, opendal};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let settings = Settings::new(dir.path().join("log"));
/// // In memory, to show how; it is never the only place of a record.
/// let operator = opendal::Operator::new(opendal::services::Memory::default())?;
/// let parts = Parts::new().operator(operator.clone());
/// let supervisor = Supervisor::open_with_parts(settings, parts).await?;
/// let health = supervisor.health().await;
/// assert!(health.cold.is_some_and(|cold| cold.place.starts_with("memory://")));
/// assert!(operator.exists("catalog/").await?); // claimed
/// # supervisor.shutdown(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// # main().unwrap();
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Parts {
    #[cfg(feature = "opendal")]
    operator: Option<tierlog_cold::opendal::Operator>,
}

impl Parts {
    /// Nothing: everything is as the settings say.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tier 2 is what this operator reaches, below its root. [`Settings::cold`] stays unset then;
    /// everything else about Tier 2 goes by the settings, and a log may come back later with a `cold` that
    /// names the same place.
    ///
    /// It is treated like a store that the settings name: asked at each open whether it refuses to create
    /// an object twice, called with deadlines and retries, and left alone for a while when it keeps
    /// failing. So it must have **no layer of its own that retries or limits the time of a call**: of a
    /// create whose answer was lost, a retry inside the operator would look like somebody else's create,
    /// and it would hold a call beyond the deadline that counts. Layers that limit how many calls are
    /// made at once, measure or trace are fine.
    ///
    /// The service must be able to create an object only if it is absent, and an object must be seen
    /// whole or not at all. opendal's `fs` does not keep that, nor does it sync folders, and is refused: name a folder as
    /// `fs:///folder` in `cold`. A service in memory is taken, and as with `memory://` nothing is ever
    /// archived there.
    ///
    /// What a service says in its errors is told in errors, health and log lines, cut to 300 characters; what is
    /// in the usual variables for credentials is taken out of it. The operator itself is never shown.
    ///
    /// Whoever makes an operator decides what speaks HTTP for it; `opendal::install_default()` is the
    /// usual way. Take `opendal` in the version that stands in `tierlog::opendal`.
    #[cfg(feature = "opendal")]
    #[must_use]
    pub fn operator(mut self, operator: tierlog_cold::opendal::Operator) -> Self {
        self.operator = Some(operator);
        self
    }

    /// The store, if there is one here.
    pub(crate) fn store(self, settings: &Settings) -> Result<Option<Arc<dyn Store>>, Error> {
        #[cfg(feature = "opendal")]
        if let Some(operator) = self.operator {
            return store_of(operator, settings).map(Some);
        }
        let _ = settings;
        Ok(None)
    }
}

impl fmt::Debug for Parts {
    /// Of an operator not a word: what it shows is up to its service and its layers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Parts");
        #[cfg(feature = "opendal")]
        shown.field("operator", &self.operator.as_ref().map(|_| "…"));
        shown.finish()
    }
}

#[cfg(feature = "opendal")]
fn store_of(
    operator: tierlog_cold::opendal::Operator,
    settings: &Settings,
) -> Result<Arc<dyn Store>, Error> {
    let wrong = |what: String| Error::Settings { what };
    if settings.cold.is_some() {
        let what = "`cold` is set, and the app brings an operator: there can be only one Tier 2";
        return Err(wrong(what.into()));
    }
    crate::settings::fits_tier_2(settings).map_err(|error| wrong(error.to_string()))?;
    let store = tierlog_cold::store::OpendalStore::new(operator);
    let store = store.map_err(|error| wrong(format!("the operator: {error}")))?;
    Ok(Arc::new(store))
}
