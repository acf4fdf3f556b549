//! What one command of a shell does.
//!
//! Owns the table of commands that destroy, and the few whose arguments must be understood: `rm`, `find`,
//! `dd` and their like. Must not know how a script is cut into commands.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::target;
use super::{Context, Gravity};

/// What a command does: its kind, what that means, and how bad it is.
pub(super) type Judged = Option<(&'static str, &'static str, Gravity)>;

/// One line of the table.
struct Entry {
    kind: &'static str,
    words: Vec<&'static str>,
    conditions: Vec<Condition>,
    says: &'static str,
}

/// Alternatives of which one must be among the arguments, or none may be.
struct Condition {
    forbids: bool,
    any: Vec<&'static str>,
}

/// By the first word.
static TABLE: LazyLock<HashMap<&'static str, Vec<Entry>>> = LazyLock::new(|| {
    let mut table: HashMap<_, Vec<Entry>> = HashMap::new();
    let lines =
        include_str!("commands.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for entry in lines.filter_map(Entry::read) {
        table.entry(entry.words[0]).or_default().push(entry);
    }
    table
});

/// Words between a command and what it is to do: `git -C dir push`.
const BETWEEN: usize = 8;
/// Words of one command that are looked at.
const MOST: usize = 256;

impl Entry {
    fn read(line: &'static str) -> Option<Self> {
        let mut fields = line.split('|').map(str::trim);
        let (kind, conditions, says) = (fields.next()?, fields.next()?, fields.next()?);
        let words: Vec<_> = kind.split(' ').collect();
        let conditions = conditions.split(' ').filter(|text| *text != "-").map(|text| Condition {
            forbids: text.starts_with('!'),
            any: text.trim_start_matches('!').split(',').collect(),
        });
        Some(Self { kind, words, conditions: conditions.collect(), says })
    }

    fn fits(&self, words: &[String]) -> bool {
        let mut at = 1;
        for wanted in &self.words[1..] {
            let near = words[at..].iter().take(BETWEEN);
            // What is an option or an option's value may stand before it.
            match near.clone().position(|word| !word.starts_with('-') && glob(word, wanted)) {
                Some(found) if *wanted != "*" || !words[at + found].starts_with('-') => at += found + 1,
                _ if wanted.starts_with('-') && near.clone().any(|word| word == wanted) => {}
                _ => return false,
            }
        }
        let rest = &words[1..];
        self.conditions.iter().all(|condition| {
            let met = rest.iter().any(|word| condition.any.iter().any(|wanted| argument(word, wanted)));
            met != condition.forbids
        })
    }
}

fn glob(word: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => word.starts_with(start),
        None => word == wanted,
    }
}

/// Whether a word is an argument of the table, or has its letter among others.
fn argument(word: &str, wanted: &str) -> bool {
    let letter = wanted.strip_prefix('-').filter(|rest| rest.len() == 1);
    let cluster = word
        .strip_prefix('-')
        .filter(|rest| rest.bytes().all(|byte| byte.is_ascii_alphabetic()) && rest.len() <= 6);
    if let (Some(letter), Some(cluster)) = (letter, cluster) {
        return cluster.contains(letter);
    }
    let long = wanted.len() > 2 && word.split('=').next() == Some(wanted) && word.starts_with("--");
    // `+` alone and `:` alone are no branches.
    let start =
        wanted.strip_suffix('*').is_some_and(|start| word.len() > start.len() && word.starts_with(start));
    word == wanted || long || start
}

/// Whether a word is the name of a command that may destroy.
pub(super) fn knows(name: &str) -> bool {
    let own = [
        "rm", "find", "fd", "dd", "chmod", "chown", "truncate", "mv", "rd", "del", "format", "rimraf", "sh",
        "bash", "psql", "mysql", "sudo", "curl",
    ];
    let name = name.rsplit('/').next().unwrap_or(name);
    own.contains(&name) || name.starts_with("mkfs") || TABLE.contains_key(name)
}

