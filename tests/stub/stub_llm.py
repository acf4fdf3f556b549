#!/usr/bin/env python3
"""A scripted language model for tests: no weights, the real wire protocols.

Serves Anthropic Messages (with streaming and count_tokens), OpenAI Responses (streaming), OpenAI chat
completions and Gemini (both with and without streaming) on loopback, well enough that the real agent programs
take it for the model. The prompt itself is the script; each of its lines that begins with one of these words is
one step:

    WRITE PATH TEXT     have the agent write TEXT and a newline to PATH (absolute)
    RUN COMMAND         have the agent run COMMAND in its shell
    FAIL STATUS         answer this request, and each retry of it, with that HTTP status; 402 is the one
                        that no client retries for minutes
    LIMIT COUNT         no step of its own: the next step's first COUNT requests get the status 429
    CUT COUNT           likewise: their answers break off in the middle, with the connection
    STALL               likewise: the next step's answers begin and never go on

One step is asked for per request; the step's number is the number of tool results since the prompt. After
the last step the model says DONE. Nothing depends on the time, the order of other requests or chance; what
LIMIT and CUT have done is remembered as long as this program runs.

    stub_llm.py [--port N] [--delay SECONDS] [--log FILE]

Prints `listening PORT` when it answers. `--delay` waits before each streamed event, so that a test can
stop an agent in the middle of one; `--log` appends one JSON line per request.
"""

import argparse
import gzip
import itertools
import json
import re
import shlex
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DONE = "All steps are done."
STEP = re.compile(r"^[ \t]*(WRITE|RUN|FAIL|LIMIT|CUT|STALL)\b[ \t]*(.*?)[ \t]*$", re.MULTILINE)
# What makes the next step go wrong.
FAULTS = ("LIMIT", "CUT", "STALL")
# Fixed counts, so that a test can say what a turn used: 100 in and 12 out per request.
TOKENS_IN, TOKENS_OUT = 100, 12
ids = itertools.count(1)


class Step:
    """One thing the prompt asks for."""

    # How often each fault has happened.
    happened = {}
    lock = threading.Lock()

    def __init__(self, verb, rest, faults=()):
        self.verb, self.faults = verb, faults
        self.path, _, self.text = rest.partition(" ") if verb == "WRITE" else ("", "", rest)

    def shell(self):
        """The step as a shell command."""
        if self.verb == "WRITE":
            return f"printf '%s\\n' {shlex.quote(self.text)} > {shlex.quote(self.path)}"
        return self.text

    def fault(self):
        """What goes wrong with this request for the step, if anything."""
        for verb, count in self.faults:
            if verb == "STALL":
                return verb
            key = (verb, count, self.verb, self.path, self.text)
            with self.lock:
                if self.happened.get(key, 0) < int(count):
                    self.happened[key] = self.happened.get(key, 0) + 1
                    return verb
        return None


def script(text):
    """The steps a prompt asks for."""
    steps, faults = [], []
    for verb, rest in STEP.findall(text):
        if verb in FAULTS:
            faults.append((verb, rest))
        elif rest:
            steps.append(Step(verb, rest, faults))
            faults = []
    return steps


def text_of(content):
    """The text of a message, whether it is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text") or "" for block in content or [] if isinstance(block, dict))


class Progress:
    """Follows a conversation: the newest prompt with steps in it, and the results that came since."""

    def __init__(self):
        self.steps, self.results = [], 0

    def prompt(self, text):
        if steps := script(text):
            self.steps, self.results = steps, 0

    def result(self):
        self.results += 1

    def next(self):
        return self.steps[self.results] if self.results < len(self.steps) else None


def file_tool(step, offered):
    """A step as a call of the file tool or the shell that the client offers: its name and arguments."""
    if step.verb == "WRITE":
        if "Write" in offered:
            return "Write", {"file_path": step.path, "content": step.text + "\n"}
        if "write" in offered:
            return "write", {"filePath": step.path, "content": step.text + "\n"}
    shell = "Bash" if "Bash" in offered else "bash"
    return shell, {"command": step.shell(), "description": "One step of the test"}


def words(text):
    """A text in the pieces it is streamed in."""
    return re.findall(r"\S+\s*", text)


# === Anthropic Messages ===


def messages_step(body):
    """What comes next in a Messages conversation. Requests without tools (titles, summaries) get text."""
    progress = Progress()
    for message in body.get("messages") or []:
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        for block in blocks:
            if block.get("type") == "tool_result":
                progress.result()
            elif message.get("role") == "user":
                # Clients join what was said before and after an answer that failed.
                progress.prompt(block.get("text") or "")
    return progress.next() if body.get("tools") else None


def messages_content(body, step):
    """The answer's content blocks."""
    if step is None:
        return [{"type": "text", "text": DONE}]
    name, arguments = file_tool(step, {tool.get("name") for tool in body["tools"]})
    call = {"type": "tool_use", "id": f"toolu_{next(ids):08}", "name": name, "input": arguments}
    return [{"type": "text", "text": f"Next I use {name}."}, call]


