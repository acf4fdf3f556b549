//! The human's bucket as a place of objects.
//!
//! Owns the names of objects and references in it and the form of their bytes: every object is one zstd frame.
//! Must not know which snapshots travel. All of it may have been changed by whoever else can write there.
//!
//! ```text
//! PREFIX/objects/<aa>/<hash>     a content, a listing, ignore rules, or what was not readable; by the hash of what is compressed
//! PREFIX/snapshots/<id>          a reference, written last
//! ```

use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use ftl_core::id::{Hash, SnapshotId};
use ftl_core::s3::{PART, part};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::s3::{Client, Download, S3Error, Upload};
use crate::snapshot::remote::{Ref, Remote, RemoteError};

/// A bucket. Calls block, and come from threads that may.
pub(super) struct Bucket {
    client: Arc<Client>,
    runtime: Handle,
}

/// A reference as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rules: Option<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unread: Option<Hash>,
    about: serde_json::Value,
}

const FORMAT: u32 = 1;
const OBJECTS: &str = "objects/";
const SNAPSHOTS: &str = "snapshots/";
/// Requests for single keys at the same time.
const AT_ONCE: usize = 16;
/// So few keys are asked for one by one.
const FEW: usize = 16;
/// Keys of one page of a listing.
const PAGE: usize = 1000;
/// A page costs about as much as so many keys asked for one by one.
const PAGE_COST: usize = 64;
/// References that are read at most, the bytes of one, and of all.
const MOST_REFS: usize = 100_000;
const LONGEST_REF: usize = 16 * 1024;
const LONGEST_REFS: usize = 64 << 20;
/// Characters of a snapshot's id.
const LONGEST_ID: usize = 64;
/// How objects are compressed. Level 3 keeps 2 MiB of what went before at hand; to read what others wrote
/// 8 MiB may be kept.
const LEVEL: i32 = 3;
const WINDOW_LOG: u32 = 23;
/// Bytes that may go in before the first comes out: several times the longest block.
const MOST_SILENT: usize = 1 << 20;
/// Beyond what compression takes away, a frame of so many bytes adds less than one 128th and this.
const FRAME: u64 = 1024;

impl Bucket {
    /// The client's bucket; requests run on `runtime`.
    pub(super) fn new(client: Client, runtime: Handle) -> Self {
        Self { client: Arc::new(client), runtime }
    }

    /// Asks for one key, so that what is wrong with the bucket or the key pair is said in the service's words.
    pub(super) fn try_out(&self) -> Result<(), RemoteError> {
        let prefix = self.key(SNAPSHOTS);
        self.wait("be asked", self.client.list(&prefix, "", 1)).map(drop)
    }

    fn key(&self, name: &str) -> String {
        self.client.location().key(name)
    }

    fn object(&self, hash: Hash) -> String {
        let hex = hash.to_hex();
        self.key(&format!("{OBJECTS}{}/{hex}", &hex[..2]))
    }

    fn wait<T>(
        &self,
        act: &'static str,
        work: impl Future<Output = Result<T, S3Error>>,
    ) -> Result<T, RemoteError> {
        self.runtime.block_on(work).map_err(|error| failed(act, error))
    }

