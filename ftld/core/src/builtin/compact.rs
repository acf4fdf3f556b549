//! A conversation that becomes too long, or was interrupted.
//!
//! Owns what is shortened and in which order, and that every call keeps its result, which services insist on.
//! No model is asked for a summary: what is shortened can be read again from the files.
//!
//! The order: results of tools, the oldest first; then the texts in old calls; then whole answers with their
//! results. What the human said is never shortened, and neither are the newest messages.

use serde_json::Value;

use crate::llm::{Message, ToolCall, ToolResult};

/// Bytes that are taken for one token; a little less than usual, so that a limit is rather kept.
const BYTES_PER_TOKEN: u64 = 3;
/// Messages at the end that stay as they are.
const NEWEST: usize = 4;
/// Bytes of a text that is not worth shortening.
const SMALL: usize = 200;
/// What a message costs beside its texts, bytes.
const FRAME: u64 = 50;
/// What stands in a result's place.
const LEFT_OUT: &str = "[left out to save room; call the tool again if you need it]";
/// What an interrupted call is answered with.
const INTERRUPTED: &str = "the call was interrupted; whether it had an effect is not known";

/// How many tokens a conversation has, roughly.
#[must_use]
pub fn tokens(messages: &[Message]) -> u64 {
    messages.iter().map(size).sum::<u64>() / BYTES_PER_TOKEN
}

/// Shortens a conversation that has more than `most` tokens to about half of that, so that it is not done
/// again at once. Says whether anything was shortened.
pub fn compact(messages: &mut Vec<Message>, most: u64) -> bool {
    if tokens(messages) <= most {
        return false;
    }
    let (goal, mut is_shorter) = (most / 2, false);
    let old = messages.len().saturating_sub(NEWEST);
    for shorten in [shorten_results, shorten_calls] {
        for at in 0..old {
            if tokens(messages) <= goal {
                return is_shorter;
            }
            is_shorter |= messages.get_mut(at).is_some_and(shorten);
        }
    }
    let mut at = 0;
    while tokens(messages) > goal && at < messages.len().saturating_sub(NEWEST) {
        let is_pair =
            matches!(messages.get(at..at + 2), Some([Message::Assistant { .. }, Message::Results(_)]));
        // The first message after what goes must not be one of the newest' results.
        if is_pair && at + 2 <= messages.len().saturating_sub(NEWEST) {
            messages.drain(at..at + 2);
            is_shorter = true;
        } else {
            at += 1;
        }
    }
    is_shorter
}

/// Gives every call its result, after an interruption: a service refuses a conversation without.
pub fn mend(messages: &mut Vec<Message>) {
    let mut mended: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages.drain(..) {
        let open = open_calls(mended.last());
        match message {
            Message::Results(mut results) => {
                results.retain(|result| open.contains(&result.id));
                let missing = open.iter().filter(|id| !results.iter().any(|result| result.id == **id));
                let missing: Vec<_> = missing.map(|id| interrupted(id)).collect();
                results.extend(missing);
                if !results.is_empty() {
                    mended.push(Message::Results(results));
                }
            }
            other => {
                close(&mut mended, &open);
                mended.push(other);
            }
        }
    }
    let open = open_calls(mended.last());
    close(&mut mended, &open);
    *messages = mended;
}

fn open_calls(last: Option<&Message>) -> Vec<String> {
    match last {
        Some(Message::Assistant { calls, .. }) => calls.iter().map(|call| call.id.clone()).collect(),
        _ => Vec::new(),
    }
}

fn close(messages: &mut Vec<Message>, open: &[String]) {
    if !open.is_empty() {
        messages.push(Message::Results(open.iter().map(|id| interrupted(id)).collect()));
    }
}

fn interrupted(id: &str) -> ToolResult {
    ToolResult { id: id.to_owned(), text: INTERRUPTED.to_owned(), failed: true }
}

fn size(message: &Message) -> u64 {
    let bytes = match message {
        Message::User(text) => text.len(),
        Message::Assistant { text, calls } => {
            text.len()
                + calls.iter().map(|call| call.name.len() + call.input.to_string().len()).sum::<usize>()
        }
        Message::Results(results) => results.iter().map(|result| result.text.len()).sum(),
    };
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(FRAME)
}

