//! The tools: what the model may call, and what a call means in the sandbox.
//!
//! Owns their schemas, the strict reading of a call, and the program that does it. A path is an argument of a
//! program in the sandbox and is never opened by anybody else: which files there are is the sandbox's matter.

use serde_json::{Map, Value, json};

use super::edit;
use crate::llm::{Tool, ToolCall};

/// What a call means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Run a program; its output is the result.
    Run(Program),
    /// Read a file with the one, put a piece into its text, write it with the other.
    Edit {
        /// Which file.
        path: String,
        /// What stands there.
        old: String,
        /// What is to stand there.
        new: String,
    },
}

/// A program for the sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What it finds on its standard input.
    pub stdin: Vec<u8>,
    /// Seconds that it may take.
    pub seconds: u64,
    /// Whether it changes nothing, so that others may run beside it.
    pub only_reads: bool,
    /// Whether status 1 without a word means that nothing was found.
    pub may_find_nothing: bool,
}

/// Seconds that a tool may take which is no command of the model's.
const USUAL_SECONDS: u64 = 60;
/// Seconds of a command: unless something else is asked for, and at most.
const COMMAND_SECONDS: u64 = 120;
const MOST_SECONDS: u64 = 900;
/// Lines of a file that are read at once.
const LINES: u64 = 2000;
/// The longest file that is edited, bytes.
pub const LONGEST_FILE: usize = 4 << 20;
/// The longest name of a tool that is sent back to a service.
const LONGEST_NAME: usize = 64;

/// Only regular files are opened: a pipe would never end.
const READ: &str = r#"[ -f "$1" ] || { echo "there is no file $1" >&2; exit 1; }; exec < "$1" || exit 1; tail -n "+$2" | head -n "$3""#;
const READ_ALL: &str = r#"[ -f "$1" ] || { echo "there is no file $1" >&2; exit 1; }; exec cat < "$1""#;
const WRITE: &str = r#"[ ! -e "$1" ] || [ -f "$1" ] || { echo "$1 is no file" >&2; exit 1; }; mkdir -p -- "$(dirname -- "$1")" && cat > "$1""#;
const LIST: &str = r#"exec ls -1Ap -- "$1""#;
const SEARCH: &str = r#"exec grep -rnIE --exclude-dir=.git -e "$1" -- "$2""#;
const BASH: &str = r#"command -v bash > /dev/null && exec bash -c "$1"; exec sh -c "$1""#;
const LAYOUT: &str =
    r"exec find . -maxdepth 2 ! -path './.git/*' ! -path './node_modules/*' ! -path './target/*'";

/// What the model may call.
#[must_use]
pub fn tools() -> Vec<Tool> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let number = |about: &str| json!({"type": "integer", "description": about});
    let path = text("path, relative to the project's directory");
    let tool = |name: &str, about: &str, properties: Value, required: &[&str]| Tool {
        name: name.to_owned(),
        description: about.to_owned(),
        schema: json!({"type": "object", "properties": properties, "required": required,
                       "additionalProperties": false}),
    };
    vec![
        tool(
            "read",
            "Reads a text file, at most 2000 lines at once.",
            json!({"path": path, "first_line": number("the first line to read, from 1"), "lines": number("how many lines")}),
            &["path"],
        ),
        tool(
            "write",
            "Writes a whole file; makes it and its directories when they are not there.",
            json!({"path": path, "content": text("the file's new content")}),
            &["path", "content"],
        ),
        tool(
            "edit",
            "Replaces one piece of a text file. The piece must occur exactly once.",
            json!({"path": path, "old_text": text("the piece, exactly as it stands in the file"), "new_text": text("what replaces it")}),
            &["path", "old_text", "new_text"],
        ),
        tool("list", "Lists a directory.", json!({"path": path}), &[]),
        tool(
            "search",
            "Searches the text files beneath a directory for an extended regular expression.",
            json!({"pattern": text("the expression"), "path": path}),
            &["pattern"],
        ),
        tool(
            "bash",
            "Runs a shell command in the project's directory. Its output is cut in the middle when it is long.",
            json!({"command": text("the command"), "seconds": number("how long it may take; 120 unless you say, at most 900")}),
            &["command"],
        ),
    ]
}

