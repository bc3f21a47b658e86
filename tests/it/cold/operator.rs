//! An opendal operator over the memory of a test, that calls itself whatever a test wants, fails now and
//! then, and may ignore conditions.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tierlog::opendal::{
    Capability, Error, ErrorKind, OperationContext, Operator, Result,
    layers::CapabilityOverrideLayer, raw::*, services::Memory,
};

/// What stands in a layer and must never be shown.
pub const SECRET: &str = "canary-in-a-layer";

/// A layer with a secret in it, as one that signs requests would have.
#[derive(Debug, Clone)]
pub struct Behaves {
    /// What it calls itself.
    pub scheme: &'static str,
    /// Every so many calls the next one fails; 0 for none.
    pub fails_each: usize,
    /// Overwrites, where it should create only if absent.
    pub overwrites: bool,
    /// The calls so far.
    pub calls: Arc<AtomicUsize>,
    /// There to be found in what is printed.
    #[expect(dead_code, reason = "it is printed, and that is all")]
    pub secret: &'static str,
}

impl Behaves {
    /// A bucket of some service, and as it should be.
    pub fn well() -> Self {
        Self {
            scheme: "bucket",
            fails_each: 0,
            overwrites: false,
            calls: Arc::default(),
            secret: SECRET,
        }
    }

    /// An operator that behaves like this, over memory of its own.
    pub fn operator(self) -> Operator {
        let memory = Operator::new(Memory::default()).expect("memory");
        memory.layer(self)
    }

    /// How many calls were made.
    pub fn made(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn call(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fails_each > 0 && call.is_multiple_of(self.fails_each) {
            true => Err(Error::new(ErrorKind::Unexpected, "a bad minute").set_temporary()),
            false => Ok(()),
        }
    }
}

/// The same operator, of a service that can do less.
pub fn without(operator: Operator, less: fn(&mut Capability)) -> Operator {
    operator.layer(CapabilityOverrideLayer::new(move |mut can| {
        less(&mut can);
        can
    }))
}

impl Layer for Behaves {
    fn apply_service(&self, inner: Servicer) -> Servicer {
        let how = self.clone();
        Arc::new(Behaving { how, inner })
    }
}

#[derive(Debug)]
struct Behaving {
    how: Behaves,
    inner: Servicer,
}

impl Service for Behaving {
    type Reader = oio::Reader;
    type Writer = oio::Writer;
    type Lister = oio::Lister;
    type Deleter = oio::Deleter;
    type Copier = oio::Copier;
    type Composer = oio::Composer;

    fn info(&self) -> ServiceInfo {
        ServiceInfo::new(self.how.scheme, self.inner.info().root(), "of-a-test")
    }

    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    async fn create_dir(
        &self,
        ctx: &OperationContext,
        path: &str,
        args: OpCreateDir,
    ) -> Result<RpCreateDir> {
        self.inner.create_dir(ctx, path, args).await
    }

    async fn stat(&self, ctx: &OperationContext, path: &str, args: OpStat) -> Result<RpStat> {
        self.how.call()?;
        self.inner.stat(ctx, path, args).await
    }

    fn read(&self, ctx: &OperationContext, path: &str, args: OpRead) -> Result<Self::Reader> {
        self.how.call()?;
        self.inner.read(ctx, path, args)
    }

    fn write(&self, ctx: &OperationContext, path: &str, args: OpWrite) -> Result<Self::Writer> {
        self.how.call()?;
        let args = match self.how.overwrites {
            true => OpWrite::new(),
            false => args,
        };
        self.inner.write(ctx, path, args)
    }

    fn delete(&self, ctx: &OperationContext) -> Result<Self::Deleter> {
        self.how.call()?;
        self.inner.delete(ctx)
    }

    fn list(&self, ctx: &OperationContext, path: &str, args: OpList) -> Result<Self::Lister> {
        self.how.call()?;
        self.inner.list(ctx, path, args)
    }

    fn copy(
        &self,
        ctx: &OperationContext,
        from: &str,
        to: &str,
        args: OpCopy,
    ) -> Result<Self::Copier> {
        self.inner.copy(ctx, from, to, args)
    }

    fn compose(&self, ctx: &OperationContext, to: &str, args: OpCompose) -> Result<Self::Composer> {
        self.inner.compose(ctx, to, args)
    }

    async fn rename(
        &self,
        ctx: &OperationContext,
        from: &str,
        to: &str,
        args: OpRename,
    ) -> Result<RpRename> {
        self.inner.rename(ctx, from, to, args).await
    }

    async fn restore(
        &self,
        ctx: &OperationContext,
        path: &str,
        args: OpRestore,
    ) -> Result<RpRestore> {
        self.inner.restore(ctx, path, args).await
    }

    async fn presign(
        &self,
        ctx: &OperationContext,
        path: &str,
        args: OpPresign,
    ) -> Result<RpPresign> {
        self.inner.presign(ctx, path, args).await
    }
}