    /// Which of these are there, each asked for.
    async fn each(&self, hashes: Vec<Hash>) -> Result<Vec<Hash>, S3Error> {
        let asked = futures_util::stream::iter(hashes).map(|hash| async move {
            let key = self.object(hash);
            Ok::<_, S3Error>(self.client.has(&key).await?.then_some(hash))
        });
        let found: Vec<Option<Hash>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Which of these are there: as many of them as pages are worth their cost from listings, the others one
    /// by one. `hashes` are sorted.
    async fn among(&self, hashes: &[Hash]) -> Result<HashSet<Hash>, S3Error> {
        let mut found = HashSet::new();
        let (Some(first), Some(last)) = (hashes.first(), hashes.last()) else { return Ok(found) };
        let (mut after, last) = (self.object(*first), self.object(*last));
        // What ends one character earlier stands right before.
        after.pop();
        let pages = if hashes.len() <= FEW { 0 } else { 1 + hashes.len() / PAGE_COST };
        let prefix = self.key(OBJECTS);
        for _ in 0..pages {
            let page = self.client.list(&prefix, &after, PAGE).await?;
            found.extend(page.keys.iter().filter_map(|key| hash_of(key)));
            match page.keys.last() {
                Some(key) if page.more && *key < last => after.clone_from(key),
                _ => return Ok(found),
            }
        }
        let unseen = hashes.iter().filter(|hash| self.object(**hash) > after).copied().collect();
        found.extend(self.each(unseen).await?);
        Ok(found)
    }

    /// Compresses and sends in parts what is too large for memory.
    fn put_large(&self, key: &str, size: u64, content: &mut dyn Read) -> Result<(), RemoteError> {
        let act = "keep an object";
        let most = part(size.saturating_add(size / 128 + FRAME));
        let length = most
            .ok_or_else(|| failed(act, S3Error::Nonsense("nothing: the file is too large for one object")))?;
        let unread = |error: io::Error| RemoteError::Failed { act: "be sent a file", source: error.into() };
        let mut encoder = zstd::stream::read::Encoder::new(content, LEVEL).map_err(unread)?;
        let mut next = || -> Result<Bytes, RemoteError> {
            let mut bytes = Vec::with_capacity(length);
            encoder.by_ref().take(length as u64).read_to_end(&mut bytes).map_err(unread)?;
            Ok(bytes.into())
        };
        let mut body = next()?;
        if body.len() < length {
            return self.wait(act, self.client.put(key, body));
        }
        let mut upload = self.wait(act, self.client.upload(key))?;
        let mut parts = |upload: &mut Upload<'_>| -> Result<(), RemoteError> {
            while !body.is_empty() {
                self.wait(act, upload.part(std::mem::take(&mut body)))?;
                body = next()?;
            }
            self.wait(act, upload.complete())
        };
        parts(&mut upload).inspect_err(|_| {
            // What fails here as well is left to the bucket's own rules.
            if let Err(error) = self.wait(act, upload.abort()) {
                tracing::warn!(%error, "parts of an object stay in the bucket");
            }
        })
    }

    /// A reference, unless it is none.
    async fn reference(&self, key: &str) -> Result<Option<Ref>, S3Error> {
        let Some(mut download) = self.client.get(key).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(piece) = download.next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LONGEST_REF {
                return Ok(None);
            }
        }
        let stored: Option<Stored> = serde_json::from_slice(&bytes).ok();
        let stored = stored.filter(|stored| stored.format == FORMAT);
        Ok(snapshot_of(key).zip(stored).map(|(snapshot, stored)| Ref {
            snapshot,
            rules: stored.rules,
            unread: stored.unread,
            about: stored.about.to_string().into_bytes(),
        }))
    }

    /// The references whose ids begin with a prefix, in the order of their ids. What is none is left out.
    pub(super) fn refs_of(&self, prefix: &str) -> Result<Vec<Ref>, RemoteError> {
        let prefix = self.key(&format!("{SNAPSHOTS}{prefix}"));
        let refs = self.wait("list its snapshots", async {
            let Some(keys) = self.ref_keys(&prefix).await? else { return Ok(None) };
            let mut read = futures_util::stream::iter(keys)
                .map(|key| async move {
                    let reference = self.reference(&key).await?;
                    if reference.is_none() {
                        tracing::warn!(key, "a reference in the bucket cannot be read");
                    }
                    Ok::<_, S3Error>(reference)
                })
                .buffered(AT_ONCE);
            let (mut refs, mut bytes) = (Vec::new(), 0);
            while let Some(reference) = read.try_next().await? {
                bytes += reference.as_ref().map_or(0, |reference| reference.about.len());
                if bytes > LONGEST_REFS {
                    return Ok(None);
                }
                refs.extend(reference);
            }
            Ok(Some(refs))
        })?;
        refs.ok_or(RemoteError::Crowded { most: MOST_REFS })
    }

    /// The keys of references that begin with a prefix, unless there are too many.
    async fn ref_keys(&self, prefix: &str) -> Result<Option<Vec<String>>, S3Error> {
        let (mut keys, mut after, mut seen) = (Vec::new(), String::new(), 0);
        loop {
            let page = self.client.list(prefix, &after, PAGE).await?;
            seen += page.keys.len();
            if seen > MOST_REFS {
                return Ok(None);
            }
            let last = page.keys.last().filter(|_| page.more).cloned();
            // Whoever makes up keys may make up long ones.
            let most = prefix.len() + LONGEST_ID;
            keys.extend(page.keys.into_iter().filter(|key| key.len() <= most && snapshot_of(key).is_some()));
            match last {
                Some(last) => after = last,
                None => return Ok(Some(keys)),
            }
        }
    }
}

impl Remote for Bucket {
    fn has(&self, hashes: &[Hash]) -> Result<Vec<bool>, RemoteError> {
        let mut sorted = hashes.to_vec();
        sorted.sort_unstable();
        let found = self.wait("say what it has", self.among(&sorted))?;
        Ok(hashes.iter().map(|hash| found.contains(hash)).collect())
    }