/// What a call means.
///
/// # Errors
/// A sentence for the model when there is no such tool, or its input is not as its schema says.
pub fn read(call: &ToolCall) -> Result<Action, String> {
    let mut input = Input::new(call)?;
    let action = match call.name.as_str() {
        "read" => {
            let path = input.path()?;
            let first = input.number("first_line")?.unwrap_or(1).max(1);
            let lines = input.number("lines")?.unwrap_or(LINES).clamp(1, LINES);
            reads(READ, vec![path, first.to_string(), lines.to_string()])
        }
        "write" => Action::Run(write(&input.path()?, input.needed("content")?.into_bytes())),
        "edit" => Action::Edit {
            path: input.path()?,
            old: input.needed("old_text")?,
            new: input.needed("new_text")?,
        },
        "list" => reads(LIST, vec![input.path_or_all()?]),
        "search" => {
            let pattern = input.needed("pattern")?;
            let Action::Run(program) = reads(SEARCH, vec![pattern, input.path_or_all()?]) else {
                return Err("a search cannot be made".to_owned());
            };
            Action::Run(Program { may_find_nothing: true, ..program })
        }
        "bash" => {
            let command = input.needed("command")?;
            let seconds = input.number("seconds")?.unwrap_or(COMMAND_SECONDS).clamp(1, MOST_SECONDS);
            Action::Run(Program { seconds, ..shell(BASH, vec![command], Vec::new()) })
        }
        other => {
            let names: Vec<String> = tools().into_iter().map(|tool| tool.name).collect();
            let other: String = other.chars().take(LONGEST_NAME).collect();
            return Err(format!("there is no tool {other:?}; the tools are {}", names.join(", ")));
        }
    };
    input.end()?;
    Ok(action)
}

/// Which calls run together: those that only read and stand beside each other; every other one runs alone.
/// Gives the number of calls of each group, in order.
#[must_use]
pub fn groups(actions: &[Result<Action, String>]) -> Vec<usize> {
    let mut groups: Vec<usize> = Vec::new();
    let mut was_reading = false;
    for action in actions {
        let reads = matches!(action, Ok(Action::Run(Program { only_reads: true, .. })));
        match groups.last_mut() {
            Some(group) if reads && was_reading => *group += 1,
            _ => groups.push(1),
        }
        was_reading = reads;
    }
    groups
}

/// The calls with ids that differ and names that every service takes back.
#[must_use]
pub fn tidy(calls: Vec<ToolCall>, before: usize) -> Vec<ToolCall> {
    let mut tidy: Vec<ToolCall> = Vec::with_capacity(calls.len());
    for (call, at) in calls.into_iter().zip(0usize..) {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let is_id = !call.id.is_empty() && call.id.len() <= LONGEST_NAME && call.id.bytes().all(good);
        let is_new = !tidy.iter().any(|other| other.id == call.id);
        let id = if is_id && is_new { call.id } else { format!("ftl_{before}_{at}") };
        let is_name = call.name.len() <= LONGEST_NAME && call.name.bytes().all(good);
        let name = if is_name { call.name } else { "unknown".to_owned() };
        tidy.push(ToolCall { id, name, input: call.input });
    }
    tidy
}

/// A few words on what a call is about; foreign text.
#[must_use]
pub fn detail(call: &ToolCall) -> String {
    crate::agent::detail::detail(&call.input)
}

/// The program that reads a whole file, for an edit.
#[must_use]
pub fn read_all(path: &str) -> Program {
    shell(READ_ALL, vec![path.to_owned()], Vec::new())
}

/// The program that writes a whole file.
#[must_use]
pub fn write(path: &str, content: Vec<u8>) -> Program {
    shell(WRITE, vec![path.to_owned()], content)
}

/// The program that names the project's uppermost files.
#[must_use]
pub fn layout() -> Program {
    shell(LAYOUT, Vec::new(), Vec::new())
}

/// What a file is to hold after an edit.
///
/// # Errors
/// A sentence for the model.
pub fn edited(content: Option<Vec<u8>>, old: &str, new: &str) -> Result<Vec<u8>, String> {
    let content =
        content.ok_or_else(|| format!("the file has more than {LONGEST_FILE} bytes; change it with bash"))?;
    edit::replace(&content, old, new).map(String::into_bytes).map_err(|error| error.to_string())
}

fn reads(script: &str, arguments: Vec<String>) -> Action {
    Action::Run(Program { only_reads: true, ..shell(script, arguments, Vec::new()) })
}

/// A script of ours; what the model says is an argument of it and no part of it.
fn shell(script: &str, arguments: Vec<String>, stdin: Vec<u8>) -> Program {
    let argv = ["/bin/sh", "-c", script, "sh"].map(str::to_owned).into_iter().chain(arguments).collect();
    Program { argv, stdin, seconds: USUAL_SECONDS, only_reads: false, may_find_nothing: false }
}

/// A call's input while it is read.
struct Input<'a> {
    tool: &'a str,
    rest: Map<String, Value>,
}

