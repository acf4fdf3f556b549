//! Sending: only what the other side does not have.
//!
//! Owns what is asked for and the order of sending. A listing that the other side has is not looked into: it
//! was sent after all that it names. Whoever doubts that asks for everything to be looked for.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use ftl_core::id::Hash;
use ftl_core::tree::{Named, named};

use super::super::store::LocalStore;
use super::super::{SnapshotError, io_error};
use super::{Journey, Ref, Remote, RemoteError, Told, Travelled, at_once, contents_of, ordered};

/// Objects that are asked for at once.
const ASKED: usize = 1000;

/// Sends a snapshot and what is noted beside it, then the reference to it. With `verify` every object of it is looked
/// for, otherwise none beneath a listing that is there.
///
/// # Errors
/// When an object is not in the store, or the remote refuses one; the reference is not kept then.
pub fn push(
    store: &LocalStore,
    remote: &dyn Remote,
    reference: &Ref,
    verify: bool,
    told: &Told<'_>,
) -> Result<Travelled, RemoteError> {
    let _lease = store.lease();
    let root = reference.snapshot.0;
    let all = read_all(store, root)?;
    let order = ordered(root, &all)?;
    let total = order.len() + contents_of(all.values()).len();
    let journey = Journey::new(told);
    let missing = if verify { absent(remote, &order)? } else { missing_listings(remote, root, &all)? };
    let asked = order.iter().filter(|hash| verify || missing.contains(hash));
    let contents = contents_of(asked.filter_map(|hash| all.get(hash)));
    let contents: Vec<Hash> = contents.into_iter().map(|(hash, _)| hash).collect();
    let mut contents: Vec<Hash> = absent(remote, &contents)?.into_iter().collect();
    contents.sort_unstable();
    journey.expect(contents.len() + missing.len());
    journey.tell(Default::default())?;
    at_once(&contents, &|hash| send(store, remote, *hash, &journey))?;
    for layer in layers(&order, &missing, &all) {
        at_once(&layer, &|hash| send(store, remote, *hash, &journey))?;
    }
    let rules = Some(send_note(remote, &store.rules_bytes(reference.snapshot)?)?);
    let unread = store.unread_bytes(reference.snapshot)?;
    let unread = unread.map(|unread| send_note(remote, &unread)).transpose()?;
    remote.put_ref(&Ref { rules, unread, ..reference.clone() })?;
    Ok(journey.end(total))
}

/// Sends what is noted beside a snapshot.
fn send_note(remote: &dyn Remote, bytes: &[u8]) -> Result<Hash, RemoteError> {
    let hash = Hash::of(bytes);
    if !remote.has(&[hash])?.first().is_some_and(|has| *has) {
        remote.put(hash, bytes.len() as u64, &mut &*bytes)?;
    }
    Ok(hash)
}

/// What each listing of a snapshot names.
fn read_all(store: &LocalStore, root: Hash) -> Result<HashMap<Hash, Named>, RemoteError> {
    let mut all = HashMap::new();
    let mut waiting = vec![root];
    while let Some(hash) = waiting.pop() {
        if let Entry::Vacant(place) = all.entry(hash) {
            let named = named(&store.listing(hash)?).map_err(SnapshotError::from)?;
            waiting.extend(&named.listings);
            place.insert(named);
        }
    }
    Ok(all)
}

/// Those that are not there.
fn absent(remote: &dyn Remote, hashes: &[Hash]) -> Result<HashSet<Hash>, RemoteError> {
    let mut absent = HashSet::new();
    for some in hashes.chunks(ASKED) {
        let known = remote.has(some)?;
        absent.extend(some.iter().zip(known).filter(|(_, known)| !known).map(|(hash, _)| *hash));
    }
    Ok(absent)
}

/// The listings that are not there, from the root on. One that is there is not looked into.
fn missing_listings(
    remote: &dyn Remote,
    root: Hash,
    all: &HashMap<Hash, Named>,
) -> Result<HashSet<Hash>, RemoteError> {
    let (mut missing, mut asked) = (HashSet::new(), HashSet::from([root]));
    let mut level = vec![root];
    while !level.is_empty() {
        let absent = absent(remote, &level)?;
        let inner = absent.iter().filter_map(|hash| all.get(hash)).flat_map(|named| &named.listings);
        level = inner.copied().filter(|hash| asked.insert(*hash)).collect();
        missing.extend(absent);
    }
    Ok(missing)
}

/// The missing listings in groups: those of one name only such of earlier ones.
fn layers(order: &[Hash], missing: &HashSet<Hash>, all: &HashMap<Hash, Named>) -> Vec<Vec<Hash>> {
    let mut heights: HashMap<Hash, usize> = HashMap::new();
    let mut layers: Vec<Vec<Hash>> = Vec::new();
    for hash in order.iter().filter(|hash| missing.contains(hash)) {
        let inner = all.get(hash).into_iter().flat_map(|named| &named.listings);
        let height = inner.filter_map(|inner| heights.get(inner)).max().map_or(0, |height| height + 1);
        heights.insert(*hash, height);
        if layers.len() <= height {
            layers.push(Vec::new());
        }
        if let Some(layer) = layers.get_mut(height) {
            layer.push(*hash);
        }
    }
    layers
}

fn send(
    store: &LocalStore,
    remote: &dyn Remote,
    hash: Hash,
    journey: &Journey<'_>,
) -> Result<(), RemoteError> {
    let content = store.open_blob(hash)?;
    // A large file is read here for the first time since it was stored: what is damaged must not get its name.
    if !content.is(hash).map_err(io_error("read", store.blobs.path(hash)))? {
        store.blobs.set_aside(hash)?;
        return Err(SnapshotError::Damaged { hash }.into());
    }
    let size = content.size().map_err(io_error("read", store.blobs.path(hash)))?;
    remote.put(hash, size, &mut journey.watch(content)).map_err(|error| journey.why(error))?;
    journey.add(size)
}
