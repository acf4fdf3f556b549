//! The codecs on streams as services send them, and on hostile ones.

use serde_json::json;

use super::name::ModelName;
use super::*;

fn read(api: Api, pieces: &[&[u8]]) -> (Vec<Event>, Result<(), StreamError>) {
    let (mut decoder, mut events) = (Decoder::new(api), Vec::new());
    for piece in pieces {
        if let Err(error) = decoder.push(piece, &mut events) {
            return (events, Err(error));
        }
    }
    let ended = decoder.end(&mut events);
    (events, ended)
}

/// A stream of these events.
fn stream(events: &[Value]) -> Vec<u8> {
    let event = |event: &Value| format!("event: x\ndata: {event}\n\n");
    events.iter().map(event).collect::<String>().into_bytes()
}

fn used(input: u64, output: u64) -> Event {
    Event::Usage(Usage { input, output, cache_written: false })
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn messages() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": [],
            "usage": {"input_tokens": 25, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "It re"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "naïve"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": "{\"path\": "}}),
        json!({"type": "content_block_delta", "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": "\"a\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 15}}),
        json!({"type": "something_new", "index": {}}),
        json!({"type": "message_stop"}),
    ]
}

fn chunk(delta: Value, reason: Option<&str>) -> Value {
    json!({"id": "c1", "object": "chat.completion.chunk",
           "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
}

fn chat() -> Vec<u8> {
    let mut bytes = stream(&[
        chunk(json!({"role": "assistant", "content": ""}), None),
        chunk(json!({"content": "It "}), None),
        chunk(json!({"content": "renames"}), None),
        chunk(
            json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                "function": {"name": "read", "arguments": ""}}]}),
            None,
        ),
        chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"path\":"}}]}), None),
        chunk(
            json!({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "list", "arguments": ""}},
                {"index": 0, "function": {"arguments": "\"a\"}"}}]}),
            None,
        ),
        chunk(json!({}), Some("tool_calls")),
        json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}),
    ]);
    bytes.extend_from_slice(b"data: [DONE]\n\n");
    bytes
}

fn called(id: &str, name: &str, input: Value) -> Event {
    Event::ToolCall(ToolCall { id: id.into(), name: name.into(), input })
}

#[test]
fn an_answer_of_messages_is_read_however_it_is_cut() {
    let bytes = stream(&messages());
    let expected = vec![
        text("It re"),
        text("naïve"),
        called("toolu_1", "read", json!({"path": "a"})),
        used(25, 15),
        Event::End(End::Tools),
    ];
    assert_eq!(read(Api::Anthropic, &[&bytes]), (expected.clone(), Ok(())));
    for size in [1, 2, 7, 64] {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(read(Api::Anthropic, &pieces), (expected.clone(), Ok(())), "{size}");
    }
}

#[test]
fn an_answer_of_chat_completions_is_read_however_it_is_cut() {
    let bytes = chat();
    let expected = vec![
        text("It "),
        text("renames"),
        called("call_1", "read", json!({"path": "a"})),
        called("call_2", "list", json!({})),
        used(9, 4),
        Event::End(End::Tools),
    ];
    for size in [1, 3, 50, bytes.len()] {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(read(Api::Chat, &pieces), (expected.clone(), Ok(())), "{size}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let all = messages();
    for length in 0..all.len() {
        let (_, ended) = read(Api::Anthropic, &[&stream(&all[..length])]);
        assert_eq!(ended, Err(StreamError::Cut), "{length}");
    }
    // Some services do not say `[DONE]`: then the reason of the end is the end.
    let spoken = [chunk(json!({"content": "a"}), None), chunk(json!({}), Some("stop"))];
    let (events, ended) = read(Api::Chat, &[&stream(&spoken)]);
    assert_eq!((events, ended), (vec![text("a"), Event::End(End::Done)], Ok(())));
    assert_eq!(read(Api::Chat, &[&stream(&spoken[..1])]).1, Err(StreamError::Cut));
    assert_eq!(read(Api::Chat, &[b"data: [DONE]\n\n"]).1, Err(StreamError::Cut));
}

#[test]
fn every_reason_of_an_end_is_told_from_a_good_one() {
    let stop = |reason: &str| {
        let events = [
            json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}}),
            json!({"type": "message_stop"}),
        ];
        read(Api::Anthropic, &[&stream(&events)]).0.pop()
    };
    let table = [
        ("end_turn", "stop", End::Done),
        ("max_tokens", "length", End::Length),
        ("refusal", "content_filter", End::Refused),
        ("pause_turn", "odd", End::Unknown),
    ];
    for (ours, theirs, end) in table {
        assert_eq!(stop(ours), Some(Event::End(end)), "{ours}");
        let events = read(Api::Chat, &[&stream(&[chunk(json!({}), Some(theirs))])]).0;
        assert_eq!(events, [Event::End(end)], "{theirs}");
    }
    let refusal = [chunk(json!({"refusal": "no"}), None), chunk(json!({}), Some("stop"))];
    assert_eq!(read(Api::Chat, &[&stream(&refusal)]).0, [text("no"), Event::End(End::Refused)]);
}

