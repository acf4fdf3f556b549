//! A diff as a patch that `git apply` takes.
//!
//! Owns the form, byte by byte, and that what a patch cannot say is said in front of it. Must not know where
//! the patch goes.

use std::collections::{BTreeMap, BTreeSet};

use ftl_proto::v1;

use crate::render::escape::{is_harmless, name};

/// A patch, and what is not in it.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    /// The exact bytes. Lines in front of the first file begin with `# `.
    pub(crate) bytes: Vec<u8>,
    /// One sentence for each path that it does not hold.
    pub(crate) missing: Vec<String>,
    /// The first path whose lines hold what a terminal would act on. Escaped.
    pub(crate) hostile: Option<String>,
}

/// The patch of a diff.
pub(crate) fn patch(header: &v1::DiffHeader, entries: &[v1::DiffEntry]) -> Patch {
    let mut patch = Patch::default();
    let mut files = Vec::new();
    // What is found under another name is told there.
    let found: BTreeMap<&[u8], &v1::DiffEntry> =
        entries.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    let gone: BTreeSet<&[u8]> = entries.iter().map(|entry| entry.renamed_from.as_slice()).collect();
    for entry in entries.iter().filter(|entry| !gone.contains(entry.path.as_slice())) {
        let old = found.get(entry.renamed_from.as_slice()).and_then(|old| old.before.as_ref());
        match file(entry, old.or(entry.before.as_ref())) {
            Ok(bytes) => {
                if patch.hostile.is_none() && !is_harmless(&bytes) {
                    patch.hostile = Some(name(&entry.path));
                }
                files.extend(bytes);
            }
            Err(why) => patch.missing.push(format!("{}: {why}", name(&entry.path))),
        }
    }
    let mut head = format!("# session {}", name(&header.session));
    if !header.digest.is_empty() {
        head += &format!(", digest {}", name(&header.digest));
    }
    head.push('\n');
    for line in patch.missing.iter().map(|line| format!("not in this patch: {line}")) {
        head += &format!("# {line}\n");
    }
    patch.bytes = head.into_bytes();
    patch.bytes.extend(files);
    patch
}

/// What stands at one side of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side<'a> {
    Nothing,
    /// The mode as git has it.
    File(&'static str),
    Link(&'a [u8]),
    Dir,
}

/// One file of the patch, or why it cannot be in it.
fn file(entry: &v1::DiffEntry, before: Option<&v1::Node>) -> Result<Vec<u8>, String> {
    if entry.kind() == v1::EntryKind::Refused {
        return Err(format!("refused, {}", name(&entry.reason)));
    }
    let is_binary = !entry.elided.is_empty();
    let has = |node: Option<&v1::Node>, content: &Option<Vec<u8>>| {
        !matches!(side(node), Side::File(_)) || content.is_some()
    };
    if is_binary && !(has(before, &entry.content_before) && has(entry.after.as_ref(), &entry.content_after)) {
        return Err(name(&entry.elided));
    }
    if entry.hunks.is_empty() && entry.added_lines + entry.removed_lines > 0 {
        return Err("its lines were not asked for".to_owned());
    }
    let (before, after) = (side(before), side(entry.after.as_ref()));
    let was = if entry.renamed_from.is_empty() { &entry.path } else { &entry.renamed_from };
    let mut out = Vec::new();
    match (before, after) {
        // Directories come and go with what they hold.
        (Side::Nothing | Side::Dir, Side::Nothing | Side::Dir) => {
            if before == Side::Dir && after == Side::Dir {
                return Err("a patch does not know the modes of directories".to_owned());
            }
        }
        (Side::Nothing | Side::Dir, after) => make(&mut out, entry, after),
        (before, Side::Nothing | Side::Dir) => remove(&mut out, entry, before),
        (Side::File(old), Side::File(new)) => {
            let renamed = *was != entry.path;
            if old == new && entry.hunks.is_empty() && !renamed && !is_binary {
                return modes(entry);
            }
            begin(&mut out, was, &entry.path);
            if old != new {
                push(&mut out, &format!("old mode {old}\nnew mode {new}\n"));
            }
            if renamed {
                for (word, path) in [("from", was), ("to", &entry.path)] {
                    push(&mut out, &format!("rename {word} "));
                    out.extend(quoted(b"", path));
                    out.push(b'\n');
                }
            }
            if is_binary {
                binary(&mut out, entry, (true, true), (old == new).then_some(new));
            } else if !entry.hunks.is_empty() {
                sides(&mut out, Some(was), Some(&entry.path));
                lines(&mut out, entry);
            }
        }
        (Side::Link(old), Side::Link(new)) => {
            begin(&mut out, was, &entry.path);
            push(&mut out, "index 0000000..0000000 120000\n");
            sides(&mut out, Some(was), Some(&entry.path));
            push(&mut out, &format!("@@ -{} +{} @@\n", all_of(old), all_of(new)));
            target(&mut out, b'-', old);
            target(&mut out, b'+', new);
        }
        // Another type: one goes, the other comes.
        (before, after) => {
            remove(&mut out, entry, before);
            make(&mut out, entry, after);
        }
    }
    Ok(out)
}

/// Permission bits that git does not know are no part of a patch.
fn modes(entry: &v1::DiffEntry) -> Result<Vec<u8>, String> {
    let mode = |node: &Option<v1::Node>| node.as_ref().map(|node| node.mode);
    match mode(&entry.before) == mode(&entry.after) {
        true => Ok(Vec::new()),
        false => Err("a patch knows no permissions but whether a file is a program".to_owned()),
    }
}

fn side(node: Option<&v1::Node>) -> Side<'_> {
    match node {
        None => Side::Nothing,
        Some(node) => match node.r#type.as_str() {
            "symlink" => Side::Link(&node.target),
            "directory" => Side::Dir,
            _ if node.mode & 0o100 != 0 => Side::File("100755"),
            _ => Side::File("100644"),
        },
    }
}

