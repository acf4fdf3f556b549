//! Colour for the source code of common languages: comments, strings, numbers and keywords.
//!
//! Owns what those look like per language. A lexer of our own: one pass over a line, no expressions that
//! hostile text can make slow. It may be wrong about a line whose beginning it has not seen, and must not
//! decide what is shown, only how.

use std::ops::Range;

/// What a piece of code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A remark.
    Comment,
    /// Quoted text.
    Text,
    /// A number.
    Number,
    /// A word of the language.
    Keyword,
}

/// What a line begins inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Inside {
    /// Code.
    #[default]
    Code,
    /// A comment that goes on until its end, by its place in `Language.blocks`.
    Block(usize),
    /// A string of several lines, by its place in `Language.long`.
    Long(usize),
}

/// How a language writes things down.
pub(crate) struct Language {
    endings: &'static [&'static str],
    /// What begins a comment until the end of the line.
    line: &'static [&'static str],
    /// What begins and ends a comment.
    blocks: &'static [(&'static str, &'static str)],
    /// What begins and ends a string of several lines.
    long: &'static [&'static str],
    /// What begins and ends a string.
    quotes: &'static str,
    keywords: &'static str,
}

const C: &[(&str, &str)] = &[("/*", "*/")];

const LANGUAGES: [Language; 15] = [
    Language {
        endings: &["rs"],
        line: &["//"],
        blocks: C,
        long: &[],
        quotes: "\"",
        keywords: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while",
    },
    Language {
        endings: &["py", "pyi"],
        line: &["#"],
        blocks: &[],
        long: &["\"\"\"", "'''"],
        quotes: "\"'",
        keywords: "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield",
    },
    Language {
        endings: &["js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts", "vue", "svelte"],
        line: &["//"],
        blocks: C,
        long: &["`"],
        quotes: "\"'",
        keywords: "abstract any as async await boolean break case catch class const continue debugger declare default delete do else enum export extends false finally for from function get if implements import in instanceof interface let namespace never new null number of private protected public readonly return set static string super switch this throw true try type typeof undefined unknown var void while with yield",
    },
    Language {
        endings: &["go"],
        line: &["//"],
        blocks: C,
        long: &["`"],
        quotes: "\"'",
        keywords: "any bool break byte case chan const continue default defer else error fallthrough false for func go goto if import int interface iota map nil package range return rune select string struct switch true type var",
    },
    Language {
        endings: &["c", "h", "cc", "cpp", "cxx", "hpp", "hh", "m", "mm"],
        line: &["//"],
        blocks: C,
        long: &[],
        quotes: "\"'",
        keywords: "alignas auto bool break case catch char class const constexpr continue default define delete do double elif else endif enum explicit export extern false final float for friend goto if ifdef ifndef include inline int long mutable namespace new noexcept nullptr operator override pragma private protected public register return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual void volatile while",
    },
    Language {
        endings: &["java", "kt", "kts", "scala", "groovy", "gradle", "cs", "swift", "dart"],
        line: &["//"],
        blocks: C,
        long: &["\"\"\""],
        quotes: "\"'",
        keywords: "abstract actor as assert async await base bool boolean break byte case catch char class const continue data def default defer do double else enum extends extension false final finally float for foreach fun func get guard if implements import in init inner instanceof int interface internal is lateinit let long match namespace new nil null object open out override package private protected protocol public readonly record return sealed self set short static string struct super suspend switch this throw throws trait true try typealias using val var virtual void when where while with yield",
    },
    Language {
        endings: &["sh", "bash", "zsh", "fish", "envrc", "bashrc", "zshrc", "profile"],
        line: &["#"],
        blocks: &[],
        long: &[],
        quotes: "\"'",
        keywords: "case do done elif else end esac eval exec exit export fi for function if in local readonly return set shift source then trap unset until while",
    },
    Language {
        endings: &["rb", "rake", "gemspec", "gemfile", "rakefile"],
        line: &["#"],
        blocks: &[("=begin", "=end")],
        long: &[],
        quotes: "\"'",
        keywords: "BEGIN END alias and begin break case class def defined do else elsif end ensure false for if in module next nil not or redo require rescue retry return self super then true undef unless until when while yield",
    },
    Language {
        endings: &["php"],
        line: &["//", "#"],
        blocks: C,
        long: &[],
        quotes: "\"'",
        keywords: "abstract and array as break callable case catch class clone const continue declare default do echo else elseif enum extends false final finally fn for foreach function global if implements include instanceof interface match namespace new null or print private protected public readonly require return static switch throw trait true try unset use var while yield",
    },
    Language {
        endings: &["json", "jsonc", "json5"],
        line: &["//"],
        blocks: C,
        long: &[],
        quotes: "\"",
        keywords: "false null true",
    },
    Language {
        endings: &[
            "toml",
            "yaml",
            "yml",
            "ini",
            "cfg",
            "conf",
            "tf",
            "hcl",
            "nix",
            "dockerfile",
            "makefile",
            "mk",
            "cmake",
            "env",
        ],
        line: &["#", "; "],
        blocks: &[],
        long: &["\"\"\""],
        quotes: "\"'",
        keywords: "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM LABEL RUN SHELL USER VOLUME WORKDIR else endif false ifdef ifeq in include let null resource rec true variable with",
    },
    Language {
        endings: &["sql"],
        line: &["--"],
        blocks: C,
        long: &[],
        quotes: "'",
        keywords: "add all alter and as asc begin between by case check commit constraint create cross default delete desc distinct drop else end exists foreign from full grant group having in index inner insert into is join key left like limit not null on or order outer primary references revoke right rollback select set table then union unique update values view when where with ADD ALL ALTER AND AS ASC BEGIN BETWEEN BY CASE CHECK COMMIT CONSTRAINT CREATE CROSS DEFAULT DELETE DESC DISTINCT DROP ELSE END EXISTS FOREIGN FROM FULL GRANT GROUP HAVING IN INDEX INNER INSERT INTO IS JOIN KEY LEFT LIKE LIMIT NOT NULL ON OR ORDER OUTER PRIMARY REFERENCES REVOKE RIGHT ROLLBACK SELECT SET TABLE THEN UNION UNIQUE UPDATE VALUES VIEW WHEN WHERE WITH",
    },
    Language {
        endings: &["lua"],
        line: &["--"],
        blocks: &[("--[[", "]]")],
        long: &[],
        quotes: "\"'",
        keywords: "and break do else elseif end false for function goto if in local nil not or repeat return then true until while",
    },
    Language {
        endings: &["html", "htm", "xml", "svg"],
        line: &[],
        blocks: &[("<!--", "-->")],
        long: &[],
        quotes: "\"",
        keywords: "",
    },
    Language {
        endings: &["css", "scss", "less", "proto"],
        line: &["//"],
        blocks: C,
        long: &[],
        quotes: "\"'",
        keywords: "bool bytes double enum float import int32 int64 message oneof option optional package repeated returns rpc service stream string syntax uint32 uint64 important",
    },
];