/// What a command does, given as its words.
pub(super) fn judge(context: &Context, words: &[String]) -> Judged {
    let words = &words[..words.len().min(MOST)];
    let words = if words.first().is_some_and(|word| word == "sudo") { &words[1..] } else { words };
    let first = words.first()?;
    let name = first.rsplit(['/', '\\']).next().unwrap_or(first);
    let name = name.strip_suffix(".exe").unwrap_or(name);
    let own = match name {
        "rm" | "$(RM)" | "${RM}" | "$RM" => rm(context, name, words),
        "find" | "fd" => find(context, words),
        "dd" => dd(words),
        "chmod" | "chown" | "chgrp" => mode(words),
        "truncate" => truncate(context, words),
        "mv" => moved(words),
        "xargs" | "parallel" => None,
        "rd" | "rmdir" if words.iter().any(|word| word.eq_ignore_ascii_case("/s")) => windows(context, words),
        "del" | "erase" if words.iter().any(|word| word.eq_ignore_ascii_case("/s")) => {
            windows(context, words)
        }
        "format" | "format.com" => {
            let drive = words.iter().skip(1).any(|word| word.len() == 2 && word.ends_with(':'));
            drive.then_some(("format", "erases a disk", Gravity::Grave))
        }
        "curl" => all_indices(words),
        "remove-item" | "ri" => remove_item(context, words),
        "rimraf" | "del-cli" | "shx" => rimraf(context, name, words),
        "npx" | "pnpx" | "bunx" | "yarn" | "pnpm"
            if words.iter().any(|word| word == "rimraf" || word == "del-cli") =>
        {
            let at = words.iter().position(|word| word == "rimraf" || word == "del-cli").unwrap_or(0);
            rimraf(context, "rimraf", &words[at..])
        }
        _ if name.starts_with("mkfs") && words[1..].iter().any(|word| word.starts_with(['/', '-', '$'])) => {
            Some(("mkfs", "overwrites a disk with an empty file system", Gravity::Grave))
        }
        _ => None,
    };
    own.or_else(|| {
        let entries = TABLE.get(name)?;
        let whole: Vec<String> = std::iter::once(name.to_owned()).chain(words[1..].iter().cloned()).collect();
        let entry = entries.iter().find(|entry| entry.fits(&whole))?;
        // The commands above know better what is aimed at.
        (!matches!(name, "rimraf" | "npx") || !whole.iter().any(|word| word == "rimraf")).then_some((
            entry.kind,
            entry.says,
            Gravity::Usual,
        ))
    })
}

/// Whether one of the words is an option with this letter, or this long option.
fn has(words: &[String], letter: char, long: &str) -> bool {
    words.iter().any(|word| match word.strip_prefix('-') {
        Some(rest) if !rest.starts_with('-') => rest.len() <= 6 && rest.contains(letter),
        Some(_) => word == long,
        None => false,
    })
}

fn worst(context: &Context, targets: impl Iterator<Item = impl AsRef<str>>) -> Option<Gravity> {
    targets.map(|word| target::of_word(context, word.as_ref())).max()
}

fn rm(context: &Context, name: &str, words: &[String]) -> Judged {
    let options: Vec<String> = words[1..].iter().take_while(|word| *word != "--").cloned().collect();
    let recursive = has(&options, 'r', "--recursive") || has(&options, 'R', "--recursive");
    let named = words[1..]
        .iter()
        .filter(|word| !word.starts_with('-') && !word.starts_with(['>', '<']) && !word.starts_with("2>"));
    let gravity = worst(context, named)?;
    match (recursive, gravity) {
        (true, gravity) => {
            let no_root = words.iter().any(|word| word == "--no-preserve-root");
            let gravity = if no_root { Gravity::Grave } else { gravity };
            Some(("rm -r", "deletes directories with all in them", gravity))
        }
        // Single files are deleted everywhere; those of a system are not.
        (false, Gravity::Grave) if name == "rm" => {
            Some(("rm", "deletes what belongs to a system or a home", Gravity::Grave))
        }
        (false, _) => None,
    }
}

fn rimraf(context: &Context, name: &str, words: &[String]) -> Judged {
    let words = if name == "shx" {
        words.iter().position(|word| word == "rm").map(|at| &words[at..])?
    } else {
        words
    };
    if name == "shx" && !has(words, 'r', "--recursive") {
        return None;
    }
    let gravity = worst(context, words[1..].iter().filter(|word| !word.starts_with('-')))?;
    Some(("rm -r", "deletes directories with all in them", gravity))
}

fn find(context: &Context, words: &[String]) -> Judged {
    let deletes = words.iter().any(|word| word == "-delete");
    let runs = words.windows(2).any(|pair| {
        matches!(pair[0].as_str(), "-exec" | "-execdir" | "-ok" | "-x" | "-X")
            && matches!(pair[1].rsplit('/').next(), Some("rm" | "unlink" | "shred"))
    });
    if !(deletes || runs) {
        return None;
    }
    let roots = words[1..].iter().take_while(|word| !word.starts_with('-') && *word != "(" && *word != "!");
    let names = words
        .windows(2)
        .filter(|pair| matches!(pair[0].as_str(), "-name" | "-iname" | "-path" | "-wholename" | "-regex"));
    let made = names.clone().count() > 0
        && names.clone().all(|pair| {
            target::is_made(&pair[1]) || pair[1].starts_with("._") || pair[1].contains(".DS_Store")
        });
    let roots: Vec<_> = roots.collect();
    let free =
        !roots.is_empty() && roots.iter().all(|root| target::of_word(context, root) == Gravity::Harmless);
    let grave = names.count() == 0 && roots.iter().any(|root| target::is_system(root));
    let gravity = match (made || free, grave) {
        (true, _) => Gravity::Harmless,
        (_, true) => Gravity::Grave,
        _ => Gravity::Usual,
    };
    Some(("find -delete", "deletes all files that it finds", gravity))
}