fn make(out: &mut Vec<u8>, entry: &v1::DiffEntry, after: Side<'_>) {
    begin(out, &entry.path, &entry.path);
    match after {
        Side::Link(to) => {
            push(out, "new file mode 120000\n");
            sides(out, None, Some(&entry.path));
            push(out, &format!("@@ -0,0 +{} @@\n", all_of(to)));
            target(out, b'+', to);
        }
        Side::File(mode) => {
            push(out, &format!("new file mode {mode}\n"));
            if !entry.elided.is_empty() {
                binary(out, entry, (false, true), None);
            } else if !entry.hunks.is_empty() {
                sides(out, None, Some(&entry.path));
                lines(out, entry);
            }
        }
        Side::Nothing | Side::Dir => {}
    }
}

fn remove(out: &mut Vec<u8>, entry: &v1::DiffEntry, before: Side<'_>) {
    begin(out, &entry.path, &entry.path);
    match before {
        Side::Link(to) => {
            push(out, "deleted file mode 120000\n");
            sides(out, Some(&entry.path), None);
            push(out, &format!("@@ -{} +0,0 @@\n", all_of(to)));
            target(out, b'-', to);
        }
        Side::File(mode) => {
            push(out, &format!("deleted file mode {mode}\n"));
            if !entry.elided.is_empty() {
                binary(out, entry, (true, false), None);
            } else if !entry.hunks.is_empty() {
                sides(out, Some(&entry.path), None);
                lines(out, entry);
            }
        }
        Side::Nothing | Side::Dir => {}
    }
}

/// The bytes of those sides that are files.
fn binary(out: &mut Vec<u8>, entry: &v1::DiffEntry, (was, is): (bool, bool), mode: Option<&str>) {
    let before = entry.content_before.as_deref().filter(|_| was);
    let after = entry.content_after.as_deref().filter(|_| is);
    super::binary::change(out, before, after, mode);
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn begin(out: &mut Vec<u8>, was: &[u8], is: &[u8]) {
    push(out, "diff --git ");
    out.extend(quoted(b"a/", was));
    out.push(b' ');
    out.extend(quoted(b"b/", is));
    out.push(b'\n');
}

fn sides(out: &mut Vec<u8>, was: Option<&Vec<u8>>, is: Option<&Vec<u8>>) {
    for (sign, prefix, path) in [("--- ", b"a/", was), ("+++ ", b"b/", is)] {
        push(out, sign);
        match path {
            None => push(out, "/dev/null"),
            Some(path) => {
                out.extend(quoted(prefix, path));
                // Without it, what follows a space would be taken for a time.
                if path.contains(&b' ') {
                    out.push(b'\t');
                }
            }
        }
        out.push(b'\n');
    }
}

fn lines(out: &mut Vec<u8>, entry: &v1::DiffEntry) {
    for hunk in &entry.hunks {
        let (old, new) = ((hunk.old_start, hunk.old_lines), (hunk.new_start, hunk.new_lines));
        push(out, &format!("@@ -{},{} +{},{} @@\n", old.0, old.1, new.0, new.1));
        for line in &hunk.lines {
            out.extend_from_slice(line.tag.as_bytes());
            out.extend_from_slice(&line.text);
            if !line.text.ends_with(b"\n") {
                push(out, "\n\\ No newline at end of file\n");
            }
        }
    }
}

/// A link's target as lines of which the last has no end.
fn target(out: &mut Vec<u8>, sign: u8, to: &[u8]) {
    for line in to.split_inclusive(|byte| *byte == b'\n') {
        out.push(sign);
        out.extend_from_slice(line);
    }
    push(out, if to.ends_with(b"\n") { "" } else { "\n\\ No newline at end of file\n" });
}

/// How a hunk over a whole target says where it is.
fn all_of(to: &[u8]) -> String {
    format!("1,{}", to.split_inclusive(|byte| *byte == b'\n').count())
}

/// A name as git writes it: in quotes when a byte of it needs that.
fn quoted(prefix: &[u8], path: &[u8]) -> Vec<u8> {
    let odd = |byte: &u8| matches!(byte, 0..=31 | 127..=255 | b'"' | b'\\');
    if !path.iter().any(odd) {
        return [prefix, path].concat();
    }
    let mut out = vec![b'"'];
    out.extend_from_slice(prefix);
    for byte in path {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\t' => out.extend(b"\\t"),
            byte if odd(byte) => out.extend(format!("\\{byte:03o}").bytes()),
            byte => out.push(*byte),
        }
    }
    out.push(b'"');
    out
}