impl<'a> Input<'a> {
    fn new(call: &'a ToolCall) -> Result<Self, String> {
        match &call.input {
            Value::Object(rest) => Ok(Self { tool: &call.name, rest: rest.clone() }),
            _ => Err("the input must be an object".to_owned()),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.rest.remove(name) {
            None | Some(Value::Null) => Ok(None),
            // No argument of a program can have one.
            Some(Value::String(text)) if text.contains('\0') && name != "content" => {
                Err(format!("{name} has a NUL character"))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} must be a string")),
        }
    }

    fn needed(&mut self, name: &str) -> Result<String, String> {
        let tool = self.tool;
        self.text(name)?.ok_or_else(|| format!("{tool} needs {name}"))
    }

    fn path(&mut self) -> Result<String, String> {
        self.needed("path").and_then(|path| match path.is_empty() {
            true => Err("path is empty".to_owned()),
            false => Ok(path),
        })
    }

    fn path_or_all(&mut self) -> Result<String, String> {
        Ok(self.text("path")?.filter(|path| !path.is_empty()).unwrap_or_else(|| ".".to_owned()))
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        match self.rest.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| format!("{name} must be a whole number, 0 or more"))
            }
        }
    }

    fn end(self) -> Result<(), String> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(LONGEST_NAME).collect();
                Err(format!("{} has no argument {name:?}", self.tool))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(name: &str, input: Value) -> ToolCall {
        ToolCall { id: "c".to_owned(), name: name.to_owned(), input }
    }

    #[test]
    fn what_the_model_says_is_an_argument_and_no_part_of_a_script() {
        let hostile = "$(touch x)'; rm -rf / #";
        for (name, input) in [
            ("read", json!({"path": hostile})),
            ("write", json!({"path": hostile, "content": hostile})),
            ("list", json!({"path": hostile})),
            ("search", json!({"path": "-r", "pattern": hostile})),
            ("bash", json!({"command": hostile})),
        ] {
            let Ok(Action::Run(program)) = read(&call(name, input)) else { panic!("{name}") };
            assert_eq!((program.argv[0].as_str(), program.argv[1].as_str()), ("/bin/sh", "-c"));
            assert!(
                !program.argv[2].contains("touch") && program.argv[4..].contains(&hostile.to_owned()),
                "{program:?}"
            );
        }
    }

    #[test]
    fn a_call_that_is_wrong_is_explained() {
        let table = [
            (
                call("fly", json!({})),
                "there is no tool \"fly\"; the tools are read, write, edit, list, search, bash",
            ),
            (call("read", json!({})), "read needs path"),
            (call("read", json!({"path": ""})), "path is empty"),
            (call("read", json!({"path": 7})), "path must be a string"),
            (call("read", json!({"path": "a\0"})), "path has a NUL character"),
            (call("read", json!({"path": "a", "lines": -1})), "lines must be a whole number, 0 or more"),
            (call("read", json!({"path": "a", "sudo": true})), "read has no argument \"sudo\""),
            (call("edit", json!({"path": "a", "old_text": "x"})), "edit needs new_text"),
            (call("bash", json!([])), "the input must be an object"),
        ];
        for (call, expected) in table {
            assert_eq!(read(&call).unwrap_err(), expected);
        }
    }

    #[test]
    fn limits_are_kept_whatever_is_asked_for() {
        let seconds = |input: Value| match read(&call("bash", input)) {
            Ok(Action::Run(program)) => program.seconds,
            other => panic!("{other:?}"),
        };
        assert_eq!(seconds(json!({"command": "x"})), COMMAND_SECONDS);
        assert_eq!(seconds(json!({"command": "x", "seconds": 9_999_999})), MOST_SECONDS);
        let Ok(Action::Run(program)) =
            read(&call("read", json!({"path": "a", "first_line": 0, "lines": 99_999})))
        else {
            panic!("read")
        };
        assert_eq!(program.argv[4..], ["a", "1", "2000"]);
    }

    #[test]
    fn only_what_reads_runs_together() {
        let reads = || read(&call("list", json!({})));
        let changes = || read(&call("bash", json!({"command": "x"})));
        let wrong = || read(&call("fly", json!({})));
        assert_eq!(
            groups(&[reads(), reads(), changes(), changes(), reads(), wrong(), reads()]),
            [2, 1, 1, 1, 1, 1]
        );
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn every_tool_is_offered_and_each_schema_names_what_is_needed() {
        for tool in tools() {
            let properties = tool.schema["properties"].as_object().unwrap();
            for needed in tool.schema["required"].as_array().unwrap() {
                assert!(properties.contains_key(needed.as_str().unwrap()), "{}", tool.name);
            }
            let all: Map<String, Value> = properties
                .iter()
                .map(|(name, schema)| {
                    (name.clone(), if schema["type"] == "integer" { json!(1) } else { json!("x") })
                })
                .collect();
            assert!(read(&call(&tool.name, Value::Object(all))).is_ok(), "{}", tool.name);
        }
    }

    #[test]
    fn ids_differ_and_names_are_plain() {
        let with =
            |id: &str, name: &str| ToolCall { id: id.to_owned(), name: name.to_owned(), input: json!({}) };
        let calls = tidy(vec![with("a", "read"), with("a", "read"), with("", "x y"), with("b\n", "z")], 7);
        let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["a", "ftl_7_1", "ftl_7_2", "ftl_7_3"]);
        assert_eq!(calls[2].name, "unknown");
    }

    proptest! {
        #[test]
        fn no_input_panics(name in "(read|write|edit|list|search|bash|.{0,8})", key in "(path|content|command|lines|.{0,5})", text in ".{0,20}", number in any::<i64>()) {
            for value in [json!(text), json!(number), json!([text]), Value::Null] {
                let _any = read(&call(&name, json!({ key.clone(): value })));
            }
        }
    }
}
