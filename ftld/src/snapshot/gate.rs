//! Who relies on what the store holds, while it may be cleaned.
//!
//! Owns the exclusion: a lease is held from before a content is looked for until what needs it is recorded;
//! a collection decides what goes only while nobody holds one. Leases do not wait for each other, nor for a
//! collection that itself still waits, so that one holder may take another.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The gate of a store; copies are the same gate.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    leases: usize,
    closed: bool,
}

/// As long as it lives, nothing that is in the store is decided to go.
#[derive(Debug)]
pub struct Lease(Arc<Shared>);

/// As long as it lives, nobody relies on anything.
pub(super) struct Closed(Arc<Shared>);

impl Gate {
    /// A lease. Waits while a collection decides.
    pub(super) fn lease(&self) -> Lease {
        let mut state = self.0.wait(|state| state.closed);
        state.leases += 1;
        Lease(Arc::clone(&self.0))
    }

    /// Keeps everyone out. Waits for all leases.
    pub(super) fn close(&self) -> Closed {
        let mut state = self.0.wait(|state| state.closed || state.leases > 0);
        state.closed = true;
        Closed(Arc::clone(&self.0))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, mut while_: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), |state| while_(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.lock().leases -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.lock().closed = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_collection_waits_for_leases_and_leases_for_it() {
        let (gate, ended) = (Gate::default(), AtomicBool::new(false));
        let first = gate.lease();
        let nested = gate.lease();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _closed = gate.close();
                assert!(ended.load(Ordering::SeqCst));
            });
            drop(first);
            ended.store(true, Ordering::SeqCst);
            drop(nested);
        });
        let closed = gate.close();
        let open = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _lease = gate.lease();
                assert!(open.load(Ordering::SeqCst));
            });
            open.store(true, Ordering::SeqCst);
            drop(closed);
        });
    }
}
