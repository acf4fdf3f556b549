//! What an engine is asked about images: making, naming, finding, removing them.
//!
//! Owns the questions, and the reading of an engine's progress. Must not know what an image is for. Images
//! are made by the engine's own builder from a context that was put together here, or from a tar archive;
//! nothing is ever put into a container that ran.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use bollard::{body_full, body_try_stream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::containers::{filter, there};
use super::engine::{Engine, EngineError};

/// How much of an archive is read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// What an image is built from.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// What its Dockerfile may copy, with the Dockerfile.
    pub context: Context,
    /// The name that it gets, `repository:tag`.
    pub tag: String,
    /// Values for the `ARG`s of the Dockerfile. They are seen in the image's history: no secrets.
    pub args: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its steps have the network of the engine's machine; otherwise they have none.
    pub network: bool,
    /// Whether steps that were built before are built again.
    pub fresh: bool,
}

/// A tar archive with a `Dockerfile` and all that it copies, not compressed.
#[derive(Clone, Debug)]
pub enum Context {
    /// In memory.
    Bytes(Bytes),
    /// A file, which is sent piece by piece.
    File(PathBuf),
}

impl Default for Context {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl Engine {
    /// Builds an image and gives its id. `hear` is told every line of the builder.
    ///
    /// # Errors
    /// As every question, with the words of the step that failed; when there is no sign of life for
    /// [`super::engine::Patience::work`].
    pub async fn build(
        &self,
        build: Build,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<String, EngineError> {
        let args: HashMap<String, String> = build.args.into_iter().collect();
        let labels: HashMap<String, String> = build.labels.into_iter().collect();
        let options = BuildImageOptionsBuilder::new()
            .t(&build.tag)
            .rm(true)
            .forcerm(true)
            .nocache(build.fresh)
            .networkmode(if build.network { "host" } else { "none" })
            .buildargs(&args)
            .labels(&labels)
            .build();
        let docker = self.docker.clone().with_timeout(self.patience.work);
        let mut lines = Lines::default();
        let context = match build.context {
            Context::Bytes(bytes) => body_full(bytes),
            Context::File(path) => {
                let opened = File::open(&path).await;
                let file = opened.map_err(|source| EngineError::File { path, source })?;
                body_try_stream(stream::try_unfold(file, |mut file| async move {
                    let bytes = chunk(&mut file).await?;
                    Ok::<_, std::io::Error>((!bytes.is_empty()).then_some((bytes, file)))
                }))
            }
        };
        let mut building = Box::pin(docker.build_image(options, None, Some(context)));
        let mut id = None;
        while let Some(step) = self.next("build", &mut building).await? {
            id = step.aux.and_then(|image| image.id).or(id);
            if let Some(text) = step.stream {
                lines.feed(&text, hear);
            } else if let (Some(status), None) = (&step.status, &step.progress_detail) {
                hear(status);
            }
        }
        lines.end(hear);
        match id {
            Some(id) => Ok(id),
            None => self.id_of(&build.tag).await,
        }
    }

    /// Makes an image of a root directory's tar archive and gives its id. `hear` is told how many bytes
    /// were sent.
    ///
    /// # Errors
    /// As every question, and when the file cannot be read.
    pub async fn import(
        &self,
        archive: &Path,
        tag: &str,
        hear: &mut (dyn FnMut(u64) + Send),
    ) -> Result<String, EngineError> {
        let unreadable = |source| EngineError::File { path: archive.to_owned(), source };
        let mut file = File::open(archive).await.map_err(unreadable)?;
        // A directory is opened without an error and fails at the first read, in the middle of a request.
        let first = chunk(&mut file).await.map_err(unreadable)?;
        let (sent, mut arrived) = tokio::sync::watch::channel(0_u64);
        let body = stream::try_unfold((file, Some(first), sent), |(mut file, first, sent)| async move {
            let bytes = match first {
                Some(first) => first,
                None => chunk(&mut file).await?,
            };
            sent.send_modify(|total| *total += bytes.len() as u64);
            Ok::<_, std::io::Error>((!bytes.is_empty()).then_some((bytes, (file, None, sent))))
        });
        let (repository, version) = tag.rsplit_once(':').unwrap_or((tag, "latest"));
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(version).build();
        let docker = self.docker.clone().with_timeout(self.patience.work);
        let mut importing = Box::pin(docker.create_image(Some(options), Some(body_try_stream(body)), None));
        let mut made = None;
        loop {
            tokio::select! {
                answer = self.next("import", &mut importing) => match answer? {
                    Some(step) => made = [step.status, step.id].into_iter().flatten().find(|text| is_id(text)).or(made),
                    None => break,
                },
                Ok(()) = arrived.changed() => hear(*arrived.borrow_and_update()),
            }
        }
        // Podman gives it the name and not the version.
        if let Some(id) = made.filter(|_| tag.contains(':')) {
            self.tag(&id, tag).await?;
        }
        self.id_of(tag).await
    }

    /// Fetches an image from its registry and gives its id. `hear` is told every line.
    ///
    /// # Errors
    /// As every question, with the engine's words when it cannot reach the registry.
    pub async fn pull(&self, name: &str, hear: &mut (dyn FnMut(&str) + Send)) -> Result<String, EngineError> {
        let options = CreateImageOptionsBuilder::new().from_image(name).build();
        let docker = self.docker.clone().with_timeout(self.patience.work);
        let mut pulling = Box::pin(docker.create_image(Some(options), None, None));
        while let Some(step) = self.next("pull", &mut pulling).await? {
            // How far each layer is comes many times in a second.
            if let (Some(status), None) = (step.status, step.progress_detail.and_then(|detail| detail.total))
            {
                hear(&step.id.map_or(status.clone(), |id| format!("{id}: {status}")));
            }
        }
        self.id_of(name).await
    }

    /// Everything about an image, by name or id; `None` when there is none.
    ///
    /// # Errors
    /// As every question.
    pub async fn image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        there(self.ask("inspect an image", self.docker.inspect_image(name)).await)
    }

