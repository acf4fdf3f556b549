//! An object that goes out in parts.
//!
//! Owns the numbers and tags of its parts. Nothing is at the key before it is complete. What a killed daemon
//! began stays with the service as parts without a name until the bucket's own rules remove them.

use bytes::Bytes;
use ftl_core::s3;
use http::Method;
use http::header::ETAG;

use super::{Asked, Client, S3Error};

/// An object under way.
pub struct Upload<'a> {
    client: &'a Client,
    key: &'a str,
    id: String,
    tags: Vec<String>,
}

impl<'a> Upload<'a> {
    pub(super) async fn begin(client: &'a Client, key: &'a str) -> Result<Self, S3Error> {
        let asked = Asked { query: vec![("uploads", "")], ..Asked::new(Method::POST, key) };
        let (_, answer) = client.ask(&asked).await?;
        Ok(Self { client, key, id: s3::upload_id(&answer)?, tags: Vec::new() })
    }

    /// Sends the next part: 5 MiB at least, unless it is the last.
    ///
    /// # Errors
    /// When the service does not take it.
    pub async fn part(&mut self, body: Bytes) -> Result<(), S3Error> {
        let number = (self.tags.len() + 1).to_string();
        let query = vec![("partNumber", number.as_str()), ("uploadId", self.id.as_str())];
        let asked = Asked { query, body, ..Asked::new(Method::PUT, self.key) };
        let (headers, _) = self.client.ask(&asked).await?;
        let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        let good = |tag: &&str| !tag.contains(['<', '>', '&']);
        let tag = tag.filter(good).ok_or(S3Error::Nonsense("a part's answer without its tag"))?;
        self.tags.push(tag.to_owned());
        Ok(())
    }

    /// Makes the parts an object.
    ///
    /// # Errors
    /// When it may not be there.
    pub async fn complete(&self) -> Result<(), S3Error> {
        let parts =
            self.tags.iter().zip(1..).map(|(tag, number)| {
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
            });
        let body =
            format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>());
        let query = vec![("uploadId", self.id.as_str())];
        let asked = Asked { query, body: body.into(), ..Asked::new(Method::POST, self.key) };
        let done = self.client.until(async || {
            let answer = self.client.once(&asked).await?;
            let status = answer.status();
            let body = self.client.wire.read(answer, super::LONGEST_ANSWER).await?;
            // The head of the answer comes before the service knows how it ends.
            s3::fault(&body).map_or(Ok(()), |fault| Err(S3Error::refused(status, Some(fault), None)))
        });
        match done.await {
            // An attempt whose answer was lost has made the object, and the upload is gone.
            Err(S3Error::Refused { fault, .. })
                if fault.code == "NoSuchUpload" && self.client.has(self.key).await? =>
            {
                Ok(())
            }
            done => done,
        }
    }

    /// Forgets the parts.
    ///
    /// # Errors
    /// When they may still be there.
    pub async fn abort(&self) -> Result<(), S3Error> {
        let query = vec![("uploadId", self.id.as_str())];
        self.client.ask(&Asked { query, ..Asked::new(Method::DELETE, self.key) }).await.map(drop)
    }
}
