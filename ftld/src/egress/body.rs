//! Bodies on their way through.
//!
//! Owns what every body passes, frame by frame and never as a whole: counting, the search for values, the
//! limits of time and volume, the cut when it is no longer allowed. A frame is taken from one side when the
//! other side wants one, so whoever is slower sets the pace. Must not know where bodies come from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ftl_core::egress::packed::Beginning;
use ftl_core::scrub::Scrubber;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::NowUs;
use super::guard::End;
use super::headers;
use super::limits::Volume;
use super::live::Underway;
use super::upstream::{BodyError, Outgoing};

/// The body of an answer to the sandbox. An error in it breaks the answer off.
pub(super) type Reply = Outgoing;

/// Why a body ends early.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Cut {
    /// Nothing came for too long.
    #[error("the body stands still")]
    Idle,
    /// The rule or credential is gone, or the session has ended.
    #[error("the request is no longer allowed")]
    Revoked,
    /// More leaves than may.
    #[error("the session sends too much")]
    TooMuch,
    /// The answer cannot be searched.
    #[error("the answer is compressed although it was not to be")]
    Packed,
}

/// A body on its way.
pub(super) struct Carried<B> {
    inner: B,
    underway: Arc<Underway>,
    way: Way,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether something came since the timer was set.
    moved: bool,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// Which way a body goes.
pub(super) enum Way {
    /// To the host; what may leave is limited.
    Up(Arc<Volume>, NowUs),
    /// To the sandbox; searched for values when the host is one of a credential.
    Down(Option<Searched>),
}

/// What searches a body.
pub(super) struct Searched {
    scrubber: Scrubber,
    beginning: Beginning,
}

impl Searched {
    /// Searches a body of this type.
    pub(super) fn new(scrubber: Scrubber, content_type: Option<&str>) -> Self {
        Self { scrubber, beginning: Beginning::new(content_type) }
    }
}

/// No body.
pub(super) fn empty() -> Reply {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is there as a whole.
pub(super) fn full(body: impl Into<Bytes>) -> Reply {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Reads a body as a whole; `None` when it is longer than `most` bytes or breaks off.
pub(super) async fn collect<B>(body: B, most: usize) -> Option<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    Some(Limited::new(body, most).collect().await.ok()?.to_bytes())
}

impl<B: Body<Data = Bytes> + Unpin> Carried<B> {
    /// Carries a body one way.
    pub(super) fn new(inner: B, underway: Arc<Underway>, way: Way, idle: Duration) -> Self {
        let ended = inner.is_end_stream();
        if ended && matches!(way, Way::Down(_)) {
            underway.finish(End::Whole);
        }
        Self {
            revoked: Box::pin(underway.token().clone().cancelled_owned()),
            timer: Box::pin(tokio::time::sleep(idle)),
            inner,
            underway,
            way,
            idle,
            moved: false,
            trailers: None,
            ended,
        }
    }

    /// Takes a frame's data; what is left of it now.
    fn pass(&mut self, data: Bytes) -> Result<Bytes, Cut> {
        let last = self.inner.is_end_stream();
        match &mut self.way {
            Way::Up(volume, now_us) => {
                self.underway.add_up(data.len());
                match volume.take(data.len() as u64, now_us()) {
                    true => Ok(data),
                    false => Err(Cut::TooMuch),
                }
            }
            Way::Down(None) => {
                self.underway.add_down(data.len());
                self.note_end(last);
                Ok(data)
            }
            Way::Down(Some(Searched { scrubber, beginning })) => {
                if beginning.is_packed(&data) {
                    return Err(Cut::Packed);
                }
                let mut out = Vec::with_capacity(data.len());
                scrubber.push(&data, &mut out);
                if last {
                    scrubber.finish(&mut out);
                }
                self.underway.add_down(out.len());
                self.note_end(last);
                Ok(out.into())
            }
        }
    }

    /// The body is over: what the search had held back.
    fn end(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let Way::Down(Some(Searched { scrubber, .. })) = &mut self.way {
            scrubber.finish(&mut out);
            self.underway.add_down(out.len());
        }
        self.note_end(true);
        out.into()
    }

    /// Servers do not ask for more once they have as much as was announced, so the end is noted with the
    /// last frame.
    fn note_end(&mut self, last: bool) {
        if last {
            self.ended = true;
            if matches!(self.way, Way::Down(_)) {
                self.underway.finish(End::Whole);
            }
        }
    }

    /// Whether the body has to be cut while nothing comes.
    fn waits_in_vain(&mut self, cx: &mut Context<'_>) -> Option<Cut> {
        if self.revoked.as_mut().poll(cx).is_ready() {
            return Some(Cut::Revoked);
        }
        if std::mem::take(&mut self.moved) {
            let deadline = Instant::now() + self.idle;
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx).is_ready().then_some(Cut::Idle)
    }

    /// Cuts the body. What the search held back is not let go.
    fn cut(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.ended = true;
        self.underway.finish(if cut == Cut::Revoked { End::Revoked } else { End::Broken });
        Poll::Ready(Some(Err(cut.into())))
    }
}

impl<B> Body for Carried<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            if this.underway.token().is_cancelled() {
                return this.cut(Cut::Revoked);
            }
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending => match this.waits_in_vain(cx) {
                    Some(cut) => return this.cut(cut),
                    None => return Poll::Pending,
                },
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    this.ended = true;
                    this.underway.finish(End::Broken);
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => {
                    let rest = this.end();
                    match rest.is_empty() {
                        true => return Poll::Ready(None),
                        false => return Poll::Ready(Some(Ok(Frame::data(rest)))),
                    }
                }
            };
            this.moved = true;
            match frame.into_data() {
                Ok(data) => match this.pass(data) {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(cut) => return this.cut(cut),
                },
                Err(frame) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    headers::prepare_trailers(&mut trailers);
                    if let Way::Down(Some(Searched { scrubber, .. })) = &this.way {
                        scrubber.headers(&mut trailers);
                    }
                    this.trailers = Some(trailers);
                    let rest = this.end();
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.way {
            Way::Down(Some(searched)) if !searched.scrubber.preserves_length() => SizeHint::default(),
            _ => self.inner.size_hint(),
        }
    }
}
