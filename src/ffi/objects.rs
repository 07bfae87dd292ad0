//! What has handles, and the registry of it.

use std::sync::Arc;

use super::session_calls::SessionEntry;
use crate::cuda::{CudaContext, CudaModel};
use crate::registry::{Kind, Object, PerProcess, Registered, Registry};

/// The registry of this process. After a fork the child has a new, empty one.
pub(super) fn registry() -> &'static Registry<HostObject> {
    static REGISTRIES: PerProcess<Registry<HostObject>> = PerProcess::new();
    REGISTRIES.get_or_init(Registry::new)
}

/// An object behind a handle that a host may have. Not `dyn Any`, which would be asked for its type through a table: that
/// took a third of a call's time.
pub(super) enum HostObject {
    Context(Arc<CudaContext>),
    Model(Arc<CudaModel>),
    Session(Arc<SessionEntry>),
}

impl Object for HostObject {
    #[inline]
    fn kind(&self) -> Kind {
        match self {
            Self::Context(_) => Kind::Context,
            Self::Model(_) => Kind::Model,
            Self::Session(_) => Kind::Session,
        }
    }

    fn close(&self) {
        match self {
            Self::Context(context) => context.close(),
            Self::Model(model) => model.close(),
            Self::Session(session) => session.session().close(),
        }
    }
}

macro_rules! registered {
    ($($kind:ident: $object:ty;)*) => {$(
        impl Registered<HostObject> for $object {
            const KIND: Kind = Kind::$kind;

            fn into_object(self: Arc<Self>) -> HostObject {
                HostObject::$kind(self)
            }

            #[inline]
            fn of(object: &HostObject) -> Option<&Arc<Self>> {
                match object {
                    HostObject::$kind(object) => Some(object),
                    _ => None,
                }
            }
        }
    )*};
}

registered! {
    Context: CudaContext;
    Model: CudaModel;
    Session: SessionEntry;
}
