//! One character as it may be written in a text.
//!
//! Owns the escapes that stand for a character, those of more than one level in a row included, and what
//! may break a text between two characters. Must not know which characters are looked for.

/// Most repetitions of what a level of escaping adds: backslashes, `25`, `amp;`, leading zeros.
const MOST: usize = 16;

/// Most blanks behind a line break.
const INDENT: usize = 16;

/// What stands at a place of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// An escape.
    Escape(Escape),
    /// The text ends before it can be said.
    Cut,
    /// No escape.
    Nothing,
}

/// A character that is written as something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Escape {
    /// The character, or the byte.
    pub(super) code: u32,
    /// Whether it is one byte of a character.
    pub(super) byte: bool,
    /// Bytes that it takes, and of these the digits.
    pub(super) length: usize,
    digits: (usize, usize),
    base: u32,
}

/// The escape that a text begins with.
pub(super) fn escape(text: &[u8]) -> Seen {
    match text.first() {
        Some(b'%') => {
            let mut at = 1;
            // Each level writes the sign before it as `%25`.
            while at < 2 * MOST && text[at..].starts_with(b"25") && is_hex(text.get(at + 2)) {
                at += 2;
            }
            // What ends in `%25` may go on.
            if text[at..] == *b"25" { Seen::Cut } else { number(text, at, 16, (2, 2), true) }
        }
        Some(b'=') => number(text, 1, 16, (2, 2), true),
        Some(b'\\') => backslash(text),
        Some(b'&') => reference(text),
        _ => Seen::Nothing,
    }
}

/// How many bytes of a text's beginning break it without being of it: an end of a line, escaped or not,
/// and what indents the next. `None` when it is no break; all of the text when that may go on.
pub(super) fn gap(text: &[u8]) -> Option<usize> {
    let soft = usize::from(matches!(text.first(), Some(b'=' | b'\\')) && text.len() > 1);
    let mut at = line_end(&text[soft..]).map(|length| soft + length).or_else(|| line_end(text))?;
    if text[..at].ends_with(b"\r") && text.get(at) == Some(&b'\n') {
        at += 1;
    } else if text[..at].ends_with(b"r") || at > 2 {
        // `\r\n` and `%0D%0A`.
        at += line_end(&text[at..]).filter(|_| text[at] != b'\n' && text[at] != b'\r').unwrap_or(0);
    }
    let blanks = text[at..].iter().take(INDENT).take_while(|byte| matches!(byte, b' ' | b'\t'));
    at += blanks.count();
    // The lines of a server-sent event.
    if b"data: ".starts_with(&text[at..]) {
        return Some(text.len());
    }
    if text[at..].starts_with(b"data:") {
        at += 5 + usize::from(text.get(at + 5) == Some(&b' '));
    }
    Some(at)
}

/// The end of a line that a text begins with.
fn line_end(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'\n' | b'\r' => Some(1),
        b'\\' => {
            let slashes = text.iter().take(MOST).take_while(|byte| **byte == b'\\').count();
            match text.get(slashes) {
                Some(b'n' | b'r' | b't') => Some(slashes + 1),
                _ => coded_end(text),
            }
        }
        _ => coded_end(text),
    }
}

fn coded_end(text: &[u8]) -> Option<usize> {
    match escape(text) {
        Seen::Escape(Escape { code: 10 | 13, length, .. }) => Some(length),
        _ => None,
    }
}

fn is_hex(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_hexdigit)
}

/// A number of at least and at most so many digits, which begin at `at`.
fn number(text: &[u8], at: usize, base: u32, (least, most): (usize, usize), byte: bool) -> Seen {
    let digits = text.get(at..).unwrap_or_default().iter().take(most);
    let digits = digits.map_while(|digit| char::from(*digit).to_digit(base));
    let (mut code, mut length) = (0_u32, 0);
    for digit in digits {
        code = code.saturating_mul(base).saturating_add(digit);
        length += 1;
    }
    if length < most && at + length >= text.len() {
        return Seen::Cut;
    }
    if length < least {
        return Seen::Nothing;
    }
    Seen::Escape(Escape { code, byte, length: at + length, digits: (at, length), base })
}

/// `\u0041`, `\u{41}`, `\U00000041`, `\x41`, `\101`, and `\` before what needs none.
fn backslash(text: &[u8]) -> Seen {
    let at = text.iter().take(MOST).take_while(|byte| **byte == b'\\').count();
    match text.get(at) {
        None if at < MOST => Seen::Cut,
        Some(b'u') if text.get(at + 1) == Some(&b'{') => {
            closed(text, number(text, at + 2, 16, (1, 6), false), b'}')
        }
        Some(b'u') => number(text, at + 1, 16, (4, 4), false),
        Some(b'U') => number(text, at + 1, 16, (8, 8), false),
        Some(b'x') => number(text, at + 1, 16, (2, 2), true),
        Some(b'0'..=b'7') => number(text, at, 8, (1, 3), true),
        Some(sign) if sign.is_ascii_punctuation() => plain(u32::from(*sign), at + 1),
        _ => Seen::Nothing,
    }
}

/// A sign that is written by a name or as itself.
fn plain(code: u32, length: usize) -> Seen {
    Seen::Escape(Escape { code, byte: false, length, digits: (0, 0), base: 0 })
}