fn dd(words: &[String]) -> Judged {
    let to = words.iter().find_map(|word| word.strip_prefix("of="))?;
    let harmless = ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/shm/"];
    let disk = to.starts_with("/dev/") && !harmless.iter().any(|free| to.starts_with(free));
    disk.then_some(("dd", "overwrites a disk", Gravity::Grave))
}

fn mode(words: &[String]) -> Judged {
    let recursive = has(words, 'R', "--recursive");
    let open = words.iter().any(|word| {
        matches!(
            word.as_str(),
            "777" | "0777" | "a+rwx" | "ugo+rwx" | "a=rwx" | "o+w" | "a+w" | "666" | "0666"
        )
    });
    let system = words[1..].iter().any(|word| target::is_system(word));
    match words[0].rsplit('/').next() {
        Some("chmod") if open && recursive => Some((
            "chmod -R",
            "lets everybody write to all files",
            if system { Gravity::Grave } else { Gravity::Usual },
        )),
        Some("chmod") if open && system => {
            Some(("chmod", "lets everybody write to a system's files", Gravity::Grave))
        }
        _ if recursive && system => {
            Some(("chown -R", "changes whose all files of a system are", Gravity::Grave))
        }
        _ => None,
    }
}

fn truncate(context: &Context, words: &[String]) -> Judged {
    let zero = words.windows(2).any(|pair| (pair[0] == "-s" || pair[0] == "--size") && pair[1] == "0")
        || words.iter().any(|word| word == "-s0" || word == "--size=0");
    let files = words[1..].iter().filter(|word| !word.starts_with('-') && *word != "0");
    let gravity = worst(context, files)?;
    zero.then_some(("truncate", "empties files", gravity))
}

/// A request that deletes all that a search engine has.
fn all_indices(words: &[String]) -> Judged {
    let deletes = words.iter().any(|word| word == "-XDELETE" || word == "--request=DELETE")
        || words.windows(2).any(|pair| (pair[0] == "-X" || pair[0] == "--request") && pair[1] == "DELETE");
    let all = |word: &String| {
        let path = word.split(['?', '#']).next().unwrap_or_default();
        matches!(path.rsplit_once('/'), Some((host, "_all" | "*")) if !host.is_empty())
    };
    let hit = deletes && words[1..].iter().any(all);
    hit.then_some(("curl -X DELETE", "deletes all of a database", Gravity::Usual))
}

fn moved(words: &[String]) -> Judged {
    let away = words.last().is_some_and(|word| word == "/dev/null") && words.len() > 2;
    away.then_some(("mv", "destroys files", Gravity::Grave))
}

fn windows(context: &Context, words: &[String]) -> Judged {
    let named = words[1..].iter().filter(|word| !(word.starts_with('/') && word.len() <= 3));
    let gravity = worst(context, named.map(|word| word.replace('\\', "/")))?;
    let grave = words[1..].iter().any(|word| target::is_system(word));
    Some(("rd /s", "deletes directories with all in them", if grave { Gravity::Grave } else { gravity }))
}

fn remove_item(context: &Context, words: &[String]) -> Judged {
    let recursive = words.iter().any(|word| {
        let lower = word.to_ascii_lowercase();
        lower.len() > 2 && "-recurse".starts_with(lower.as_str()) || lower == "-r"
    });
    if !recursive {
        return None;
    }
    let lower = |word: &String| word.to_ascii_lowercase();
    let named = words[1..]
        .iter()
        .filter(|word| !word.starts_with('-') && lower(word) != "silentlycontinue" && lower(word) != "stop");
    let drives = ["hklm:", "hkcu:", "c:\\", "c:/"];
    let grave =
        named.clone().any(|word| target::is_system(word) || drives.iter().any(|drive| lower(word) == *drive));
    let temporary =
        named.clone().all(|word| lower(word).contains("$env:temp") || lower(word).contains("temp"));
    let gravity = match worst(context, named.map(|word| word.replace('\\', "/")))? {
        _ if grave => Gravity::Grave,
        _ if temporary => Gravity::Harmless,
        Gravity::Grave => Gravity::Usual,
        other => other,
    };
    Some(("Remove-Item -Recurse", "deletes directories with all in them", gravity))
}