/// Bytes of a line that are coloured.
const LONGEST: usize = 4096;

/// The language of a file, by the end of its name.
pub(crate) fn language(path: &[u8]) -> Option<&'static Language> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let ending = name.rsplit(|byte| *byte == b'.').next()?.to_ascii_lowercase();
    let ending = std::str::from_utf8(&ending).ok()?;
    LANGUAGES.iter().find(|language| language.endings.contains(&ending))
}

/// What stands where in a line that begins inside of `state`, which becomes what the next one begins in.
pub(crate) fn classes(language: &Language, line: &[u8], state: &mut Inside) -> Vec<(Range<usize>, Class)> {
    let line = &line[..line.len().min(LONGEST)];
    let (mut classes, mut at) = (Vec::new(), 0);
    while at < line.len() {
        let rest = &line[at..];
        let (length, class) = match *state {
            Inside::Block(block) => {
                let (length, is_over) = until(rest, language.blocks[block].1);
                if is_over {
                    *state = Inside::Code;
                }
                (length, Some(Class::Comment))
            }
            Inside::Long(long) => {
                let (length, is_over) = until(rest, language.long[long]);
                if is_over {
                    *state = Inside::Code;
                }
                (length, Some(Class::Text))
            }
            Inside::Code => code(language, rest, line[..at].last().copied(), state),
        };
        if let Some(class) = class {
            classes.push((at..at + length, class));
        }
        at += length.max(1);
    }
    classes
}