    /// The images that have all of these labels.
    ///
    /// # Errors
    /// As every question.
    pub async fn images(&self, labels: &[&str]) -> Result<Vec<ImageSummary>, EngineError> {
        let options = ListImagesOptionsBuilder::new().filters(&filter(labels)).build();
        self.ask("list images", self.docker.list_images(Some(options))).await
    }

    /// Gives an image one more name, `repository:tag`.
    ///
    /// # Errors
    /// As every question.
    pub async fn tag(&self, image: &str, name: &str) -> Result<(), EngineError> {
        let (repository, version) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = TagImageOptionsBuilder::new().repo(repository).tag(version).build();
        self.ask("name an image", self.docker.tag_image(image, Some(options))).await
    }

    /// Removes an image's name, and the image with its last one; one that is no more is left alone.
    ///
    /// # Errors
    /// As every question; [`EngineError::is_conflict`] while a container has it.
    pub async fn remove_image(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::new().force(false).noprune(false).build();
        let removed = self.ask("remove an image", self.docker.remove_image(name, Some(options), None)).await;
        there(removed).map(|_| ())
    }

    async fn id_of(&self, name: &str) -> Result<String, EngineError> {
        let image = self.image(name).await?.and_then(|image| image.id);
        image.ok_or_else(|| EngineError::Garbled {
            at: self.about().at.clone(),
            act: "inspect an image",
            reason: format!("the image {name} was made and is not there"),
        })
    }

    /// The next of an answer in parts.
    async fn next<T>(
        &self,
        act: &'static str,
        parts: &mut (impl Stream<Item = Result<T, bollard::errors::Error>> + Unpin),
    ) -> Result<Option<T>, EngineError> {
        self.ask_for(act, self.patience.work, async { parts.next().await.transpose() }).await
    }
}

/// Whether an engine's word is the id of an image.
fn is_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

async fn chunk(file: &mut File) -> std::io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(CHUNK);
    file.read_buf(&mut bytes).await?;
    Ok(bytes.freeze())
}

/// Makes lines of a builder's pieces.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn feed(&mut self, text: &str, hear: &mut (dyn FnMut(&str) + Send)) {
        self.0 += text;
        // What is drawn over itself is a new line too.
        while let Some(at) = self.0.find(['\n', '\r']) {
            let line: String = self.0.drain(..=at).collect();
            tell(&line, hear);
        }
        if self.0.len() > CHUNK {
            self.end(hear);
        }
    }

    fn end(&mut self, hear: &mut (dyn FnMut(&str) + Send)) {
        tell(&std::mem::take(&mut self.0), hear);
    }
}

/// Tells a line without what a builder puts in to colour it.
fn tell(line: &str, hear: &mut (dyn FnMut(&str) + Send)) {
    let mut pieces = line.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).map_or(piece.len(), |at| at + 1);
        plain += &piece[end..];
    }
    if !plain.trim().is_empty() {
        hear(plain.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builders_pieces_become_lines() {
        let (mut lines, mut heard) = (Lines::default(), Vec::new());
        let mut hear = |line: &str| heard.push(line.to_owned());
        for piece in
            ["Step 1", "/2 : FROM x", "\n", "\r\n10%\r20%\r\n\x1b[91mred\x1b[0m\n\x1b[0m ---> id", ""]
        {
            lines.feed(piece, &mut hear);
        }
        lines.end(&mut hear);
        assert_eq!(heard, ["Step 1/2 : FROM x", "10%", "20%", "red", " ---> id"]);
    }
}
