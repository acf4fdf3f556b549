//! What agents say, and what projects ask for.
//!
//! Owns what must hold for them. Must not know processes or files.

use ftl_core::agent::{
    AgentEvent, AiderStream, ClaudeStream, CodexStream, GeminiStream, LineParser, MAX_DETAIL, MAX_ID,
    MAX_NOTE, OpencodeStream, Spent, Stream,
};
use ftl_core::config::{ConfigError, Limits, ProjectConfig, UserConfig, effective, widening};

use crate::pieces::{cut, first};

/// Cuts make no difference, and everything that is kept or becomes an argument is short and plain.
pub(crate) fn agents(input: &[u8]) {
    let (control, rest) = first(input);
    let (bytes, pieces) = cut(rest);
    let before = Spent { input_tokens: 5, output_tokens: 1, cost_micro_usd: 5 };
    let both = |read: &dyn Fn(&[&[u8]]) -> Vec<AgentEvent>| (read(&[bytes]), read(&pieces));
    let (whole, cut) = match control % 5 {
        0 => both(&|input| events(ClaudeStream::new(before), input)),
        1 => both(&|input| events(CodexStream::new(before), input)),
        2 => both(&|input| events(OpencodeStream::new(), input)),
        3 => both(&|input| events(GeminiStream::new(), input)),
        _ => both(&|input| events(AiderStream::new(), input)),
    };
    assert_eq!(whole, cut);
    for event in &whole {
        match event {
            AgentEvent::Note { text } => assert!(text.len() <= MAX_NOTE),
            AgentEvent::ToolStarted { id, name, detail } => {
                assert!(id.len() <= MAX_ID && detail.chars().count() <= MAX_DETAIL, "{event:?}");
                assert!(name.len() <= 4 * MAX_DETAIL, "{event:?}");
            }
            AgentEvent::ToolFinished { id, .. } => assert!(id.len() <= MAX_ID),
            AgentEvent::Conversation { id } => {
                assert!(!id.is_empty() && id.len() <= MAX_ID && !id.starts_with('-'), "{id}");
                assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{id}");
            }
            AgentEvent::Text { .. } | AgentEvent::Usage { .. } | AgentEvent::Finished { .. } => {}
        }
    }
    // Nothing is made up: what is told is at most a little more than what came.
    let told: usize = whole.iter().map(|event| format!("{event:?}").len()).sum();
    assert!(told <= 64 * (bytes.len() + 64), "{told} bytes of {}", bytes.len());
}

fn events(parser: impl LineParser, pieces: &[&[u8]]) -> Vec<AgentEvent> {
    let mut stream = Stream::new(parser);
    let mut events: Vec<_> = pieces.iter().flat_map(|piece| stream.push(piece)).collect();
    events.extend(stream.end());
    events
}

/// A project that is not trusted widens nothing, and an error names a place in the text. The first line is
/// the human's configuration, the others are the project's.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or(("{}", text));
    let user = UserConfig::parse(first).inspect_err(|error| placed(error, first)).unwrap_or_default();
    let project = match ProjectConfig::parse(rest) {
        Ok(project) => project,
        Err(error) => return placed(&error, rest),
    };
    let alone = effective(&user, None);
    let settings = effective(&user, Some((project.clone(), false)));
    assert!(settings.limits.within(Limits::default().with(user.limits)), "{settings:?}");
    assert!(settings.egress.is_empty() && settings.agent_env.is_empty() && settings.shadow_env.is_empty());
    assert_eq!(
        (&settings.command, &settings.agents, &settings.tool_dirs),
        (&alone.command, &alone.agents, &alone.tool_dirs)
    );
    assert!(user.agent.is_none() || settings.agent == alone.agent);
    assert!(settings.refused.is_empty(), "{:?}", settings.refused);
    assert_eq!(settings.inert, widening(&project, &user));
    // Without what it may not, it is as if it were trusted.
    let trusted = effective(&user, Some((project.clone(), true)));
    assert!(!settings.inert.is_empty() || settings == trusted);
    assert!(trusted.egress == project.egress && trusted.inert.is_empty());
}

fn placed(error: &ConfigError, text: &str) {
    let (ConfigError::Syntax { at, .. }
    | ConfigError::Unknown { at, .. }
    | ConfigError::Duplicate { at, .. }
    | ConfigError::WrongType { at, .. }
    | ConfigError::BadValue { at, .. }) = error;
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&at.line), "{error} of {lines} lines");
    let line = text.split('\n').nth(at.line - 1).unwrap();
    assert!(at.column <= line.chars().count() + 1, "{error} in {line:?}");
    assert!(error.to_string().chars().all(|c| !c.is_control()), "{error}");
}