def messages_events(message):
    """The server-sent events that stream a finished message."""
    usage = {**message["usage"], "output_tokens": 1}
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage}}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": word} for word in words(block["text"])]
        else:
            empty = {**block, "input": {}}
            encoded = json.dumps(block["input"])
            pieces = [encoded[at : at + 16] for at in range(0, len(encoded), 16)]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": TOKENS_OUT}}
    yield {"type": "message_stop"}


def messages_answer(body, step):
    """A whole answer to a Messages request."""
    return {
        "id": f"msg_{next(ids):08}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": messages_content(body, step),
        "stop_reason": "tool_use" if step else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": TOKENS_IN,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": TOKENS_OUT,
        },
    }


# === OpenAI Responses ===


def responses_tools(body):
    """Names of the tools on offer, wherever the client lists them: newer ones come as an input item."""
    offered = list(body.get("tools") or [])
    for item in body.get("input") if isinstance(body.get("input"), list) else []:
        if item.get("type") == "additional_tools":
            for tool in item.get("tools") or []:
                offered += tool.get("tools") or [tool]
    return {tool.get("name") or tool.get("type") for tool in offered}


def responses_step(body):
    """What comes next in a Responses conversation."""
    progress = Progress()
    items = body.get("input") or []
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    for item in items:
        if (item.get("type") or "").endswith("_call_output"):
            progress.result()
        elif item.get("role") == "user":
            progress.prompt(text_of(item.get("content")))
    return progress.next() if responses_tools(body) else None


def responses_call(step, tools):
    """The step as a call of whichever shell tool this client has."""
    number = next(ids)
    call = {"type": "function_call", "id": f"fc_{number:08}", "call_id": f"call_{number:08}", "status": "completed"}
    command = step.shell()
    if "exec_command" in tools:
        return {**call, "name": "exec_command", "arguments": json.dumps({"cmd": command})}
    if "shell_command" in tools:
        return {**call, "name": "shell_command", "arguments": json.dumps({"command": command})}
    if "shell" in tools:
        return {**call, "name": "shell", "arguments": json.dumps({"command": ["sh", "-c", command]})}
    # The tool that takes a program in JavaScript, whose own functions are the tools above.
    source = f"text(await tools.exec_command({{cmd: {json.dumps(command)}}}))"
    return {**call, "type": "custom_tool_call", "id": f"ctc_{number:08}", "name": "exec", "input": source}