#[test]
fn what_a_service_says_of_its_failure_is_plain_and_short() {
    let failure =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Over\u{1b}[2Jloaded"}});
    let said = StreamError::Said { status: 529, message: "Over [2Jloaded".into() };
    assert_eq!(read(Api::Anthropic, &[&stream(&[failure])]).1, Err(said));
    let failure = json!({"error": {"code": 429, "message": "slow down"}});
    let said = StreamError::Said { status: 429, message: "slow down".into() };
    assert_eq!(read(Api::Chat, &[&stream(&[failure])]).1, Err(said));
    assert_eq!(fault(br#"{"error": {"message": "no such model"}}"#), "no such model");
    assert_eq!(fault(br#"{"error": "model not found"}"#), "model not found");
    assert_eq!(fault(br#"[{"error": {"message": "bad key"}}]"#), "bad key");
    assert_eq!(fault(b"<html>"), "");
    assert_eq!(fault(json!({"message": "x".repeat(5000)}).to_string().as_bytes()).len(), LONGEST_MESSAGE);
}

#[test]
fn nonsense_is_refused_and_nothing_is_read_after_it() {
    let table: [(Api, &[u8]); 5] = [
        (Api::Anthropic, b"data: {\n\n"),
        (Api::Anthropic, b"data: {\"type\":\"message_stop\"}\n\n"),
        (Api::Chat, b"data: nonsense\n\n"),
        (Api::Chat, b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"x\",\"arguments\":\"[\"}}]},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"),
        (Api::Anthropic, b"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"name\":\"\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"),
    ];
    for (api, bytes) in table {
        let (events, ended) = read(api, &[bytes]);
        assert!(matches!(ended, Err(StreamError::Malformed(_))), "{ended:?}");
        assert!(events.is_empty());
    }
    let mut decoder = Decoder::new(Api::Chat);
    assert!(decoder.push(b"data: x\n\n", &mut Vec::new()).is_err());
    let mut events = Vec::new();
    decoder.push(&chat(), &mut events).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn an_answer_without_end_is_given_up() {
    let mut decoder = Decoder::new(Api::Chat);
    let piece = stream(&[chunk(json!({"content": "x".repeat(500_000)}), None)]);
    let mut ended = Ok(());
    for _ in 0..100 {
        ended = decoder.push(&piece, &mut Vec::new());
        if ended.is_err() {
            break;
        }
    }
    assert_eq!(ended, Err(StreamError::TooLong));
}

#[test]
fn requests_say_what_was_said() {
    let conversation = Conversation {
        system: "be short".into(),
        messages: vec![
            Message::User("read it".into()),
            Message::Assistant {
                text: String::new(),
                calls: vec![ToolCall { id: "1".into(), name: "read".into(), input: json!({"path": "a"}) }],
            },
            Message::Results(vec![ToolResult { id: "1".into(), text: "gone".into(), failed: true }]),
        ],
        tools: vec![Tool {
            name: "read".into(),
            description: "reads".into(),
            schema: json!({"type": "object"}),
        }],
        max_tokens: 7,
    };
    let endpoint = |name: &str| ModelName::parse(name).unwrap().endpoint(&Default::default()).unwrap();
    let body = request(&endpoint("anthropic/claude-x"), &conversation);
    assert_eq!(
        body,
        json!({
            "model": "claude-x", "max_tokens": 7, "stream": true, "system": "be short",
            "messages": [
                {"role": "user", "content": "read it"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "read", "input": {"path": "a"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "1", "content": "gone", "is_error": true}]},
            ],
            "tools": [{"name": "read", "description": "reads", "input_schema": {"type": "object"}}],
        })
    );
    let body = request(&endpoint("openai/gpt-x"), &conversation);
    assert_eq!(
        body,
        json!({
            "model": "gpt-x", "max_completion_tokens": 7, "stream": true, "stream_options": {"include_usage": true},
            "messages": [
                {"role": "system", "content": "be short"},
                {"role": "user", "content": "read it"},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "read", "arguments": "{\"path\":\"a\"}"}}]},
                {"role": "tool", "tool_call_id": "1", "content": "gone"},
            ],
            "tools": [{"type": "function", "function":
                {"name": "read", "description": "reads", "parameters": {"type": "object"}}}],
        })
    );
    assert_eq!(request(&endpoint("ollama/x"), &conversation)["max_tokens"], 7);
}

#[test]
fn what_a_cache_took_is_counted() {
    let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 2, "output_tokens": 1});
    let events = [
        json!({"type": "message_start", "message": {"usage": usage}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        json!({"type": "message_stop"}),
    ];
    let (events, _) = read(Api::Anthropic, &[&stream(&events)]);
    assert_eq!(events[0], Event::Usage(Usage { input: 14, output: 1, cache_written: true }));
}

fn converse(events: &[(&str, Value)]) -> Vec<u8> {
    let event = |(kind, value): &(&str, Value)| {
        let headers =
            [(":event-type", *kind), (":content-type", "application/json"), (":message-type", "event")];
        framed::tests::written(&headers, value.to_string().as_bytes())
    };
    events.iter().flat_map(event).collect()
}

#[test]
fn bedrocks_stream_is_read_and_its_failures_are_told() {
    let said = [
        ("messageStart", json!({"role": "assistant"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": "It renames."}})),
        ("contentBlockStop", json!({"contentBlockIndex": 1})),
        ("messageStop", json!({"stopReason": "end_turn"})),
    ];
    let end = ("metadata", json!({"usage": {"inputTokens": 25, "outputTokens": 15}}));
    let whole = converse(&[&said[..], &[end]].concat());
    let expected = vec![text("It renames."), used(25, 15), Event::End(End::Done)];
    for cut in 0..whole.len() {
        let (events, ended) = read(Api::Bedrock, &[&whole[..cut], &whole[cut..]]);
        assert_eq!((events, ended), (expected.clone(), Ok(())));
    }
    let (events, ended) = read(Api::Bedrock, &[&converse(&said)]);
    assert_eq!((events.last(), ended), (Some(&Event::End(End::Done)), Ok(())), "without what was used");
    let (_, ended) = read(Api::Bedrock, &[&converse(&said[..3])]);
    assert_eq!(ended, Err(StreamError::Cut));
    let headers = [(":exception-type", "throttlingException"), (":message-type", "exception")];
    let fails = framed::tests::written(&headers, br#"{"message": "slow down"}"#);
    let (_, ended) = read(Api::Bedrock, &[&fails]);
    assert_eq!(ended, Err(StreamError::Said { status: 429, message: "slow down".into() }));
    let headers = [(":error-code", "internal"), (":error-message", "oh"), (":message-type", "error")];
    let (_, ended) = read(Api::Bedrock, &[&framed::tests::written(&headers, b"")]);
    assert_eq!(ended, Err(StreamError::Said { status: 500, message: "oh".into() }));
}

#[test]
fn a_conversation_for_bedrock_names_no_model_in_its_body() {
    let name = ModelName::parse("bedrock/us.amazon.nova-pro-v1:0").unwrap();
    let endpoint = name.endpoint(&Default::default()).unwrap();
    assert_eq!(endpoint.path(), "/model/us%2Eamazon%2Enova%2Dpro%2Dv1%3A0/converse-stream");
    assert_eq!(endpoint.region(), "us-east-1");
    let result = ToolResult { id: "t1".into(), text: String::new(), failed: true };
    let call = ToolCall { id: "t1".into(), name: "read".into(), input: json!({"path": "a"}) };
    let conversation = Conversation {
        system: "Be short.".into(),
        messages: vec![
            Message::User("why?".into()),
            Message::Assistant { text: String::new(), calls: vec![call] },
            Message::Results(vec![result]),
        ],
        tools: vec![Tool {
            name: "read".into(),
            description: "reads".into(),
            schema: json!({"type": "object"}),
        }],
        max_tokens: 9,
    };
    let body = request(&endpoint, &conversation);
    assert_eq!(body["system"], json!([{"text": "Be short."}]));
    assert_eq!(body["messages"][1]["content"][0]["toolUse"]["toolUseId"], "t1");
    let result = &body["messages"][2]["content"][0]["toolResult"];
    assert_eq!((&result["status"], &result["content"][0]["text"]), (&json!("error"), &json!("(nothing)")));
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"], json!({"type": "object"}));
    assert!(body.get("model").is_none());
}