    fn put(&self, hash: Hash, size: u64, content: &mut dyn Read) -> Result<(), RemoteError> {
        let key = self.object(hash);
        if size > PART as u64 {
            return self.put_large(&key, size, content);
        }
        let unread = |error: io::Error| RemoteError::Failed { act: "be sent a file", source: error.into() };
        let body = zstd::stream::encode_all(content, LEVEL).map_err(unread)?;
        self.wait("keep an object", self.client.put(&key, body.into()))
    }

    fn get(&self, hash: Hash) -> Result<Box<dyn Read>, RemoteError> {
        let found = self.wait("hand out an object", self.client.get(&self.object(hash)))?;
        let download = found.ok_or(RemoteError::Missing { hash })?;
        let reading = Reading { runtime: self.runtime.clone(), download, piece: Bytes::new() };
        let broken =
            |error: io::Error| RemoteError::Failed { act: "hand out an object", source: error.into() };
        Ok(Box::new(Decoding::new(reading).map_err(broken)?))
    }

    fn list(&self, after: Option<Hash>, most: usize) -> Result<Vec<Hash>, RemoteError> {
        let prefix = self.key(OBJECTS);
        let mut after = after.map(|hash| self.object(hash)).unwrap_or_default();
        let mut hashes = Vec::new();
        while hashes.len() < most {
            let page = self.client.list(&prefix, &after, PAGE.min(most - hashes.len()));
            let page = self.wait("list its objects", page)?;
            hashes.extend(page.keys.iter().filter_map(|key| hash_of(key)));
            match page.keys.last() {
                Some(last) if page.more => after.clone_from(last),
                _ => break,
            }
        }
        Ok(hashes)
    }

    fn refs(&self) -> Result<Vec<Ref>, RemoteError> {
        self.refs_of("")
    }

    fn put_ref(&self, reference: &Ref) -> Result<(), RemoteError> {
        let act = "keep a reference";
        let unsaid = |error: serde_json::Error| RemoteError::Failed { act, source: error.into() };
        let about = serde_json::from_slice(&reference.about).map_err(unsaid)?;
        let stored = Stored { format: FORMAT, rules: reference.rules, unread: reference.unread, about };
        let body = serde_json::to_vec(&stored).map_err(unsaid)?;
        let key = self.key(&format!("{SNAPSHOTS}{}", reference.snapshot));
        self.wait(act, self.client.put(&key, body.into()))
    }
}

fn snapshot_of(key: &str) -> Option<SnapshotId> {
    key.rsplit('/').next().and_then(|id| id.parse().ok())
}

fn hash_of(key: &str) -> Option<Hash> {
    key.rsplit('/').next().and_then(|hash| hash.parse().ok())
}

fn failed(act: &'static str, error: S3Error) -> RemoteError {
    RemoteError::Failed { act, source: error.into() }
}

/// An object's bytes as they come.
struct Reading {
    runtime: Handle,
    download: Download,
    piece: Bytes,
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.download.next()).map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.piece.len());
        self.piece.copy_to_slice(into.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

/// What goes into a decoder, as long as something comes out.
struct Fed<R> {
    content: R,
    /// Bytes that went in since the last came out.
    silent: usize,
}

impl<R: Read> Read for Fed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.silent > MOST_SILENT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let read = self.content.read(into)?;
        self.silent += read;
        Ok(read)
    }
}

/// What was compressed. What is no frame is told from a connection that broke.
struct Decoding<R: Read>(zstd::stream::read::Decoder<'static, BufReader<Fed<R>>>);

impl<R: Read> Decoding<R> {
    fn new(content: R) -> io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::new(Fed { content, silent: 0 })?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(Self(decoder))
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into).map_err(|error| match error.get_ref() {
            Some(inner) if inner.is::<S3Error>() => error,
            _ => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        self.0.get_mut().get_mut().silent = 0;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a frame that holds nothing, and so many bytes of it.
    fn nothing(length: u32) -> Vec<u8> {
        [0x184D_2A50_u32.to_le_bytes(), length.to_le_bytes()].concat()
    }

    #[test]
    fn an_object_that_goes_on_and_holds_nothing_is_given_up() {
        let frame = zstd::stream::encode_all(&b"content"[..], LEVEL).unwrap();
        let whole = [&nothing(3)[..], b"xyz", &frame].concat();
        let mut read = Vec::new();
        Decoding::new(&*whole).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, b"content");

        let endless = Read::chain(io::Cursor::new(nothing(u32::MAX)), io::repeat(0).take(1 << 30));
        let mut endless = Decoding::new(endless).unwrap();
        assert_eq!(endless.read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // It was not read to its end.
        let left = endless.0.get_ref().get_ref().content.get_ref().1.limit();
        assert!(left > (1 << 30) - (8 << 20), "{left} bytes left");
    }
}