def responses_events(body, step):
    """The server-sent events that answer a Responses request."""
    number = next(ids)
    text = DONE if step is None else "Next I use the shell."
    say = {
        "type": "message",
        "id": f"item_{number:08}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    response = {
        "id": f"resp_{number:08}",
        "object": "response",
        "created_at": 0,
        "model": body.get("model"),
        "status": "in_progress",
        "output": [],
    }
    yield {"type": "response.created", "response": response}
    open_item = {**say, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": open_item}
    place = {"item_id": say["id"], "output_index": 0, "content_index": 0}
    for word in words(text):
        yield {"type": "response.output_text.delta", **place, "delta": word}
    yield {"type": "response.output_text.done", **place, "text": text}
    yield {"type": "response.output_item.done", "output_index": 0, "item": say}
    output = [say]
    if step is not None:
        call = responses_call(step, responses_tools(body))
        yield {"type": "response.output_item.added", "output_index": 1, "item": call}
        yield {"type": "response.output_item.done", "output_index": 1, "item": call}
        output.append(call)
    usage = {
        "input_tokens": TOKENS_IN,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": TOKENS_OUT,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": TOKENS_IN + TOKENS_OUT,
    }
    yield {"type": "response.completed", "response": {**response, "status": "completed", "output": output, "usage": usage}}


# === OpenAI chat completions ===


def chat_step(body):
    """What comes next in a conversation of chat completions."""
    progress = Progress()
    for message in body.get("messages") or []:
        if message.get("role") == "tool":
            progress.result()
        elif message.get("role") == "user":
            progress.prompt(text_of(message.get("content")))
    return progress.next() if body.get("tools") or wants_listings(body) else None


def wants_listings(body):
    """Whether the client has no tools and writes the files that an answer lists whole."""
    system = (text_of(message.get("content")) for message in body.get("messages") or [] if message.get("role") == "system")
    return not body.get("tools") and any("file listing" in text for text in system)


def chat_message(body, step):
    """The answer's message."""
    if step is None:
        return {"role": "assistant", "content": DONE}
    if wants_listings(body):
        return {"role": "assistant", "content": f"{step.path}\n```\n{step.text}\n```\n\n{DONE}"}
    name, arguments = file_tool(step, {tool.get("function", {}).get("name") for tool in body["tools"]})
    call = {"name": name, "arguments": json.dumps(arguments)}
    tool_call = {"id": f"call_{next(ids):08}", "type": "function", "function": call}
    return {"role": "assistant", "content": f"Next I use {name}.", "tool_calls": [tool_call]}


def chat_usage():
    return {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT, "total_tokens": TOKENS_IN + TOKENS_OUT}


def chat_events(body, message):
    """The chunks that stream a message."""
    head = {"id": f"chatcmpl-{next(ids):08}", "object": "chat.completion.chunk", "created": 0, "model": body.get("model")}

    def chunk(delta, reason=None):
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    for word in words(message["content"]):
        yield chunk({"content": word})
    for index, call in enumerate(message.get("tool_calls") or []):
        function = call["function"]
        yield chunk({"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]})
        encoded = function["arguments"]
        for at in range(0, len(encoded), 16):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": encoded[at : at + 16]}}]})
    yield chunk({}, "tool_calls" if message.get("tool_calls") else "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": chat_usage()}


def chat_answer(body, message):
    """A whole answer."""
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    head = {"id": f"chatcmpl-{next(ids):08}", "object": "chat.completion", "created": 0, "model": body.get("model")}
    return {**head, "choices": [choice], "usage": chat_usage()}


# === Gemini ===


def gemini_tools(body):
    """Names of the functions on offer."""
    return {
        function.get("name")
        for tool in body.get("tools") or []
        for function in tool.get("functionDeclarations") or []
    }


def gemini_step(body):
    """What comes next in a conversation of Gemini's."""
    progress = Progress()
    for content in body.get("contents") or []:
        for part in content.get("parts") or []:
            if "functionResponse" in part:
                progress.result()
            elif content.get("role") == "user":
                progress.prompt(part.get("text") or "")
    return progress.next() if gemini_tools(body) else None


def gemini_answer(body, parts, is_last=True):
    """An answer, or a part of one."""
    candidate = {"index": 0, "content": {"role": "model", "parts": parts}}
    if not is_last:
        return {"candidates": [candidate], "modelVersion": "stub"}
    total = TOKENS_IN + TOKENS_OUT
    usage = {"promptTokenCount": TOKENS_IN, "candidatesTokenCount": TOKENS_OUT, "totalTokenCount": total}
    return {"candidates": [{**candidate, "finishReason": "STOP"}], "usageMetadata": usage, "modelVersion": "stub"}


def gemini_parts(step):
    """The parts of an answer."""
    if step is None:
        return [{"text": word} for word in words(DONE)]
    if step.verb == "WRITE":
        call = {"name": "write_file", "args": {"file_path": step.path, "content": step.text + "\n"}}
    else:
        call = {"name": "run_shell_command", "args": {"command": step.shell(), "description": "One step of the test"}}
    return [{"text": f"Next I use {call['name']}."}, {"functionCall": call}]


def gemini_events(body, step):
    """The answers that stream an answer."""
    *first, last = gemini_parts(step)
    for part in first:
        yield gemini_answer(body, [part], is_last=False)
    yield gemini_answer(body, [last])


# === HTTP ===

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    delay = 0.0
    log = None
    fault = None

    def log_message(self, *_):
        pass

    def record(self, body):
        if self.log:
            headers = {name.lower(): value for name, value in self.headers.items()}
            line = {"method": self.command, "path": self.path, "headers": headers, "body": body}
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()

    def send_json(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "1")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def failure(self, status, message):
        kind = ERROR_TYPES.get(status, "api_error")
        if ":" in self.path.rpartition("/")[2]:
            # Gemini's way.
            kind = "RESOURCE_EXHAUSTED" if status == 429 else "FAILED_PRECONDITION"
            return self.send_json(status, {"error": {"code": status, "message": message, "status": kind}})
        self.send_json(status, {"type": "error", "error": {"type": kind, "code": kind, "message": message}})

    def send_stream(self, events, end=""):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-cache")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = list(events)
        for number, event in enumerate(events):
            if self.delay:
                time.sleep(self.delay)
            if self.fault and number == len(events) // 2:
                return self.break_off()
            name = f"event: {event['type']}\n" if "type" in event else ""
            self.send_chunk(f"{name}data: {json.dumps(event)}\n\n")
        if end:
            self.send_chunk(end)
        self.wfile.write(b"0\r\n\r\n")

    def break_off(self):
        """Ends an answer in its middle: with the connection, or not at all."""
        self.close_connection = True
        if self.fault == "STALL":
            # Until the client has had enough.
            self.rfile.read(1)

    def is_faulty(self, step):
        """Whether the step's answer was an error; notes what happens to it otherwise."""
        self.fault = step.fault() if step else None
        if self.fault == "LIMIT":
            self.failure(429, "the script allows no more requests")
            return True
        if step and step.verb == "FAIL":
            self.failure(int(step.text), "the script says so")
            return True
        return False

    def send_chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def body(self):
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            raw = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        return json.loads(raw or b"{}")

    def do_HEAD(self):
        self.send_json(200, {})

    def do_GET(self):
        self.record(None)
        if self.headers.get("upgrade"):
            # Tells a client that tries a WebSocket first to use plain requests, without retries.
            self.failure(426, "there is no WebSocket here")
        elif self.path.split("?")[0].endswith("/models"):
            self.send_json(200, {"object": "list", "data": [], "models": []})
        else:
            self.failure(404, "not found")

    def do_POST(self):
        try:
            body = self.body()
        except ValueError as error:
            return self.failure(400, f"the body cannot be read: {error}")
        self.record(body)
        path = self.path.split("?")[0]
        try:
            if path.endswith("/messages/count_tokens"):
                self.send_json(200, {"input_tokens": TOKENS_IN})
            elif path.endswith("/messages"):
                self.serve_messages(body)
            elif path.endswith("/responses"):
                self.serve_responses(body)
            elif path.endswith("/chat/completions"):
                self.serve_chat(body)
            elif path.endswith((":streamGenerateContent", ":generateContent")):
                self.serve_gemini(body, path.endswith(":streamGenerateContent"))
            else:
                self.failure(404, "not found")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def serve_messages(self, body):
        step = messages_step(body)
        if self.is_faulty(step):
            return
        answer = messages_answer(body, step)
        if body.get("stream"):
            self.send_stream(messages_events(answer))
        else:
            self.send_json(200, answer)

    def serve_responses(self, body):
        step = responses_step(body)
        if self.is_faulty(step):
            return
        self.send_stream(responses_events(body, step))

    def serve_chat(self, body):
        step = chat_step(body)
        if self.is_faulty(step):
            return
        message = chat_message(body, step)
        if body.get("stream"):
            self.send_stream(chat_events(body, message), "data: [DONE]\n\n")
        else:
            self.send_json(200, chat_answer(body, message))

    def serve_gemini(self, body, is_stream):
        step = gemini_step(body)
        if self.is_faulty(step):
            return
        if is_stream:
            self.send_stream(gemini_events(body, step))
        else:
            self.send_json(200, gemini_answer(body, gemini_parts(step)))


def main():
    parser = argparse.ArgumentParser(description="A scripted language model for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--log", type=argparse.FileType("a"))
    options = parser.parse_args()
    Handler.delay, Handler.log = options.delay, options.log
    if options.log:
        # A model that is started again in the middle of a conversation must repeat no id: agents take what
        # has a known id for something they have already. No request uses as many as ten.
        global ids
        with open(options.log.name, encoding="utf-8") as earlier:
            ids = itertools.count(1 + 10 * len(earlier.readlines()))
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    print(f"listening {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
