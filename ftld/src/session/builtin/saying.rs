//! What the agent says while it works.
//!
//! Owns that nothing waits for a listener that has gone. Must not know who listens.

use ftl_core::agent::{AgentEvent, MAX_NOTE};

use crate::session::turn::Telling;

/// The agent's voice.
#[derive(Clone)]
pub(super) struct Saying(Telling);

impl Saying {
    pub(super) fn new(tell: Telling) -> Self {
        Self(tell)
    }

    /// Says something.
    pub(super) async fn say(&self, event: AgentEvent) {
        self.0.say(event).await;
    }

    /// Says something for the human to know, cut to its longest.
    pub(super) async fn note(&self, text: &str) {
        // A character has at most four bytes.
        let text = text.chars().take(MAX_NOTE / 4).collect();
        self.say(AgentEvent::Note { text }).await;
    }
}