/// How long the next piece of code is, and what.
fn code(language: &Language, rest: &[u8], before: Option<u8>, state: &mut Inside) -> (usize, Option<Class>) {
    let begins = |mark: &str| rest.starts_with(mark.as_bytes());
    if let Some(block) = language.blocks.iter().position(|(begin, _)| begins(begin)) {
        *state = Inside::Block(block);
        return (language.blocks[block].0.len(), Some(Class::Comment));
    }
    // `a#b` in a shell or a URL with `//` after a colon is no comment.
    let may_begin = before.is_none_or(|byte| byte.is_ascii_whitespace() || b";,(){}[]".contains(&byte));
    if may_begin && language.line.iter().any(|mark| begins(mark)) {
        return (rest.len(), Some(Class::Comment));
    }
    if let Some(long) = language.long.iter().position(|mark| begins(mark)) {
        *state = Inside::Long(long);
        return (language.long[long].len(), Some(Class::Text));
    }
    let first = rest[0];
    if language.quotes.as_bytes().contains(&first) {
        return (quoted(rest), Some(Class::Text));
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    let length = rest.iter().take_while(|byte| is_word(byte)).count();
    if length == 0 {
        return (1, None);
    }
    if first.is_ascii_digit() {
        return (length, Some(Class::Number));
    }
    let is_keyword = language.keywords.split(' ').any(|keyword| keyword.as_bytes() == &rest[..length]);
    (length, is_keyword.then_some(Class::Keyword))
}

/// Bytes of a string with its quotes; it ends with the line at the latest.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == rest[0] => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Bytes until the mark is over, and whether it is there.
fn until(rest: &[u8], mark: &str) -> (usize, bool) {
    match rest.windows(mark.len()).position(|window| window == mark.as_bytes()) {
        Some(at) => (at + mark.len(), true),
        None => (rest.len(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, lines: &[&str]) -> Vec<Vec<(String, Class)>> {
        let language = language(path.as_bytes()).unwrap();
        let mut state = Inside::Code;
        let told = lines.iter().map(|line| {
            let classes = classes(language, line.as_bytes(), &mut state);
            classes.into_iter().map(|(range, class)| (line[range].to_owned(), class)).collect()
        });
        told.collect()
    }

    fn one(path: &str, line: &str) -> Vec<(String, Class)> {
        told(path, &[line]).remove(0)
    }

    #[test]
    fn common_languages_are_told_apart() {
        use Class::{Comment, Keyword, Number, Text};
        let said = |pairs: &[(&str, Class)]| -> Vec<(String, Class)> {
            pairs.iter().map(|(text, class)| ((*text).to_owned(), *class)).collect()
        };
        let rust = one("src/a.rs", "let x = \"a\\\"b\" + 12; // why");
        let expected = [("let", Keyword), ("\"a\\\"b\"", Text), ("12", Number), ("// why", Comment)];
        assert_eq!(rust, said(&expected));
        assert_eq!(one("a.py", "x = 'it' # c"), said(&[("'it'", Text), ("# c", Comment)]));
        assert_eq!(one("a.sh", "echo a#b"), said(&[]));
        assert_eq!(one("Makefile", "all: # c"), said(&[("# c", Comment)]));
        assert!(language(b"README").is_none() && language(b"a.rs/b").is_none());
    }

    #[test]
    fn comments_and_strings_of_several_lines_go_on() {
        let lines = told("a.c", &["a /* b", "c", "d */ int"]);
        assert_eq!(lines[1], [("c".to_owned(), Class::Comment)]);
        assert_eq!(lines[2].last().unwrap(), &("int".to_owned(), Class::Keyword));
        let lines = told("a.py", &["x = \"\"\"a", "if", "\"\"\""]);
        assert_eq!(lines[1], [("if".to_owned(), Class::Text)]);
    }

    #[test]
    fn no_line_is_too_much() {
        let long = "\"\\".repeat(1_000_000);
        for language in &LANGUAGES {
            for hostile in [long.as_bytes(), b"\\", b"\"", b"\xff\xfe/*", b"'''\"\"\"`<!--"] {
                let mut state = Inside::Code;
                for (range, _) in classes(language, hostile, &mut state) {
                    assert!(range.end <= hostile.len());
                }
            }
        }
    }
}
