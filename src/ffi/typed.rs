//! An object of a type that only its maker and its users know.

use std::any::{Any, TypeId};
use std::sync::Arc;

/// An object behind a handle. [`Any`] alone would do, but asks the object for its type through a table at each lookup,
/// which took a third of a call's time; here the type lies beside the object.
pub(crate) struct Typed {
    kind: TypeId,
    object: Arc<dyn Any + Send + Sync>,
}

impl Typed {
    /// Keeps an object together with its type.
    pub(crate) fn new<T: Any + Send + Sync>(object: Arc<T>) -> Self {
        Self { kind: TypeId::of::<T>(), object }
    }

    /// The object, if it is a `T`.
    #[inline]
    pub(crate) fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        if self.kind != TypeId::of::<T>() {
            return None;
        }
        // SAFETY: `new` alone sets both members, from one `Arc<T>`, so that the object is a `T`; it lives as long as the
        // reference, which borrows `self`.
        Some(unsafe { &*Arc::as_ptr(&self.object).cast::<T>() })
    }

    /// A share in the object, if it is a `T`.
    pub(crate) fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.object).downcast().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_type_is_found() {
        let number = Arc::new(7_u64);
        let typed = Typed::new(Arc::clone(&number));
        assert_eq!(typed.get::<u64>(), Some(&7));
        assert_eq!(typed.get::<i64>(), None);
        assert!(Arc::ptr_eq(&typed.share::<u64>().unwrap(), &number));
        assert!(typed.share::<i64>().is_none());
        drop(typed);
        assert_eq!(Arc::strong_count(&number), 1);
    }
}