/// The same with what may close it.
fn closed(text: &[u8], seen: Seen, sign: u8) -> Seen {
    let Seen::Escape(escape) = seen else { return seen };
    match text.get(escape.length) {
        None => Seen::Cut,
        Some(found) => Seen::Escape(Escape { length: escape.length + usize::from(*found == sign), ..escape }),
    }
}

/// `&#65;`, `&#x41;`, with or without zeros before and a semicolon behind, and names.
fn reference(text: &[u8]) -> Seen {
    let mut at = 1;
    while at < 4 * MOST && text[at..].starts_with(b"amp;") && text.len() > at + 4 {
        match text[at + 4] {
            b'#' | b'a'..=b'z' | b'A'..=b'Z' => at += 4,
            _ => break,
        }
    }
    if text[at..] == *b"amp;" {
        return Seen::Cut;
    }
    match text.get(at..at + 2) {
        Some([b'#', b'x' | b'X']) => closed(text, number(text, at + 2, 16, (1, MOST), false), b';'),
        Some([b'#', _]) => closed(text, number(text, at + 1, 10, (1, MOST), false), b';'),
        Some([letter, _]) if letter.is_ascii_alphabetic() => named(text, at),
        Some(_) => Seen::Nothing,
        None => Seen::Cut,
    }
}

/// Names of HTML for signs of ASCII.
const NAMES: [(&[u8], u8); 38] = [
    (b"amp;", b'&'),
    (b"lt;", b'<'),
    (b"gt;", b'>'),
    (b"quot;", b'"'),
    (b"apos;", b'\''),
    (b"sol;", b'/'),
    (b"plus;", b'+'),
    (b"equals;", b'='),
    (b"lowbar;", b'_'),
    (b"UnderBar;", b'_'),
    (b"hyphen;", b'-'),
    (b"dash;", b'-'),
    (b"minus;", b'-'),
    (b"period;", b'.'),
    (b"colon;", b':'),
    (b"semi;", b';'),
    (b"comma;", b','),
    (b"num;", b'#'),
    (b"dollar;", b'$'),
    (b"percnt;", b'%'),
    (b"lpar;", b'('),
    (b"rpar;", b')'),
    (b"ast;", b'*'),
    (b"midast;", b'*'),
    (b"excl;", b'!'),
    (b"quest;", b'?'),
    (b"commat;", b'@'),
    (b"lsqb;", b'['),
    (b"lbrack;", b'['),
    (b"rsqb;", b']'),
    (b"rbrack;", b']'),
    (b"bsol;", b'\\'),
    (b"Hat;", b'^'),
    (b"grave;", b'`'),
    (b"lcub;", b'{'),
    (b"rcub;", b'}'),
    (b"vert;", b'|'),
    (b"verbar;", b'|'),
];

/// Bytes of the longest name.
const LONGEST_NAME: usize = 9;

fn named(text: &[u8], at: usize) -> Seen {
    let rest = &text[at..];
    // The first letter decides most of the time.
    match NAMES.iter().find(|(name, _)| name[0] == rest[0] && rest.starts_with(name)) {
        Some((name, sign)) => plain(u32::from(*sign), at + name.len()),
        None if rest.len() < LONGEST_NAME && NAMES.iter().any(|(name, _)| name.starts_with(rest)) => {
            Seen::Cut
        }
        None => Seen::Nothing,
    }
}

/// Whether a name of one of these bytes begins with a letter.
pub(super) fn may_begin_name(letter: u8, bytes: &[bool; 256]) -> bool {
    NAMES.iter().any(|(name, sign)| name[0] == letter && bytes[usize::from(*sign)])
}

impl Escape {
    /// How many bytes of `pattern` it stands for at its beginning; 0 when it stands for something else.
    pub(super) fn stands_for(&self, pattern: &[u8]) -> usize {
        let mut buffer = [0; 4];
        match char::from_u32(self.code) {
            _ if self.byte => usize::from(pattern.first().is_some_and(|byte| u32::from(*byte) == self.code)),
            Some(character) if pattern.starts_with(character.encode_utf8(&mut buffer).as_bytes()) => {
                character.len_utf8()
            }
            _ => 0,
        }
    }

    /// The first byte that it stands for.
    pub(super) fn first(&self) -> Option<u8> {
        let mut buffer = [0; 4];
        match self.byte {
            true => u8::try_from(self.code).ok(),
            false => {
                char::from_u32(self.code).map(|character| character.encode_utf8(&mut buffer).as_bytes()[0])
            }
        }
    }

    /// Makes what is written at `place` stand for another byte, or for a zero where that does not fit.
    pub(super) fn rewrite(&self, place: &mut [u8], byte: u8) {
        let (at, length) = self.digits;
        if length == 0 {
            return place.fill(b'0');
        }
        let fits =
            byte.is_ascii() && u32::from(byte) < self.base.saturating_pow(u32::try_from(length).unwrap_or(9));
        let mut code = u32::from(if fits { byte } else { b'0' });
        for digit in place[at..at + length].iter_mut().rev() {
            let lower = char::from_digit(code % self.base, self.base).unwrap_or('0');
            *digit = if digit.is_ascii_uppercase() { lower.to_ascii_uppercase() } else { lower } as u8;
            code /= self.base;
        }
    }
}