fn shorten_results(message: &mut Message) -> bool {
    let Message::Results(results) = message else { return false };
    let mut is_shorter = false;
    for result in results.iter_mut().filter(|result| result.text.len() > SMALL) {
        LEFT_OUT.clone_into(&mut result.text);
        is_shorter = true;
    }
    is_shorter
}

fn shorten_calls(message: &mut Message) -> bool {
    let Message::Assistant { calls, .. } = message else { return false };
    let inputs = calls.iter_mut().filter_map(|ToolCall { input, .. }| input.as_object_mut());
    let mut is_shorter = false;
    for text in inputs.flat_map(|input| input.values_mut()) {
        let is_long = text.as_str().map_or_else(|| text.to_string().len(), str::len) > SMALL;
        if is_long {
            *text = Value::from(LEFT_OUT);
            is_shorter = true;
        }
    }
    is_shorter
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn call(id: &str, text: &str) -> Message {
        let call = ToolCall { id: id.to_owned(), name: "write".to_owned(), input: json!({"content": text}) };
        Message::Assistant { text: String::new(), calls: vec![call] }
    }

    fn result(id: &str, text: &str) -> Message {
        Message::Results(vec![ToolResult { id: id.to_owned(), text: text.to_owned(), failed: false }])
    }

    /// A task and so many calls with results.
    fn long(pairs: usize, input: usize, output: usize) -> Vec<Message> {
        let pair = |n: usize| {
            let id = format!("c{n}");
            [call(&id, &"i".repeat(input)), result(&id, &"o".repeat(output))]
        };
        std::iter::once(Message::User("the task".to_owned())).chain((0..pairs).flat_map(pair)).collect()
    }

    /// Whether every call has its result right after it, and no result is without a call.
    fn is_paired(messages: &[Message]) -> bool {
        let mut mended = messages.to_vec();
        mend(&mut mended);
        mended == messages
    }

    #[test]
    fn a_short_conversation_stays_as_it_is() {
        let mut messages = long(3, 10, 10);
        let before = messages.clone();
        assert!(!compact(&mut messages, 10_000));
        assert_eq!(messages, before);
    }

    #[test]
    fn results_go_first_then_calls_then_answers_and_the_task_stays() {
        let mut results = long(10, 10, 3000);
        assert!(compact(&mut results, 9000));
        assert_eq!(results.len(), 21);
        assert_eq!(results[2], result("c0", LEFT_OUT));
        assert_eq!(results[20], long(10, 10, 3000)[20], "the newest stays");
        let mut calls = long(10, 3000, 10);
        assert!(compact(&mut calls, 9000));
        assert_eq!((calls.len(), &calls[1]), (21, &call("c0", LEFT_OUT)));
        let mut many = long(500, 100, 100);
        assert!(compact(&mut many, 9000));
        assert!(tokens(&many) <= 4500 && many.len() < 500);
        assert_eq!(many[0], Message::User("the task".to_owned()));
    }

    #[test]
    fn an_interrupted_call_is_answered() {
        let mut messages = vec![Message::User("a".to_owned()), call("c", "x")];
        mend(&mut messages);
        assert_eq!(messages.len(), 3);
        let Message::Results(results) = &messages[2] else { panic!("{messages:?}") };
        assert!(results[0].failed && results[0].id == "c");
        let mut between = vec![call("c", "x"), Message::User("b".to_owned()), result("d", "no call")];
        mend(&mut between);
        assert!(matches!(&between[..], [Message::Assistant { .. }, Message::Results(_), Message::User(_)]));
    }

    proptest! {
        #[test]
        fn pairs_stay_pairs_and_it_gets_shorter(pairs in 0usize..40, input in 0usize..2000, output in 0usize..2000, most in 100u64..20_000) {
            let mut messages = long(pairs, input, output);
            let before = tokens(&messages);
            compact(&mut messages, most);
            prop_assert!(is_paired(&messages));
            prop_assert!(tokens(&messages) <= before);
            prop_assert_eq!(&messages[0], &Message::User("the task".to_owned()));
        }
    }
}
